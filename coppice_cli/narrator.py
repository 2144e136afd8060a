"""Tell what the loop decides, a sentence each, as the decisions appear in the event log."""

from __future__ import annotations

from coppice import clock, errors, records
from coppice.eventlog import base
from coppice_cli import rollout_view


class Narrator:
    """Follow a log from where it ends now.

    Parameters
    ----------
    log
        Where decisions appear.
    model
        The one model told of.
    """

    def __init__(self, log: base.EventLog, model: str) -> None:
        self._log = log
        self._model = model
        self._position = log.end()
        self._verdicts: dict[str, records.VerdictKind] = {}

    def news(self) -> list[str]:
        """Return a sentence for each decision since the last call."""
        told: list[str] = []
        while (batch := self._log.read(self._position)).events:
            self._position = batch.position
            told += [text for event in batch.events for text in self._tell(event)]
        return told

    def _tell(self, event: records.Event) -> list[str]:
        if event.model != self._model or event.type not in _TOLD:
            return []
        try:
            text = self._sentence(records.unseal(event))
        except errors.UndecodableEvent as problem:
            text = str(problem)
        return [f"{clock.rfc3339(event.time)[11:19]} {text}"] if text else []

    def _sentence(self, record: records.Record) -> str:
        match record:
            case records.Rollout():
                return f"{record.outcome}: {rollout_view.sentence(record)} ({record.reason})"
            case records.Candidate():
                why = f": {'; '.join(record.refusals)}" if record.refusals else ""
                return f"candidate {record.version} {record.status}{why}"
            case records.Retraining():
                return f"retraining {record.status}: {record.reason}"
            case records.Verdict():
                return self._verdict(record)
            case _:
                return ""

    def _verdict(self, verdict: records.Verdict) -> str:
        """Tell of a verdict only where its kind changed: it is repeated while it holds."""
        if self._verdicts.get(verdict.version) == verdict.kind:
            return ""
        self._verdicts[verdict.version] = verdict.kind
        cause = f", cause {verdict.cause}" if verdict.cause else ""
        return f"{verdict.scope} {verdict.version} {verdict.kind}{cause}: {verdict.reason}"


_TOLD = frozenset(
    records.NAMES[kind]
    for kind in (records.Rollout, records.Candidate, records.Retraining, records.Verdict)
)
