"""The flow of the search: sensitivity, candidates, table, front, probes, and the widths to take.

Called by `coppice search`. Takes a project and a wish; gives what was found, whether or not it is
good enough. Everything that is measured is kept under the project's home as soon as it is known,
so a search that was stopped, in whatever way, goes on where it was.

Two ways of asking: the best cost within a budget of score, found by halving the front; or the least
damage that reaches a cost, found among the mildest widths that do.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from torch import nn

from coppice import clock, project
from coppice.registry.base import Registry
from retrain import material, network, parents, phases, proving, weights
from retrain.pruning import recipe, schedule, units
from retrain.search import (
    choice,
    deadline,
    estimate,
    final,
    front,
    probes,
    sensitivity,
    store,
    subject,
    table,
    widths,
)

SYSTEM_CLOCK = clock.SystemClock()
TABLE_SHARE = 0.5
"""Of the time that is left, the most that the table may take; the rest is for probes."""
TRIES = 3
"""Widths that are probed where a cost is asked for: of those that reach it, the mildest."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """All that a search found."""

    sensitivity: tuple[sensitivity.Point, ...]
    units: dict[str, int]
    """Of every group, before."""
    dense: schedule.Cost
    entries: tuple[choice.Entry, ...]
    chosen: int | None
    """Place in `entries` of what to take: it meets the budget or, where nothing does, comes
    nearest; `None` where nothing was probed."""
    met: bool
    """Whether it does what was asked."""
    final: final.Final | None
    recipe: recipe.Recipe | None
    unmeasured: int
    """Structures that were not measured because the time was up."""
    stopped: bool
    """Whether the time was up before the search had ended."""


def search(
    own: project.Project,
    registry: Registry,
    wish: choice.Wish,
    *,
    progress: phases.Progress = phases.silent,
    timer: clock.Clock = SYSTEM_CLOCK,
) -> Found:
    """Search the widths of a project's dense parent, which is trained first where there is none.

    Parameters
    ----------
    progress
        Told the phase and the share of it that is done; may raise to stop.

    Raises
    ------
    PruningError
        The recipe is not one of widths, or the network has none to choose.
    ArtifactError
        A structure cannot be exported, or its graph not be run.
    ProjectError
        The project's own code or data cannot be used.
    """
    subject.check(wish.base)
    steps = phases.Phases(progress, timer)
    with network.on_cores(own.settings.train.threads):
        of = _subject(own, registry, wish.base, steps)
        until = None if wish.minutes is None else 60.0 * wish.minutes
        return _Search(own, of, wish, steps, deadline.Deadline(until, timer)).run()


def sweep(
    own: project.Project,
    registry: Registry,
    wish: choice.Wish,
    *,
    progress: phases.Progress = phases.silent,
    timer: clock.Clock = SYSTEM_CLOCK,
) -> tuple[sensitivity.Point, ...]:
    """Make the sensitivity sweep alone; raises as `search` does."""
    subject.check(wish.base)
    steps = phases.Phases(progress, timer)
    with network.on_cores(own.settings.train.threads):
        of = _subject(own, registry, wish.base, steps)
        with steps.phase("sensitivity") as told:
            return tuple(sensitivity.sweep(of, wish.sensitivity_rows, _findings(own), told))


def _findings(own: project.Project) -> store.Store:
    return store.Store(own.settings.home / "search")


def _subject(
    own: project.Project, registry: Registry, base: recipe.Recipe, steps: phases.Phases
) -> subject.Subject:
    tree = own.settings
    with steps.phase("data"):
        used = material.gather(own)
    with steps.phase("parent") as told:
        model = _parent(own, registry, used, told)
    ready = copy.deepcopy(model)
    units.prepare(ready, used.training)
    return subject.Subject(
        model=model,
        ready=ready,
        coupled=subject.couple(ready, used.training, base),
        base=base,
        training=used.training,
        validation=used.data.validation,
        task=tree.project.task,
        scale=tree.project.scale,
        classes=used.data.classes,
        seed=tree.project.seed,
        key={"project": used.fingerprint, "weights": subject.digest(model)},
    )


def _parent(
    own: project.Project,
    registry: Registry,
    used: material.Material,
    told: Callable[[float], None],
) -> nn.Module:
    """Take the registered parent, or the one that an earlier search trained, or train it."""
    tag = parents.reusable(own, registry, used.fingerprint)
    if tag is not None:
        return parents.registered(own, registry, tag).model
    path = own.settings.home / "search" / f"parent-{used.fingerprint[:32]}.safetensors"
    if path.is_file():
        seed = own.settings.project.seed
        return weights.load(network.build(own.build_model, seed=seed), path).eval()
    model = parents.make(own, used.data, progress=told).model
    probes.keep(model, path)
    return model


class _Search:
    """One search: what it works with, and what it has found so far."""

    def __init__(
        self,
        own: project.Project,
        of: subject.Subject,
        wish: choice.Wish,
        steps: phases.Phases,
        until: deadline.Deadline,
    ) -> None:
        self._of = of
        self._wish = wish
        self._steps = steps
        self._until = until
        self._findings = _findings(own)
        self._table = table.Table(
            of,
            wish.terms,
            store.Store(own.settings.home / "latency"),
            subject.source_digest(own.build_model, of.training),
        )
        self._prober = probes.Prober(
            of,
            section=own.settings.train,
            rules=proving.rules(own, of.classes),
            effort=wish.effort,
            findings=self._findings,
        )
        self._points: tuple[sensitivity.Point, ...] = ()
        self._entries: list[choice.Entry] = []
        self._unmeasured = 0

    def run(self) -> Found:
        """Search until there is an answer, or the time is up."""
        stopped = False
        try:
            self._sweep()
            self._fill()
            self._probe()
        except deadline.OutOfTime:
            stopped = True
        return self._found(stopped=stopped or self._unmeasured > 0)

    def _sweep(self) -> None:
        with self._steps.phase("sensitivity") as told:
            points = sensitivity.sweep(
                self._of, self._wish.sensitivity_rows, self._findings, self._in_time(told)
            )
        self._points = tuple(points)

    def _fill(self) -> None:
        kept, damage = self._candidates()
        with self._steps.phase(f"{self._wish.terms.target} table") as told:
            costs = self._table.fill(kept, told, until=self._until.part(TABLE_SHARE))
        self._unmeasured = costs.count(None)
        self._entries = [
            choice.Entry(widths=dict(widths_), cost=cost, damage=float(harm))
            for widths_, cost, harm in zip(kept, costs, damage, strict=True)
            if cost is not None
        ]

    def _candidates(self) -> tuple[list[dict[str, int]], list[float]]:
        """Return the widths that are worth a measurement, and their predicted damage."""
        of = self._of
        found = widths.families(of.coupled, of.base.align)
        every = widths.combinations(found)
        # The last keeps everything, and is the dense model itself.
        places = np.array(every[:-1], dtype=np.int64).reshape(-1, len(found))
        counts = {
            group.name: np.array([level[index] for level in family.levels], dtype=np.float64)[
                places[:, column]
            ]
            for column, family in enumerate(found)
            for index, group in enumerate(family.groups)
        }
        damage = sensitivity.damage(self._points, found, places)
        macs = estimate.Estimate(of.ready, of.training, of.coupled).macs(counts)
        taken = widths.thinned(macs, damage, self._wish.structures)
        chosen = [widths.chosen(found, places[at].tolist()) for at in taken]
        return chosen, [float(damage[at]) for at in taken]

    def _probe(self) -> None:
        points = [
            front.Point(number, entry.cost.gain, entry.damage)
            for number, entry in enumerate(self._entries)
        ]
        line = front.pareto(points)
        for point in line:
            self._mark(point.number, on_front=True)
        with self._steps.phase("null control") as told:
            self._prober.control(self._in_time(told))
        with self._steps.phase("probes") as told:
            if self._wish.at_least is None:
                self._halve(line, told)
            else:
                reached = front.reaching(points, self._wish.at_least)[:TRIES]
                # Where nothing reaches it, the nearest is probed to say what it would cost.
                self._try(reached or line[-1:], told)

    def _halve(self, line: Sequence[front.Point], told: Callable[[float], None]) -> None:
        known: dict[int, bool] = {}
        expected = len(line).bit_length() + 1
        while (place := front.next_probe(known, len(line))) is not None:
            part = _part(told, len(known), max(expected, len(known) + 1))
            known[place] = self._met(line[place].number, part)

    def _try(self, line: Sequence[front.Point], told: Callable[[float], None]) -> None:
        for done, point in enumerate(line):
            self._met(point.number, _part(told, done, len(line)))

    def _met(self, number: int, told: Callable[[float], None]) -> bool:
        probe = self._prober.probe(self._entries[number].widths, self._in_time(told))
        budget = self._wish.budget
        met = budget is None or budget.met_by(probe)
        self._mark(number, probe=probe, met=met)
        return met

    def _mark(self, number: int, **changes: Any) -> None:
        self._entries[number] = msgspec.structs.replace(self._entries[number], **changes)

    def _in_time(self, told: Callable[[float], None]) -> Callable[[float], None]:
        def tell(share: float) -> None:
            # Only what would be begun is stopped: with all of it done there is nothing to save.
            if share < 1.0:
                self._until.check()
            told(share)

        return tell

    def _found(self, *, stopped: bool) -> Found:
        chosen = choice.choose(self._entries, self._wish)
        measured = None
        if chosen is not None:
            with self._steps.phase("final"):
                model = self._prober.model(self._entries[chosen].widths)
                measured = final.measure(self._of, self._wish.terms, model)
        return Found(
            sensitivity=self._points,
            units={group.name: group.units for group in self._of.coupled},
            dense=schedule.cost(self._of.model, self._of.training),
            entries=tuple(self._entries),
            chosen=chosen,
            met=(
                chosen is not None
                and measured is not None
                and choice.does(self._entries[chosen], measured.cost, self._wish)
            ),
            final=measured,
            recipe=None if chosen is None else self._of.recipe_for(self._entries[chosen].widths),
            unmeasured=self._unmeasured,
            stopped=stopped,
        )


def _part(told: Callable[[float], None], done: int, count: int) -> Callable[[float], None]:
    """Return what is told the share of one of so many parts."""
    return lambda share: told((done + share) / count)
