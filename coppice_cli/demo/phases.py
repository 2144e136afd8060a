"""The phases of the story.

Each changes the world, waits for what the loop makes of it, and says whether that was what it
should be. Nothing here decides for the loop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import msgspec

from coppice import artifact, errors, records, registry
from coppice_cli.demo import follow, screen, stage

DETECT_SECONDS = 300.0
RETRAIN_SECONDS = 600.0
ROLLOUT_SECONDS = 300.0
"""Longest waits; long, because a machine with much else to do must not make the demo fail."""
SETTLE_REQUESTS = 900
"""So many that the share of right answers is known to a percentage point."""

Happened = tuple[str, str, bool]
"""What happened, the evidence for it, and whether it is what was expected."""


@dataclasses.dataclass(frozen=True)
class Phase:
    """A named act with what is expected of the loop."""

    name: str
    story: str
    expected: str
    act: Callable[[stage.Stage], Happened]


def play(phase: Phase, on: stage.Stage) -> screen.Outcome:
    """Play one phase and measure what it took; a phase that fails says why, and the story ends."""
    on.screen.title(phase.name, phase.story)
    begun, before = on.clock.monotonic(), on.traffic.tally()
    try:
        happened, evidence, holds = phase.act(on)
    except errors.CoppiceError as problem:
        happened, evidence, holds = str(problem), "", False
    after = on.traffic.tally()
    return screen.Outcome(
        name=phase.name,
        expected=phase.expected,
        happened=happened,
        evidence=evidence,
        requests=after.answered - before.answered,
        labels=after.natural_labels
        + after.asked_labels
        - before.natural_labels
        - before.asked_labels,
        seconds=on.clock.monotonic() - begun,
        holds=holds,
    )


def accept(on: stage.Stage) -> Happened:
    """Train, prune, prove against the dense parent, pack, register."""
    done = on.prune("--reason", "first version")
    if done.returncode != 0:
        return f"coppice prune ended with {done.returncode}: {done.stderr[-400:]}", "", False
    candidate = last(on, records.Candidate)
    return f"accepted {screen.short(candidate.version)}", figures(candidate), True


def serve(on: stage.Stage) -> Happened:
    """Send steady traffic to the first champion."""
    on.traffic.start()
    rollout = on.follower.wait(
        records.Rollout, lambda step: step.outcome == "promoted", since=0, seconds=DETECT_SECONDS
    )
    answered(on, 600)
    tally = on.traffic.tally()
    happened = f"{screen.short(rollout.champion)} answers, {tally.failed} requests failed"
    evidence = f"{on.traffic.accuracy():.1%} right, as seen by the clients"
    return happened, evidence, tally.failed == 0 and on.traffic.accuracy() > ACCEPTABLE


ACCEPTABLE = 0.85


def world_shifts(on: stage.Stage) -> Happened:
    """Wear the scanner's lamp, and wait until the loop has adapted."""
    before = on.traffic.accuracy()
    since = len(on.follower.facts)
    on.traffic.world = dataclasses.replace(on.traffic.world, scanner="worn")
    decay = decay_of(on, "world", since)
    decayed_to = on.traffic.accuracy()
    candidate = new_candidate(on, since)
    on.traffic.world = dataclasses.replace(on.traffic.world, first=160, last=290)
    promoted(on, candidate)
    answered(on, SETTLE_REQUESTS)
    now = on.traffic.accuracy(SETTLE_REQUESTS)
    happened = f"cause {decay.cause}; {before:.0%} fell to {decayed_to:.0%}, restored to {now:.0%}"
    evidence = f"{decay.reason} Then {figures(candidate)}"
    return happened, evidence, now > max(ACCEPTABLE, decayed_to)


def over_pruned(on: stage.Stage) -> Happened:
    """Force a candidate past its gates that should never serve."""
    since = len(on.follower.facts)
    champion = last(on, records.Rollout).champion
    done = on.prune("--amount", "0.9", "--criterion", "random", "--no-recovery", "--force")
    if done.returncode != 0:
        return f"coppice prune ended with {done.returncode}: {done.stderr[-400:]}", "", False
    candidate = last(on, records.Candidate)
    ended = on.follower.wait(
        records.Rollout,
        lambda step: step.outcome == "rolled-back" and step.candidate in (None, candidate.version),
        since=since,
        seconds=ROLLOUT_SECONDS,
    )
    verdict = verdict_on(on, candidate.version, "rollback")
    reached = sum(answer.version == candidate.version for answer in on.traffic.timeline)
    happened = f"rolled back in shadow; {reached} clients ever saw its answers"
    holds = candidate.status == "forced" and reached == 0 and ended.champion == champion
    return happened, f"{refused_by(candidate)}; then {counted(verdict)}", holds


def pruning_decays(on: stage.Stage) -> Happened:
    """Promote a candidate that forgot microfilm, then send microfilm."""
    options = ("--amount", "0.65", "--recover-on", "medium=paper", "--production", "--force")
    done = on.prune(*options, "--reason", "paper only")
    if done.returncode != 0:
        return f"coppice prune ended with {done.returncode}: {done.stderr[-400:]}", "", False
    forgetful = last(on, records.Candidate)
    on.traffic.world = dataclasses.replace(on.traffic.world, first=290, last=390)
    promoted(on, forgetful)
    since = len(on.follower.facts)
    on.traffic.world = dataclasses.replace(on.traffic.world, film_share=0.85, first=390, last=470)
    decay = decay_of(on, "pruning", since)
    decayed_to = on.traffic.accuracy()
    candidate = new_candidate(on, since)
    on.traffic.world = dataclasses.replace(on.traffic.world, first=470, last=557)
    promoted(on, candidate)
    answered(on, SETTLE_REQUESTS)
    now = on.traffic.accuracy(SETTLE_REQUESTS)
    old, new = (amount(on, version) for version in (forgetful.version, candidate.version))
    happened = (
        f"cause {decay.cause}; {decayed_to:.0%} restored to {now:.0%} by removing "
        f"{new:.0%} instead of {old:.0%}"
    )
    holds = new < old and now > max(ACCEPTABLE, decayed_to)
    evidence = f"{decay.reason} Forced, {refused_by(forgetful)}. Then {figures(candidate)}"
    return happened, evidence, holds


