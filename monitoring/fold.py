"""Takes facts into the state, one after the other: the fold itself.

Nothing here reads a clock: times are those of the events, so that a second fold over the same
facts in the same order gives the same state. A single monitor folds them as their events come; a
group in the order of `monitoring.order`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from coppice import errors, records, settings
from monitoring import answers, facts, join, performance, trials, windows
from monitoring import state as states
from monitoring.knowledge import Knowledge, Scorings

_T = TypeVar("_T")
_Joined = TypeVar("_Joined", join.Paired, join.Scored)


class Fold:
    """Fold facts into a state.

    Parameters
    ----------
    state
        Is changed in place.
    tree
        The project's settings.
    knowledge
        Manifests and references of the versions that facts speak of.
    scorings
        How the answers of each version are scored.
    """

    def __init__(
        self,
        state: states.State,
        tree: settings.Settings,
        knowledge: Knowledge,
        scorings: Scorings,
    ) -> None:
        self.state = state
        self._settings = tree
        self._rules = trials.Rules.of(tree)
        self._knowledge = knowledge
        self._scorings = scorings

    def take(self, fact: facts.Fact) -> None:
        """Take in one fact; one about a version that nobody knows (any more) is counted."""
        try:
            self._dispatch(fact)
        except (errors.UndecodableEvent, errors.ArtifactError):
            self._count("undecodable")
        except errors.UnknownVersion:
            self._count("unknown_version")

    def assume(self, route: states.Route, now: float) -> None:
        """Take roles from elsewhere than the log, where no rollout event has told them yet.

        Raises
        ------
        UnknownVersion
            The registry does not have the champion.
        """
        self.state.route = route
        self._enthrone(route, now)

    def _dispatch(self, fact: facts.Fact) -> None:
        match fact.what:
            case facts.Answered() as answered:
                self._answered(answered, fact)
            case facts.Mirrored() as mirrored:
                self._mirrored(mirrored, fact)
            case facts.Labelled() as labelled:
                self._labelled(labelled, fact)
            case facts.Told() as told:
                self._told(told, fact.time)

    def _count(self, name: str) -> None:
        self.state.events[name] = self.state.events.get(name, 0) + 1

    def _answered(self, answered: facts.Answered, fact: facts.Fact) -> None:
        state = self.state
        self._attempts(answered)
        if answered.failed:
            return
        slices = state.slices.admit(answered.slices)
        state.window(answered.version).answered += answered.rows
        self._settle(fact, answered.version)
        if answered.draw is not None:
            found = states.LiveRequest(answered.draw, answered.version, fact.time)
            state.live[fact.subject] = found
            _bound(state.live, states.LIVE_KEPT)
        reign = state.reign
        if reign is not None and reign.version == answered.version:
            reign.answered += answered.rows
            if answered.features is not None:
                self._watch_drift(reign, answered.features)
                self._watch_slices(reign, slices, answered.features)

    def _mirrored(self, mirrored: facts.Mirrored, fact: facts.Fact) -> None:
        state = self.state
        if mirrored.role == "candidate":
            pair = join.Pair(mirrored.against, mirrored.version)
            self._trial(pair, fact.time).attempt(failed=mirrored.failed)
        if mirrored.failed:
            return
        if mirrored.role == "parent":
            limit = self._settings.decay.window
            agreement = state.agreement.setdefault(mirrored.against, windows.Agreement(limit))
            agreement.add(mirrored.agrees)
            _bound(state.agreement, states.VERSIONS_KEPT)
        state.window(mirrored.version).answered += mirrored.rows
        self._settle(fact, mirrored.version)

    def _labelled(self, labelled: facts.Labelled, fact: facts.Fact) -> None:
        self.state.live.pop(fact.subject, None)
        if labelled.stray:
            self._label_forgotten(fact.subject, labelled.stray)
        elif labelled.version is not None:
            self._settle(fact, labelled.version)

    def _label_forgotten(self, request_id: str, given: Sequence[records.Label]) -> None:
        """Settle a disagreement whose request is too old for the join, but is still asked for."""
        for trial in self.state.on_trial:
            if request_id in trial.pending:
                scoring = self._scorings.of(trial.pair.candidate)
                # Labels that fit no class leave it as it was: without its truth.
                with contextlib.suppress(errors.RequestError):
                    trial.label(request_id, scoring.targets(given), scoring)
                return

    def _settle(self, fact: facts.Fact, version: str) -> None:
        if not (fact.paired or fact.scored):
            return
        scoring = self._scorings.of(version)
        for paired in fact.paired:
            trial = self._trial(paired.pair, paired.seen_at)
            trial.take(self._watched(paired), scoring, self._rules)
        scored = [self._watched(each) for each in fact.scored]
        for each in scored:
            self._stand_alone(each, fact.seen_at, scoring)
        if scored:
            stands = self._representative(fact)
            for each in scored:
                self._score(each, scoring, stands=stands)

    def _watched(self, joined: _Joined) -> _Joined:
        """Keep those slices that are watched by now; traffic alone chose them."""
        slices = self.state.slices.among(joined.slices)
        if slices == joined.slices:
            return joined
        return msgspec.structs.replace(joined, slices=slices)

    def _stand_alone(self, scored: join.Scored, seen_at: float, scoring: answers.Scoring) -> None:
        """Pair a request that no other version saw with one of the other lane."""
        route = self.state.route
        if self._rules.asked or scored.apart is None or route is None or route.candidate is None:
            return
        lane = {route.champion: "stable", route.candidate: "canary"}.get(scored.version)
        trial = self.state.current_trial()
        if trial is not None and lane == scored.apart and seen_at >= trial.since:
            trial.take_alone(scored, scoring)

    def _score(self, scored: join.Scored, scoring: answers.Scoring, *, stands: bool) -> None:
        window = self.state.window(scored.version)
        window.labelled += len(scored.targets)
        reign = self.state.reign
        reigns = reign is not None and reign.version == scored.version
        if reign is not None and reigns:
            reign.labelled += len(scored.targets)
        if not stands:
            return
        scores = list(map(scoring.score, scored.answers, scored.targets))
        for row, (target, score) in enumerate(zip(scored.targets, scores, strict=True)):
            answer = scored.answers[row]
            sure = scoring.certainty(scored.scores, answer, target, row)
            window.add(
                windows.LabelledRow(
                    scored.request_id,
                    row,
                    target,
                    score,
                    scored.slices,
                    answer,
                    *sure,
                    scored.delay,
                )
            )
        if reign is not None and reigns:
            reign.scores.extend(scores)
            self._watch_labels(reign, scored.targets)

    def _representative(self, fact: facts.Fact) -> bool:
        """Say whether a labelled request may count for live accuracy; see `Trial`."""
        return all(
            trial is None or trial.representative(fact.subject, self._rules, agrees=compared.agrees)
            for compared in fact.compared
            for trial in [self.state.trial(compared.pair)]
        )

    def _attempts(self, answered: facts.Answered) -> None:
        """Count what the canary lane shows of the candidate's reliability."""
        route = self.state.route
        candidate = answered.candidate or (route.candidate if route is not None else None)
        if answered.fell_back and candidate is not None:
            pair = join.Pair(answered.version, candidate)
            self._trial(pair, 0.0).attempt(failed=True)
        elif answered.lane == "canary" and route is not None and answered.version == candidate:
            trial = self._trial(join.Pair(route.champion, answered.version), 0.0)
            trial.attempt(failed=answered.failed)
            if not answered.failed:
                trial.served(answered.latency_seconds, self._rules)

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

    def _told(self, told: facts.Told, now: float) -> None:
        record = records.unseal(told.event)
        if isinstance(record, records.Rollout):
            self._rollout(record, now)
        elif isinstance(record, records.Verdict):
            self.state.announce(record)


def _bound(entries: dict[str, _T], limit: int) -> None:
    if len(entries) > limit:
        del entries[next(iter(entries))]
