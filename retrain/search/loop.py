"""The flow of the search: grounds, sensitivity, table, ladder, races, probes, and what to take.

Called by `coppice search`. Takes a project and a wish; gives what was found, whether or not it is
good enough. Everything that is measured is kept under the project's home as soon as it is known,
so a search that was stopped, in whatever way, goes on where it was.

Two ways of asking: the best cost within a budget of score, found by halving a ladder of costs; or
the least damage that reaches a cost, found among the mildest shapes that do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec
from torch import nn

from coppice import clock, project
from coppice.registry.base import Registry
from retrain import material, network, parents, phases, proving, store, weights
from retrain.pruning import recipe, schedule
from retrain.search import (
    chain,
    choice,
    deadline,
    final,
    front,
    grid,
    grounds,
    probes,
    sensitivity,
    subject,
    table,
)

SYSTEM_CLOCK = clock.SystemClock()
TABLE_SHARE = 0.5
"""Of the time that is left, the most that the table may take; the rest is for probes."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """All that a search found."""

    sensitivity: tuple[sensitivity.Point, ...]
    units: dict[str, int]
    """Of every group, before."""
    blocks: int
    """That the search might have left out."""
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
    """Search the shape of a project's dense parent, which is trained first where there is none.

    Parameters
    ----------
    progress
        Told the phase and the share of it that is done; may raise to stop.

    Raises
    ------
    PruningError
        The recipe cannot be searched, or the network has nothing to choose.
    ArtifactError
        A structure cannot be exported, or its graph not be run.
    ProjectError
        The project's own code or data cannot be used.
    """
    parted = chain.parted(wish.base)
    steps = phases.Phases(progress, timer)
    with network.on_cores(own.settings.train.threads):
        of = _subject(own, registry, grounds.Asked(parted, wish.leave_out), steps)
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
    parted = chain.parted(wish.base)
    steps = phases.Phases(progress, timer)
    with network.on_cores(own.settings.train.threads):
        of = _subject(own, registry, grounds.Asked(parted, wish.leave_out), steps)
        with steps.phase("sensitivity") as told:
            return tuple(sensitivity.sweep(of, wish.sensitivity_rows, _findings(own), told))


def _findings(own: project.Project) -> store.Store:
    return store.Store(own.settings.home / "search")


def _subject(
    own: project.Project, registry: Registry, asked: grounds.Asked, steps: phases.Phases
) -> subject.Subject:
    tree = own.settings
    with steps.phase("data"):
        used = material.gather(own)
    with steps.phase("parent") as told:
        model = _parent(own, registry, used, told)
    key = {"project": used.fingerprint, "weights": subject.digest(model)}
    with steps.phase("blocks"):
        how = grounds.Plan(asked=asked, task=tree.project.task, seed=tree.project.seed, key=key)
        laid = grounds.lay(model, used.data.train, how, _findings(own))
    return subject.Subject(
        model=model,
        grounds=laid.grounds,
        chain=laid.chain,
        data=used.data,
        task=tree.project.task,
        scale=tree.project.scale,
        seed=tree.project.seed,
        key=key,
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


Rung: TypeAlias = Sequence[front.Point]
"""Shapes of about the same cost."""


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
        self._packed = proving.wish(own, of.data.classes)
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
            rules=proving.rules(own, of.data.classes),
            effort=wish.effort,
            findings=self._findings,
        )
        self._points: tuple[sensitivity.Point, ...] = ()
        self._shapes: list[subject.Shape] = []
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
        found = grid.candidates(self._of, self._points, self._wish.structures)
        with self._steps.phase(f"{self._wish.terms.target} table") as told:
            costs = self._table.fill(
                [each.shape for each in found], told, until=self._until.part(TABLE_SHARE)
            )
        self._unmeasured = costs.count(None)
        for each, cost in zip(found, costs, strict=True):
            if cost is not None:
                entry = choice.Entry(
                    out=self._of.grounds[each.shape.ground].out,
                    widths=dict(each.shape.kept),
                    cost=cost,
                    damage=each.damage,
                )
                self._shapes.append(each.shape)
                self._entries.append(entry)

    def _probe(self) -> None:
        points = [
            front.Point(number, entry.cost.gain, entry.damage, shape.ground)
            for number, (shape, entry) in enumerate(zip(self._shapes, self._entries, strict=True))
        ]
        rungs = front.ladder(points)
        for number in {point.number for rung in rungs for point in rung}:
            self._mark(number, on_front=True)
        with self._steps.phase("null control") as told:
            self._prober.control(self._in_time(told))
        with self._steps.phase("probes") as told:
            if self._wish.at_least is None:
                self._halve(rungs, told)
            else:
                reached = front.reaching(points, self._wish.at_least)
                # Where nothing reaches it, the nearest is probed to say what it would cost.
                for rung in [reached] if reached else rungs[-1:]:
                    self._met(rung, told)

    def _halve(self, rungs: Sequence[Rung], told: Callable[[float], None]) -> None:
        known: dict[int, bool] = {}
        expected = len(rungs).bit_length() + 1
        while (place := front.next_probe(known, len(rungs))) is not None:
            count = max(expected, len(known) + 1)
            known[place] = self._met(rungs[place], phases.part(told, len(known), count))

    def _met(self, rung: Rung, told: Callable[[float], None]) -> bool:
        """Let the shapes of a rung race, probe the best, and say whether it meets the budget."""
        in_time = self._in_time(told)
        shapes = [self._shapes[point.number] for point in rung]
        best = shapes.index(self._prober.race(shapes, lambda share: in_time(share / 2)))
        probe = self._prober.probe(shapes[best], lambda share: in_time(0.5 + share / 2))
        budget = self._wish.budget
        met = budget is None or budget.met_by(probe)
        self._mark(rung[best].number, probe=probe, met=met)
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
                model = self._prober.model(self._shapes[chosen])
                measured = final.measure(self._of, self._wish.terms, self._packed, model)
        return Found(
            sensitivity=self._points,
            units=self._of.units,
            blocks=self._of.grounds[0].blocks,
            dense=schedule.cost(self._of.model, self._of.training),
            entries=tuple(self._entries),
            chosen=chosen,
            met=(
                chosen is not None
                and measured is not None
                and choice.does(self._entries[chosen], measured.cost, self._wish)
            ),
            final=measured,
            recipe=None if chosen is None else self._of.recipe_for(self._shapes[chosen]),
            unmeasured=self._unmeasured,
            stopped=stopped,
        )
