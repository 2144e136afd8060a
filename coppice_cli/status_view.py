"""How a snapshot looks on the terminal, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

import rich.console
import rich.text

from coppice import records
from coppice_cli import console, figures, rollout_view, snapshot

COLOURS: dict[records.VerdictKind, str] = {
    "healthy": "green",
    "promote": "green",
    "undecided": "yellow",
    "drift": "yellow",
    "decay": "bold red",
    "rollback": "bold red",
}


def render(seen: snapshot.Snapshot) -> rich.console.Group:
    """Return everything that is shown."""
    return rich.console.Group(*_blocks(seen))


def _blocks(seen: snapshot.Snapshot) -> Iterator[rich.console.RenderableType]:
    yield _headline(seen)
    if seen.unready:
        yield rich.text.Text(f"clients get no answers: {seen.unready}", style="bold red")
    if seen.versions:
        yield _versions(seen)
    for scope, told in seen.verdicts.items():
        yield _verdict(scope, told, seen.at)
    yield from map(console.plain, _lines(seen))


def _headline(seen: snapshot.Snapshot) -> rich.console.RenderableType:
    text = console.plain("")
    text.append(seen.model, style="bold")
    if seen.rollout is None:
        text.append(": no champion yet; `coppice prune` makes a candidate, `coppice up` serves it")
        return text
    since = console.duration(seen.at - seen.rollout.since) if seen.rollout.since else "-"
    text.append(f": {rollout_view.sentence(seen.rollout)} ({seen.rollout.stage} for {since})")
    return text


def _versions(seen: snapshot.Snapshot) -> rich.console.RenderableType:
    numbers = ("accepted", "live", "labels")
    table = console.table("version", "part", "lane", *numbers, numbers=numbers)
    for version in seen.versions:
        live = version.live
        table.add_row(
            # The model's name stands in the headline already.
            console.plain(version.tag.partition(":")[2]),
            version.part,
            version.lane,
            console.percent(version.accepted),
            f"{console.percent(live.mean)} ({console.interval(live.low, live.high)})"
            if live
            else "-",
            f"{live.count:,}" if live else "-",
        )
    return table


def _verdict(scope: str, told: figures.Told, now: float) -> rich.console.RenderableType:
    verdict, text = told.verdict, console.plain(f"{scope}: ")
    cause = f", cause {verdict.cause}" if verdict.cause else ""
    text.append(f"{verdict.kind}{cause}", style=COLOURS[verdict.kind])
    text.append(f" {_ago(told.time, now)}: {verdict.reason}")
    return text


def _ago(time: float, now: float) -> str:
    passed = now - time
    # Something may have happened while the figures were read: that lies after `now`.
    return f"{console.duration(passed)} ago" if passed >= 1e-3 else "just now"


def _lines(seen: snapshot.Snapshot) -> Iterator[str]:
    if seen.evidence:
        parts = [
            f"{name} {max(0.0, value / seen.evidence_needed):.0%}"
            for name, value in sorted(seen.evidence.items())
        ]
        yield f"evidence, on its way to a decision: {', '.join(parts)}"
    if seen.drift is not None:
        yield f"drift: {seen.drift:.2f} of its threshold{_kinds(seen)}"
    if seen.reports:
        yield f"drift report: {seen.reports[0]} (the monitor serves it under /reports/)"
    if seen.estimate is not None:
        guess = seen.estimate
        worth = "" if guess.trusted else ", not to be trusted while inputs drift or are unknown"
        yield (
            f"estimate without labels: {console.percent(guess.mean)} "
            f"(expected {console.percent(guess.expected)}){worth}"
        )
    yield from _quality(seen)
    slices = sorted(_worst_slices(seen))
    if slices:
        yield f"champion's slices, worst first: {', '.join(text for _, text in slices[:4])}"
    if any(seen.wanted.values()):
        counts = ", ".join(f"{count} for {why}" for why, count in seen.wanted.items() if count)
        yield f"labels wanted: {counts} (`coppice labels wanted`)"
    yield from _learning(seen)
    yield f"processes: {_processes(seen)}"
    if seen.source == "log" and seen.rollout is not None:
        yield "the monitor does not answer: figures are the last that it wrote"


def _quality(seen: snapshot.Snapshot) -> Iterator[str]:
    """Tell the champion's own measures, how long its labels take, and what its parent says."""
    for version in seen.versions:
        if version.part != "champion":
            continue
        if version.measures:
            told = [
                f"{name} {figure.value:.3g} ({figure.low:.3g}-{figure.high:.3g})"
                for name, figure in version.measures.items()
            ]
            yield f"champion's measures: {', '.join(told)}"
        if version.label_delay is not None:
            delay = version.label_delay
            late = console.duration(delay.p90)
            yield f"labels take {console.duration(delay.p50)}, one in ten over {late}"
        if version.parent_agreement is not None:
            fell = ", less than at first" if version.parent_agreement_fell else ""
            share = console.percent(version.parent_agreement)
            yield f"dense parent agrees on {share}{fell}"


def _kinds(seen: snapshot.Snapshot) -> str:
    """Name what is past its threshold, the farthest first."""
    past = sorted((-ratio, name) for name, ratio in seen.drift_kinds.items() if ratio >= 1.0)
    return f"; drifting: {', '.join(name for _, name in past)}" if past else ""


def _worst_slices(seen: snapshot.Snapshot) -> Iterator[tuple[float, str]]:
    for version in seen.versions:
        if version.part == "champion":
            for name, score in version.slices.items():
                yield score.mean, f"{name} {console.percent(score.mean)} ({score.count})"


def _learning(seen: snapshot.Snapshot) -> Iterator[str]:
    for dated in (seen.last_candidate, seen.last_retraining):
        if dated is None:
            continue
        ago = _ago(dated.time, seen.at)
        match dated.record:
            case records.Candidate() as made:
                yield f"last candidate: {made.version} {made.status} {ago}{_refusals(made)}"
            case records.Retraining() as step:
                yield f"last retraining: {step.status} {ago}, cause {step.cause}: {step.reason}"


def _refusals(made: records.Candidate) -> str:
    for first in made.refusals[:1]:
        more = f" (and {len(made.refusals) - 1} more)" if len(made.refusals) > 1 else ""
        return f": {first}{more}"
    return ""


def _processes(seen: snapshot.Snapshot) -> str:
    return ", ".join(
        f"{process.name} {process.phase}"
        + (f" (restarted {console.counted(process.restarts, 'time')})" if process.restarts else "")
        for process in seen.processes
    )
