"""A candidate on trial: paired answers counted as the settings say, and the labels it still needs.

Pure state over facts of the join. What the counts mean is decided in `monitoring.evidence`.
"""

from __future__ import annotations

import math

import msgspec

from coppice import labels, settings
from monitoring import answers, evidence, join, sequences, split

FEW_ROWS = 20
"""Below so many agreeing rows there is no label rate to compare with."""


class Disagreement(msgspec.Struct, frozen=True):
    """A request of the audit sample on which the versions differ and whose truth is not known."""

    divergences: tuple[float, ...]
    """By row; 0 where the answers are the same."""
    stable: tuple[float, ...]
    candidate: tuple[float, ...]
    slices: tuple[str, ...]
    seen_at: float


class Stratum(msgspec.Struct):
    """Rows of one kind of pair, and how many of them came to be labelled."""

    rows: int = 0
    labelled: int = 0

    def rate(self) -> float:
        """Return the share that is labelled, drawn towards 1/2 while there are few rows."""
        return (self.labelled + 1) / (self.rows + 2)


class Rules(msgspec.Struct, frozen=True):
    """Which pairs count, and what they must show."""

    margins: evidence.Margins
    asked: bool
    audit_key: str
    audit_rate: float
    max_error_rate: float
    pending_limit: int
    """Most disagreements that wait for a label; while so many do, no pair joins the sample."""
    max_slow_rate: float = 0.05
    latency_objective: float | None = None
    """Seconds beyond which a request is slow; `None` where nobody asks."""
    patience: float = math.inf
    """Seconds after which a missing label no longer keeps others out of the sample; its pair
    still counts, as the worst."""

    @classmethod
    def of(cls, tree: settings.Settings) -> Rules:
        """Take the rules from the settings."""
        chosen = tree.evidence
        rollback = chosen.rollback_margin
        return cls(
            margins=evidence.Margins(
                promote=chosen.promote_margin,
                rollback=chosen.promote_margin if rollback is None else rollback,
                alpha=chosen.alpha,
            ),
            asked=chosen.mode == "asked",
            audit_key=tree.serve.routing_key_secret.get_secret_value(),
            audit_rate=chosen.audit_rate,
            max_error_rate=chosen.max_error_rate,
            max_slow_rate=chosen.max_slow_rate,
            latency_objective=tree.serve.latency_objective_seconds,
            pending_limit=chosen.max_pending,
            patience=chosen.label_patience_seconds,
        )


