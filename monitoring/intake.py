"""Takes events into the state, one after the other: the fold itself.

Nothing here reads a clock: times are those of the events, so that a second fold over the same
events gives the same state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from coppice import artifact, errors, labels, records, settings
from monitoring import answers, drift, join, performance, trials, watch, windows
from monitoring import state as states

FeatureRows: TypeAlias = npt.NDArray[np.float32]
_T = TypeVar("_T")


_READ = frozenset(
    records.NAMES[kind]
    for kind in (
        records.Prediction,
        records.Shadow,
        records.Feedback,
        records.Rollout,
        records.Verdict,
    )
)


class Knowledge(Protocol):
    """What the fold must know of versions; the same answer for the same version, always."""

    def manifest(self, version: str) -> artifact.Manifest:
        """Return a version's manifest; raise `CoppiceError` where there is none."""
        ...

    def look(self, version: str, features: FeatureRows) -> drift.DriftLook | None:
        """Compare a window with the version's reference; `None` where that cannot be done."""
        ...

    def beside(
        self, version: str, features: FeatureRows, look: drift.DriftLook, seen: Mapping[str, int]
    ) -> watch.Beside:
        """Say what else a window shows; `seen` are requests by slice."""
        ...

    def slice_look(self, version: str, name: str, features: FeatureRows) -> drift.DriftLook | None:
        """Compare a slice's window with its part of the reference; `None` where it has none."""
        ...

    def label_look(self, version: str, targets: Sequence[float]) -> drift.DriftLook | None:
        """Compare labels with the reference's targets; `None` where it has none."""
        ...


