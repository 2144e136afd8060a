"""How a search looks: what each group matters, the front with its probes, and what was chosen."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from coppice_cli import console
from retrain.search import choice, loop, probes, sensitivity, terms

if TYPE_CHECKING:
    import rich.table

    from retrain.evaluate import latency

TARGETS: dict[terms.Target, str] = {
    "latency": "latency",
    "size": "size of the graph",
    "memory": "memory",
    "macs": "multiply-accumulates",
}
"""Targets in words."""


def show(
    found: loop.Found, wish: choice.Wish, path: Path | None, page: Path, *, as_json: bool
) -> None:
    """Print what was found.

    Parameters
    ----------
    path
        Of the recipe, where one was written.
    page
        Of the page with its pictures.
    """
    if as_json:
        written = None if path is None else str(path)
        console.write_json({**msgspec.to_builtins(found), "written": written, "page": str(page)})
        return
    screen = console.out()
    screen.print(_sensitivity(found.sensitivity))
    if found.entries:
        screen.print(_front(found, wish))
    if found.chosen is not None:
        screen.print(_widths(found, found.entries[found.chosen]))
    for line in sentences(found, wish):
        screen.print(line, markup=False, soft_wrap=True)
    screen.print(f"pictures: {page}", markup=False, soft_wrap=True)
    if path is not None:
        how = f"recipe: {path}; make the candidate with `coppice prune --recipe {path}`"
        screen.print(how, markup=False, soft_wrap=True)


def show_points(points: Sequence[sensitivity.Point], *, as_json: bool) -> None:
    """Print the sensitivity sweep alone."""
    if as_json:
        console.write_json(msgspec.to_builtins(list(points)))
    else:
        console.out().print(_sensitivity(points))


def in_words(found: loop.Found, wish: choice.Wish) -> str:
    """Say what the chosen widths give."""
    assert found.chosen is not None
    assert found.final is not None
    probe = found.entries[found.chosen].probe
    assert probe is not None
    after = probe.expected
    worst = f", {_points(after.left * probe.slice_drop)} on {probe.worst_slice}"
    return (
        f"{found.final.cost.gain:.2f} times less {TARGETS[wish.terms.target]}; "
        f"{_points(after.loss)} points ({_points(after.low)} to {_points(after.high)})"
        f"{worst if probe.worst_slice else ''} are expected to be lost after the whole recovery"
    )


def _sensitivity(points: Sequence[sensitivity.Point]) -> rich.table.Table:
    by_group: dict[str, list[sensitivity.Point]] = collections.defaultdict(list)
    for point in points:
        by_group[point.group].append(point)
    ranked = sorted(by_group, key=lambda name: -max(point.rise for point in by_group[name]))
    shown = console.table(
        "group",
        "units",
        "points lost at units or blocks kept, alone and without training",
        title="sensitivity",
        numbers=("units",),
    )
    for name in ranked:
        line = ", ".join(f"{_points(point.drop)} at {point.kept}" for point in by_group[name])
        shown.add_row(console.plain(name), str(by_group[name][0].units), line)
    return shown


def _front(found: loop.Found, wish: choice.Wish) -> rich.table.Table:
    target = wish.terms.target
    numbers = (f"{target} x", "MACs x", "blocks out", "predicted", "lost, short", "expected, whole")
    title = "front: points lost after the short recovery, and expected after the whole one"
    shown = console.table("", *numbers, "worst slice", "budget", numbers=numbers, title=title)
    line = [
        (place, entry)
        for place, entry in enumerate(found.entries)
        if entry.on_front or entry.probe is not None
    ]
    for place, entry in sorted(line, key=lambda pair: pair[1].cost.gain):
        probe = entry.probe
        shown.add_row(
            "*" if place == found.chosen else "",
            f"{entry.cost.gain:.2f}",
            f"{found.dense.macs / entry.cost.macs:.2f}",
            str(len(entry.out)),
            f"{entry.damage:.3f}",
            "-" if probe is None else _points(probe.drop),
            "-" if probe is None else _points(probe.expected.loss),
            console.plain("" if probe is None else _slice(probe)),
            _verdict(entry, wish),
        )
    return shown


def _verdict(entry: choice.Entry, wish: choice.Wish) -> str:
    if entry.met is None or wish.budget is None:
        return ""
    return "[green]met[/]" if entry.met else "[red]missed[/]"


def _slice(probe: probes.Probe) -> str:
    return f"{_points(probe.slice_drop)} {probe.worst_slice}" if probe.worst_slice else ""


def _widths(found: loop.Found, entry: choice.Entry) -> rich.table.Table:
    shown = console.table("group", "units", "stay", title="widths", numbers=("units", "stay"))
    for name in entry.out:
        shown.add_row(console.plain(name), "block", "left out")
    for name, count in entry.widths.items():
        shown.add_row(console.plain(name), str(found.units[name]), str(count))
    return shown


def sentences(found: loop.Found, wish: choice.Wish) -> Iterator[str]:
    """Say what was found, the verdict first."""
    if found.chosen is None or found.final is None:
        yield "nothing was probed"
    elif found.met:
        yield f"found: {in_words(found, wish)}"
    else:
        yield f"nothing does what was asked; the best is {in_words(found, wish)}"
    if found.unmeasured:
        yield f"the time was up before {found.unmeasured} structures were measured"
    elif found.stopped:
        yield "the time was up before every probe was made; run it again to go on"
    if found.chosen is None or found.final is None:
        return
    chosen = found.entries[found.chosen]
    final, probe = found.final, chosen.probe
    assert probe is not None
    if chosen.out:
        yield f"{len(chosen.out)} of {found.blocks} blocks left out: {', '.join(chosen.out)}"
    yield (
        f"measured again with its trained weights: {final.macs_ratio:.2f} times fewer MACs; "
        f"latency {_gain(final.runtime)} than dense in the same runtime, {_gain(final.eager)} than "
        "dense in torch"
    )
    yield from (
        f"{way.name}: {'taken' if way.taken else 'not taken'}, {way.reason}"
        for way in final.packing.tried[1:]
    )
    yield from losses(probe, wish)


def losses(probe: probes.Probe, wish: choice.Wish) -> Iterator[str]:
    """Tell what was lost from what is expected, and from what only another command measures."""
    after, passes = probe.expected, wish.base.finetune_epochs
    yield (
        f"lost after the short recovery (measured, {_effort(wish.effort)}): {_points(probe.drop)} "
        f"points ({_points(probe.low)} to {_points(probe.high)}); score "
        f"{console.percent(probe.score)}, dense trained as long {console.percent(probe.control)}"
    )
    yield (
        f"expected after the whole recovery (a forecast, {passes} passes over all training rows): "
        f"{_points(after.loss)} points ({_points(after.low)} to {_points(after.high)}); by then "
        f"dense, too, usually gains {_points(after.control_gain)}"
    )
    yield (
        "lost in the end: a search does not measure it; `coppice prune` trains in full, and does "
        "on the holdout split"
    )


def _gain(found: latency.Latency) -> str:
    return f"{found.gain:.2f} times less ({found.low:.2f}-{found.high:.2f})"


def _effort(effort: probes.Effort) -> str:
    return f"{effort.epochs} passes over at most {effort.rows:,} rows"


def _points(share: float) -> str:
    """Write a loss of score in points.

    >>> _points(0.0123), _points(-0.00001)
    ('+1.23', '+0.00')
    """
    return f"{100.0 * share:+z.2f}"