STORY = (
    Phase(
        "1 prune and accept",
        "A dense network is trained on scans of digits, half of its channels are cut away, and the "
        "result is proved against its dense parent.",
        "passes every gate",
        accept,
    ),
    Phase(
        "2 serve",
        "The endpoint, the monitor, the retrainer and the rollout controller run; clients send "
        "scans that no model has met.",
        "answers, no request fails",
        serve,
    ),
    Phase(
        "3 the world shifts",
        "The scanner's lamp wears out: half the contrast, and noise. Dense or pruned, every model "
        "suffers.",
        "decay, cause world; retrained, rolled out, accuracy restored",
        world_shifts,
    ),
    Phase(
        "4 an over-pruned candidate",
        "Somebody in a hurry cuts 90% of the channels at random and forces it past its gates.",
        "rolled back in shadow, no client sees it",
        over_pruned,
    ),
    Phase(
        "5 the pruning forgets",
        "A candidate recovers from its cut on paper scans alone. On paper it is as good as its "
        "parent, so it becomes champion. Then microfilm arrives.",
        "decay, cause pruning; answered by a milder recipe",
        pruning_decays,
    ),
)


def decayed(verdict: records.Verdict) -> bool:
    """Tell a decay whose cause is settled."""
    return verdict.kind == "decay" and verdict.cause not in (None, "undecided")


def last(on: stage.Stage, kind: type[follow.R]) -> follow.R:
    """Return the newest decision of a kind."""
    on.follower.catch_up()
    found = [fact.record for fact in on.follower.facts if isinstance(fact.record, kind)]
    if not found:
        message = f"there is no {kind.__name__} in the log yet"
        raise errors.CoppiceError(message)
    return found[-1]


def decay_of(on: stage.Stage, cause: records.Cause, since: int) -> records.Verdict:
    """Wait until the champion's decay has a cause; another than the planted one ends the phase."""
    found = on.follower.wait(records.Verdict, decayed, since=since, seconds=DETECT_SECONDS)
    if found.cause != cause:
        message = f"the cause is {cause}, but {found.cause} was found. {found.reason}"
        raise errors.CoppiceError(message)
    return found


def new_candidate(on: stage.Stage, since: int) -> records.Candidate:
    """Wait for the retrainer's candidate; a refused one ends the phase."""
    candidate = on.follower.wait(
        records.Candidate, lambda _: True, since=since, seconds=RETRAIN_SECONDS
    )
    if candidate.status == "refused":
        message = f"the retrained candidate was refused: {'; '.join(candidate.refusals)}"
        raise errors.GateRefused(message)
    return candidate


def promoted(on: stage.Stage, candidate: records.Candidate) -> records.Rollout:
    """Wait until a candidate is champion, or its rollout ended otherwise."""
    made = next(at for at, fact in enumerate(on.follower.facts) if fact.record == candidate)
    step = on.follower.wait(
        records.Rollout,
        lambda step: step.outcome in {"promoted", "rolled-back"},
        since=made,
        seconds=ROLLOUT_SECONDS,
    )
    if step.champion != candidate.version:
        message = f"{candidate.version} was rolled back: {step.reason}"
        raise errors.RolloutError(message)
    return step


def answered(on: stage.Stage, requests: int) -> None:
    """Wait until so many more requests were answered."""
    target = on.traffic.tally().answered + requests
    deadline = on.clock.monotonic() + DETECT_SECONDS
    while on.traffic.tally().answered < target and on.clock.monotonic() < deadline:
        on.pause(0.2)


def verdict_on(on: stage.Stage, version: str, kind: str) -> records.Verdict:
    """Return the verdict of a kind on a version."""
    return on.follower.wait(
        records.Verdict,
        lambda verdict: verdict.kind == kind and verdict.version == version,
        since=0,
        seconds=5.0,
    )


def counted(verdict: records.Verdict) -> str:
    """Say how many requests and labels a verdict on a candidate took."""
    counts = verdict.counts
    pairs = counts["harm"] + counts["gain"] + counts["tie"] + counts["pending"]
    return f"{pairs:,} requests seen by both versions, {counts['labels']:,} labels"


def refused_by(candidate: records.Candidate) -> str:
    """Say how many gates refused a candidate, and name the first."""
    if not candidate.refusals:
        return "passed every gate"
    first = candidate.refusals[0].partition(":")[0]
    return f"refused by {len(candidate.refusals)} gates, first {first}"


def figures(candidate: records.Candidate) -> str:
    """Put a candidate's figures into words."""
    found = candidate.figures
    return (
        f"holdout {found['candidate_score']:.1%}, dense parent {found['parent_score']:.1%}, "
        f"null control {found['null_score']:.1%}; {found['latency_gain']:.1f} times as fast, "
        f"{found['macs_ratio']:.1f} times fewer MACs"
    )


def amount(on: stage.Stage, version: str) -> float:
    """Read out of a version's card how much its recipe removes."""
    folder = registry.open_registry(on.settings).path(version)
    card = msgspec.json.decode((folder / artifact.CARD).read_bytes())
    return float(card["recipe"]["amount"])