class Intake:
    """Fold events into a state.

    Parameters
    ----------
    state
        Is changed in place.
    tree
        The project's settings.
    knowledge
        Manifests and references of the versions that events speak of.
    """

    def __init__(self, state: states.State, tree: settings.Settings, knowledge: Knowledge) -> None:
        self.state = state
        self._settings = tree
        self._rules = trials.Rules.of(tree)
        self._live_rate = min(1.0, tree.evidence.live_rate * states.EAGER)
        self._knowledge = knowledge
        self._scorings: dict[str, answers.Scoring] = {}

    def take(self, event: records.Event) -> None:
        """Take in one event; what cannot be read is counted and passed over."""
        if event.model != self._settings.project.name:
            return
        try:
            if event.type in _READ or event.type not in records.TYPES:
                self._dispatch(records.unseal(event), event.time)
        except (errors.UndecodableEvent, errors.ArtifactError):
            self._count("undecodable")
        except errors.UnknownVersion:
            self._count("unknown_version")
        else:
            self._count(event.type)

    def assume(self, route: states.Route, now: float) -> None:
        """Take roles from elsewhere than the log, where no rollout event has told them yet.

        Raises
        ------
        UnknownVersion
            The registry does not have the champion.
        """
        self.state.route = route
        self._enthrone(route, now)

    def _dispatch(self, record: records.Record, now: float) -> None:
        match record:
            case records.Prediction():
                self._prediction(record, now)
            case records.Shadow():
                self._shadow(record, now)
            case records.Feedback():
                self._feedback(record, now)
            case records.Rollout():
                self._rollout(record, now)
            case records.Verdict():
                self._verdict(record)
            case _:
                pass

    def _count(self, name: str) -> None:
        self.state.events[name] = self.state.events.get(name, 0) + 1

    def _scoring(self, version: str) -> answers.Scoring:
        found = self._scorings.get(version)
        if found is None:
            found = answers.Scoring.of(self._knowledge.manifest(version))
            self._scorings[version] = found
        return found

    def _prediction(self, record: records.Prediction, now: float) -> None:
        state = self.state
        if state.requests.repeats(record):
            return
        self._attempts(record)
        if record.error is not None:
            state.requests.failure(record, now)
            return
        scoring = self._scoring(record.version)
        slices = state.slices.admit(record.slices)
        alone = self._alone(record)
        facts = state.requests.prediction(record, slices, scoring, now, alone)
        rows = state.requests.waiting[record.request_id].rows()
        state.window(record.version).answered += rows
        self._settle(record.request_id, facts, scoring)
        self._sample(record, now)
        reign = state.reign
        if reign is not None and reign.version == record.version:
            reign.answered += rows
            if record.features is not None:
                self._watch_drift(reign, record.features)
                self._watch_slices(reign, slices, record.features)

    def _shadow(self, record: records.Shadow, now: float) -> None:
        state = self.state
        if state.requests.repeats(record):
            return
        if record.role == "candidate":
            pair = join.Pair(record.against, record.version)
            self._trial(pair, now).attempt(failed=record.error is not None)
        if record.error is not None:
            return
        if record.role == "parent":
            limit = self._settings.decay.window
            agreement = state.agreement.setdefault(record.against, windows.Agreement(limit))
            agreement.add(record.agrees)
            _bound(state.agreement, states.VERSIONS_KEPT)
        scoring = self._scoring(record.version)
        facts = state.requests.shadow(record, scoring, now)
        answered = state.requests.waiting[record.request_id].answers[record.version]
        state.window(record.version).answered += len(answered)
        self._settle(record.request_id, facts, scoring)

    def _feedback(self, record: records.Feedback, now: float) -> None:
        state = self.state
        state.live.pop(record.request_id, None)
        request = state.requests.waiting.get(record.request_id)
        if request is None and self._label_forgotten(record):
            return
        version = request.answered_by if request is not None else None
        scoring = self._scoring(version) if version is not None else None
        facts = state.requests.feedback(record, scoring, now)
        if scoring is not None:
            self._settle(record.request_id, facts, scoring)

    def _label_forgotten(self, record: records.Feedback) -> bool:
        """Settle a disagreement whose request is too old for the join, but is still asked for."""
        for trial in self.state.on_trial:
            if record.request_id in trial.pending:
                scoring = self._scoring(trial.pair.candidate)
                trial.label(record.request_id, scoring.targets(record.labels), scoring)
                return True
        return False

    def _settle(
        self, request_id: str, facts: Sequence[join.Fact], scoring: answers.Scoring
    ) -> None:
        for fact in facts:
            if isinstance(fact, join.Paired):
                self._trial(fact.pair, fact.seen_at).take(fact, scoring, self._rules)
        scored = [fact for fact in facts if isinstance(fact, join.Scored)]
        for fact in scored:
            self._stand_alone(fact, scoring)
        if scored:
            stands = self._representative(request_id)
            for fact in scored:
                self._score(fact, scoring, stands=stands)

    def _stand_alone(self, fact: join.Scored, scoring: answers.Scoring) -> None:
        """Pair a request that no other version saw with one of the other lane."""
        trial = self.state.trial(fact.alone) if fact.alone is not None else None
        if trial is not None:
            seen_at = self.state.requests.waiting[fact.request_id].seen_at
            if seen_at >= trial.since:
                trial.take_alone(fact, scoring)

    def _score(self, fact: join.Scored, scoring: answers.Scoring, *, stands: bool) -> None:
        window = self.state.window(fact.version)
        window.labelled += len(fact.targets)
        reign = self.state.reign
        reigns = reign is not None and reign.version == fact.version
        if reign is not None and reigns:
            reign.labelled += len(fact.targets)
        if not stands:
            return
        scores = list(map(scoring.score, fact.answers, fact.targets))
        for row, (target, score) in enumerate(zip(fact.targets, scores, strict=True)):
            answer = fact.answers[row]
            sure = scoring.certainty(fact.scores, answer, target, row)
            window.add(
                windows.LabelledRow(
                    fact.request_id, row, target, score, fact.slices, answer, *sure, fact.delay
                )
            )
        if reign is not None and reigns:
            reign.scores.extend(scores)
            self._watch_labels(reign, fact.targets)

    def _representative(self, request_id: str) -> bool:
        """Say whether a labelled request may count for live accuracy; see `Trial`."""
        request = self.state.requests.waiting[request_id]
        for pair in request.trials:
            trial = self.state.trial(pair)
            given = request.answers
            if trial is None or pair.stable not in given or pair.candidate not in given:
                continue
            agrees = given[pair.stable] == given[pair.candidate]
            if not trial.representative(request_id, self._rules, agrees=agrees):
                return False
        return True

    def _alone(self, record: records.Prediction) -> join.Pair | None:
        """Say for which trial a request may stand beside one of the other lane.

        Only where labels are natural; where the lane was drawn rather than forced; where the
        candidate did not fail (that it did would choose among the requests); and where no copy of
        the request is sent to the other version.
        """
        route, mirror = self.state.route, self._settings.rollout.mirror
        if self._rules.asked or route is None or route.candidate is None or mirror >= 1.0:
            return None
        lane = {route.champion: "stable", route.candidate: "canary"}.get(record.version)
        drawn = 0.0 < record.propensity < 1.0 and record.fallback is None
        key = self._settings.serve.routing_key_secret.get_secret_value()
        if not drawn or lane != record.lane:
            return None
        if labels.unit_interval(key, "mirror", record.request_id) < mirror:
            return None
        return join.Pair(route.champion, route.candidate)

    def _attempts(self, record: records.Prediction) -> None:
        """Count what the canary lane shows of the candidate's reliability."""
        route = self.state.route
        candidate = record.fallback_version or (route.candidate if route is not None else None)
        if record.fallback is not None and candidate is not None:
            pair = join.Pair(record.version, candidate)
            self._trial(pair, 0.0).attempt(failed=True)
        elif record.lane == "canary" and route is not None and record.version == candidate:
            trial = self._trial(join.Pair(route.champion, record.version), 0.0)
            trial.attempt(failed=record.error is not None)
            if record.error is None:
                trial.served(record.latency_seconds, self._rules)

    def _sample(self, record: records.Prediction, now: float) -> None:
        key = self._settings.serve.routing_key_secret.get_secret_value()
        draw = labels.unit_interval(key, "live", record.request_id)
        request = self.state.requests.waiting[record.request_id]
        if draw < self._live_rate and request.labels is None:
            live = self.state.live
            live[record.request_id] = states.LiveRequest(draw, record.version, now)
            _bound(live, states.LIVE_KEPT)

    def _watch_drift(self, reign: states.Reign, features: records.Tensor) -> None:
        full = reign.features.add(features)
        if full is None:
            return
        look = self._knowledge.look(reign.version, full)
        if look is not None:
            reign.drift.take(look)
            seen = self.state.slices.watched
            reign.beside = self._knowledge.beside(reign.version, full, look, seen)
        if not reign.slices:
            self._choose_slices(reign)

    def _choose_slices(self, reign: states.Reign) -> None:
        """Give the slices of the most traffic windows of their own; no outcome is looked at."""
        chosen = self._settings.drift
        seen = self.state.slices.watched
        for name in sorted(seen, key=lambda name: -seen[name])[: chosen.slices]:
            reign.slices[name] = states.SliceWatch(windows.FeatureWindow(chosen.window))

    def _watch_slices(
        self, reign: states.Reign, slices: tuple[str, ...], features: records.Tensor
    ) -> None:
        for name in slices:
            kept = reign.slices.get(name)
            full = kept.features.add(features) if kept is not None else None
            if kept is None or full is None:
                continue
            look = self._knowledge.slice_look(reign.version, name, full)
            if look is not None:
                kept.drift.take(look)

    def _watch_labels(self, reign: states.Reign, targets: Sequence[float]) -> None:
        reign.targets.extend(targets)
        size = self._settings.drift.label_window
        while len(reign.targets) >= size:
            look = self._knowledge.label_look(reign.version, reign.targets[:size])
            del reign.targets[:size]
            if look is not None:
                reign.label_drift.take(look)

    def _trial(self, pair: join.Pair, since: float) -> trials.Trial:
        found = self.state.trial(pair)
        if found is None:
            found = trials.Trial.start(pair, self._rules, since)
            self.state.on_trial.append(found)
            del self.state.on_trial[: -states.TRIALS_KEPT]
        return found

    def _rollout(self, record: records.Rollout, now: float) -> None:
        route = states.Route(record.champion, record.candidate, record.previous)
        self.state.route = route
        if route.candidate is not None:
            pair = join.Pair(route.champion, route.candidate)
            if record.outcome == "started":
                # A version that is tried again starts without the evidence of its last trial.
                self.state.on_trial = [held for held in self.state.on_trial if held.pair != pair]
                self.state.forget_announcement("candidate", route.candidate)
            self._trial(pair, now)
        self._enthrone(route, now)

    def _enthrone(self, route: states.Route, now: float) -> None:
        if self.state.reign is not None and self.state.reign.version == route.champion:
            return
        manifest = self._knowledge.manifest(route.champion)
        # What was announced in an earlier reign says nothing about this one.
        self.state.forget_announcement("champion", route.champion)
        decay = self._settings.decay
        self.state.reign = states.Reign(
            version=route.champion,
            since=now,
            cusum=performance.ECusum(
                accepted=manifest.accepted,
                tolerance=decay.tolerance,
                threshold=decay.false_alarm_labels,
                rows=manifest.accepted_rows,
            ),
            features=windows.FeatureWindow(self._settings.drift.window),
        )

    def _verdict(self, record: records.Verdict) -> None:
        self.state.announce(record)


def _bound(entries: dict[str, _T], limit: int) -> None:
    if len(entries) > limit:
        del entries[next(iter(entries))]