class Trial(msgspec.Struct):
    """One candidate against one stable version."""

    pair: join.Pair
    since: float
    """Requests seen before this time, seconds since 1970 UTC, belong to an earlier trial."""
    overall: sequences.PairSequence
    failures: evidence.BernoulliState
    slow: evidence.BernoulliState | None = None
    """Slow requests of the canary lane, where there is an objective."""
    slices: dict[str, sequences.PairSequence] = {}
    """In the order in which they appeared: the place of a slice decides its share of alpha."""
    pending: dict[str, Disagreement] = {}
    """By request id, oldest first."""
    agreeing: Stratum = msgspec.field(default_factory=Stratum)
    disagreeing: Stratum = msgspec.field(default_factory=Stratum)
    sides: dict[str, split.Sides] = {}
    """Labelled requests that no other version saw, by slice; "" for all of them."""
    passed_over: int = 0
    """Pairs left out of the sample because too many labels were outstanding."""

    @classmethod
    def start(cls, pair: join.Pair, rules: Rules, since: float) -> Trial:
        """Open a trial without evidence."""
        failures = evidence.BernoulliState(margin=rules.max_error_rate, alpha=rules.margins.alpha)
        return cls(
            pair=pair,
            since=since,
            overall=sequences.PairSequence(evidence.PairedState(rules.margins)),
            failures=failures,
            slow=None
            if rules.latency_objective is None
            else evidence.BernoulliState(margin=rules.max_slow_rate, alpha=rules.margins.alpha),
        )

    def attempt(self, *, failed: bool) -> None:
        """Count a request that the candidate answered, or failed to answer."""
        self.failures = self.failures.add(failed=failed)

    def served(self, seconds: float, rules: Rules) -> None:
        """Count how long a client waited for the candidate, where there is an objective."""
        if self.slow is not None and rules.latency_objective is not None:
            self.slow = self.slow.add(failed=seconds > rules.latency_objective)

    def take(self, fact: join.Paired, scoring: answers.Scoring, rules: Rules) -> None:
        """Count a pair when it forms, and again when its truth comes later."""
        if fact.seen_at < self.since:
            return
        divergences = tuple(map(scoring.divergence, fact.stable, fact.candidate))
        self._count_strata(fact, scoring)
        if not rules.asked:
            self._settle_all(fact, scoring)
        elif fact.fresh:
            self._audit(fact, divergences, rules)
            if fact.targets is not None:
                self.label(fact.request_id, fact.targets, scoring)
        elif fact.targets is not None:
            self.label(fact.request_id, fact.targets, scoring)

    def take_alone(self, fact: join.Scored, scoring: answers.Scoring) -> None:
        """Pair a labelled request that no other version saw with one of the other lane."""
        scores = list(map(scoring.score, fact.answers, fact.targets))
        mean = sum(scores) / len(scores)
        side: split.Side = "canary" if fact.version == self.pair.candidate else "stable"
        names = ("", *fact.slices)
        for name, pairs in zip(names, self._sequences(fact.slices), strict=True):
            outcome = self.sides.setdefault(name, split.Sides()).add(mean, side)
            if outcome is not None:
                pairs.settle_at_once([outcome])

    def label(self, request_id: str, targets: answers.Answers, scoring: answers.Scoring) -> None:
        """Settle the rows of a pending disagreement; other requests are passed over."""
        waiting = self.pending.get(request_id)
        if waiting is None or len(targets) != len(waiting.divergences):
            return
        del self.pending[request_id]
        answered = zip(waiting.stable, waiting.candidate, targets, strict=True)
        for row, (stable, candidate, target) in enumerate(answered):
            if waiting.divergences[row] > 0.0:
                outcome = scoring.score(stable, target) - scoring.score(candidate, target)
                for pairs in self._sequences(waiting.slices):
                    pairs.settle(_key(request_id, row), outcome)

    def representative(self, request_id: str, rules: Rules, *, agrees: bool) -> bool:
        """Say whether a labelled request may stand for the traffic in live accuracy.

        Where labels are asked for disagreements above all, those are labelled far more often than
        they occur, and they are the hard cases: counted as they come they would look like decay.
        So of the labelled disagreements only as large a share is let through as of the agreeing
        pairs is labelled. The choice is a hash of the request id and knows nothing of the outcome.
        """
        if agrees or not rules.asked or self.agreeing.rows < FEW_ROWS:
            return True
        share = self.agreeing.rate() / self.disagreeing.rate()
        return labels.unit_interval(rules.audit_key, "represents", request_id) < share

    def decide(self) -> evidence.Decision:
        """Say what the evidence over all slices allows."""
        return self.overall.decide()

    def decide_slices(self) -> dict[str, evidence.Decision]:
        """Say what the evidence of each slice allows, at the share of alpha of its place.

        The places are those in which the slices appeared in this trial; a slice keeps its own.
        """
        margins = self.overall.head.margins
        return {
            name: pairs.decide(margins.at_place(place))
            for place, (name, pairs) in enumerate(self.slices.items(), start=1)
        }

    def _count_strata(self, fact: join.Paired, scoring: answers.Scoring) -> None:
        differing = sum(map(scoring.differ, fact.stable, fact.candidate))
        strata = ((self.agreeing, len(fact.stable) - differing), (self.disagreeing, differing))
        for stratum, rows in strata:
            stratum.rows += rows * fact.fresh
            stratum.labelled += rows * (fact.targets is not None)

    def _settle_all(self, fact: join.Paired, scoring: answers.Scoring) -> None:
        if fact.targets is None:
            return
        rows = zip(fact.stable, fact.candidate, fact.targets, strict=True)
        outcomes = [
            scoring.score(stable, target) - scoring.score(candidate, target)
            for stable, candidate, target in rows
        ]
        for pairs in self._sequences(fact.slices):
            pairs.settle_at_once(outcomes)

    def _audit(self, fact: join.Paired, divergences: tuple[float, ...], rules: Rules) -> None:
        if not labels.audited(
            rules.audit_key, self.pair.candidate, fact.request_id, rules.audit_rate
        ):
            return
        if self._awaited(fact.seen_at, rules) >= rules.pending_limit:
            # Sound, because it looks at earlier pairs only, never at the one it leaves out.
            self.passed_over += 1
            return
        for pairs in self._sequences(fact.slices):
            pairs.tie(sum(divergence == 0.0 for divergence in divergences))
            for row, divergence in enumerate(divergences):
                if divergence > 0.0:
                    pairs.wait(_key(fact.request_id, row), divergence)
        if any(divergences):
            self.pending[fact.request_id] = Disagreement(
                divergences, fact.stable, fact.candidate, fact.slices, fact.seen_at
            )

    def _awaited(self, now: float, rules: Rules) -> int:
        """Return how many disagreements have a label to come that is worth waiting for."""
        return sum(now - request.seen_at <= rules.patience for request in self.pending.values())

    def _sequences(self, slices: tuple[str, ...]) -> list[sequences.PairSequence]:
        for name in slices:
            if name not in self.slices:
                empty = evidence.PairedState(self.overall.head.margins)
                self.slices[name] = sequences.PairSequence(empty)
        return [self.overall, *(self.slices[name] for name in slices)]


def _key(request_id: str, row: int) -> str:
    return f"{request_id} {row}"
