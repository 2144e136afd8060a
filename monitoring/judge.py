"""Judges champion and candidate by the state: gathers the case, asks `monitoring.verdict`.

The one thing that is done here rather than decided elsewhere is the replay when a champion decays,
which runs models and reads inputs from the log; so it is repeated only when enough labels came.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import msgspec
import numpy as np

from coppice import errors, onset, records, settings
from coppice.eventlog import base as eventlog_base
from monitoring import bets, diagnosis, performance, slice_loss, status, verdict, windows
from monitoring import state as states
from monitoring.replay import Replay
from monitoring.versions import Versions

SOON = 20
"""Further labelled rows after which an open diagnosis is tried again."""
LATER = 100
"""The same for a cause that was found, lest it turn out to be another."""
LEAST = 100
"""So many rows are replayed, where there are so many, even if scores fell later: fewer hold too
few of the slice in which a fault shows to name it."""


class _Found(NamedTuple):
    """A diagnosis, whose it is, and when to look again."""

    version: str
    diagnosis: diagnosis.Diagnosis
    again_at: int
    """Labelled rows of the reign."""


class Judge:
    """Turn a state into verdicts.

    Parameters
    ----------
    index
        The event log, where inputs to replay are found.
    versions
        Models and manifests.
    tree
        The project's settings.
    """

    def __init__(
        self, index: eventlog_base.EventIndex, versions: Versions, tree: settings.Settings
    ) -> None:
        self._replay = Replay(index, versions)
        self._versions = versions
        self._settings = tree
        self._found: _Found | None = None

    def judge(self, state: states.State) -> status.Judged:
        """Judge whoever there is to judge."""
        return status.Judged(champion=self._champion(state), candidate=self._candidate(state))

    def _candidate(self, state: states.State) -> records.Verdict | None:
        trial = state.current_trial()
        if trial is None:
            return None
        case = verdict.CandidateCase(
            model=self._settings.project.name,
            version=trial.pair.candidate,
            against=trial.pair.stable,
            decision=trial.decide(),
            failures=trial.failures,
            slow=trial.slow,
            slices=trial.decide_slices(),
            labels_needed=trial.overall.labels_needed(),
        )
        judged = verdict.candidate_verdict(case)
        strata = {
            "agreeing": trial.agreeing.rows,
            "agreeing_labelled": trial.agreeing.labelled,
            "disagreeing": trial.disagreeing.rows,
            "disagreeing_labelled": trial.disagreeing.labelled,
        }
        return msgspec.structs.replace(judged, counts=judged.counts | strata)

    def _champion(self, state: states.State) -> records.Verdict | None:
        reign = state.reign
        if reign is None or state.route is None or reign.version != state.route.champion:
            return None
        window = state.recent.get(reign.version) or windows.Window(state.window_limit)
        scores = [row.score for row in window.recent()]
        decaying = _decays(reign, state.announced_of("champion", reign.version))
        if not decaying:
            self._found = None
        return verdict.champion_verdict(
            verdict.ChampionCase(
                model=self._settings.project.name,
                version=reign.version,
                alarm=reign.alarm(),
                decaying=decaying,
                score=performance.live_score(scores),
                min_labels=self._settings.decay.min_labels,
                looks=reign.drift.looks,
                other_looks=reign.other_looks(),
                sustained=self._settings.drift.sustained,
                diagnosis=self._diagnosis(reign, window, state.route) if decaying else None,
                previous=state.route.previous,
                label_coverage=min(1.0, reign.labelled / max(reign.answered, 1)),
            )
        )

    def _diagnosis(
        self, reign: states.Reign, window: windows.Window, route: states.Route
    ) -> diagnosis.Diagnosis:
        before = self._found if self._found and self._found.version == reign.version else None
        if before is not None and reign.labelled < before.again_at:
            return before.diagnosis
        found = self._diagnose(reign, window, route)
        is_open = found.cause == "undecided"
        if is_open and before is not None and before.diagnosis.cause != "undecided":
            # Fewer telling rows in the window are no reason to doubt what they told.
            found, is_open = before.diagnosis, False
        self._found = _Found(reign.version, found, reign.labelled + (SOON if is_open else LATER))
        return found

    def _diagnose(
        self, reign: states.Reign, window: windows.Window, route: states.Route
    ) -> diagnosis.Diagnosis:
        parent = self._versions.manifest(reign.version).parent
        tags: dict[records.Cause, str | None] = {"pruning": parent, "release": route.previous}
        compared: dict[records.Cause, str] = {
            cause: tag for cause, tag in tags.items() if tag is not None
        }
        chosen = self._settings.decay
        recent = window.recent()
        # Rows of better days would drown a decay that has just begun in what was usual all along.
        since = onset.rows_since(
            np.array([row.score for row in recent]), least=max(LEAST, chosen.min_labels)
        )
        replayed = self._replay.run(recent[-since:], list(compared.values()))
        others: dict[records.Cause, bets.Floats] = {
            cause: replayed.others[tag] for cause, tag in compared.items()
        }
        if len(replayed.champion) < chosen.min_labels <= len(replayed.champion) + replayed.missing:
            return diagnosis.Diagnosis(
                "undecided",
                f"{replayed.missing} labelled rows cannot be replayed, because the log does not "
                "hold their inputs; see `events.capture`",
            )
        mean = float(np.mean(replayed.champion)) if len(replayed.champion) else 0.0
        accepted = reign.cusum.accepted
        usual: dict[records.Cause, float] = {
            cause: self._accepted(tag) - accepted for cause, tag in compared.items()
        }
        found = diagnosis.diagnose(
            replayed.champion,
            others.get("pruning"),
            others.get("release"),
            decay=accepted - mean,
            usual=usual,
            rules=diagnosis.Rules(alpha=chosen.alpha, min_labels=chosen.min_labels),
        )
        loss = slice_loss.worst(replayed.champion, others, replayed.slices, accepted=accepted)
        if loss is None or found.cause == "undecided":
            return found
        return dataclasses.replace(found, reason=f"{found.reason} {loss.words()}")

    def _accepted(self, version: str) -> float:
        """Return the mean score that a version was accepted with; 0 where that is not known."""
        try:
            return self._versions.manifest(version).accepted
        except (errors.UnknownVersion, errors.ArtifactError):
            return 0.0


def _decays(reign: states.Reign, announced: records.Verdict | None) -> bool:
    """Say whether the alarm is on, or was announced to be and has not subsided since."""
    alarm = reign.alarm()
    was_on = announced is not None and announced.kind == "decay"
    return alarm.fired or (was_on and not alarm.subsided)


def is_open(judged: status.Judged) -> bool:
    """Say whether a champion decays and nobody knows why."""
    champion = judged.champion
    return champion is not None and champion.cause == "undecided"
