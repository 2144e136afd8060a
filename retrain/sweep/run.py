"""Carry a sweep out: one pruned and recovered model for each combination, a control for each seed.

Called by `coppice sweep`. Takes a project and a plan; leaves finished parts in a folder and gives
the record of them all. What is finished is never done again, whoever ended the process before.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from coppice import clock, errors, project
from coppice.labels import Floats
from coppice.registry import base
from retrain import card, network, parents, store
from retrain.report import prunings
from retrain.sweep import bench, plan, record, summary

PARTS = "parts"
"""Folder of the finished parts, below the sweep's."""
TIMER = clock.SystemClock()
Ending: TypeAlias = Literal["finished", "out of time", "interrupted"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Told:
    """How far a sweep is.

    Attributes
    ----------
    done, total
        Combinations.
    what
        The one that is worked on.
    phase, share
        Of that one: what is done now, and how much of it.
    """

    done: int
    total: int
    what: str
    phase: str
    share: float


Tell: TypeAlias = Callable[[Told], None]


class Result(NamedTuple):
    """A sweep and how it ended."""

    found: record.Sweep
    ending: Ending


class _Work:
    """One sweep while it is carried out."""

    def __init__(self, shared: bench.Ground, wanted: plan.Plan, parts: store.Store) -> None:
        self.shared = shared
        self.plan = wanted
        self._parts = parts
        self._libraries = card.libraries()
        self._parent_answers = shared.answers(shared.parent.model)
        # What cannot be made today, but may be tomorrow, is not kept.
        self._troubled: dict[record.Combination, record.Outcome] = {}

    def _key(self, *follows_from: object) -> store.Key:
        return {
            "schema": record.SCHEMA,
            "ground": self.shared.digest,
            "libraries": self._libraries,
            "follows from": follows_from,
        }

    def _outcome_key(self, combination: record.Combination) -> store.Key:
        return self._key(self.plan.recipe(combination), combination.seed)

    def missing(self) -> list[record.Combination]:
        return [each for each in self.plan.combinations() if self._outcome(each) is None]

    def _outcome(self, combination: record.Combination) -> record.Outcome | None:
        kept = self._parts.get(self._outcome_key(combination), record.Outcome)
        return kept or self._troubled.get(combination)

    def keep_dense(self, stand: bench.Stand) -> None:
        if self._parts.get(self._key("dense"), record.Graph) is None:
            self._parts.put(self._key("dense"), stand.dense)

    def carry_out(
        self,
        combination: record.Combination,
        stand: bench.Stand,
        tell: Callable[[str, float], None],
    ) -> None:
        """Make and measure one combination, and keep what came of it."""
        try:
            found, arrays = self._measure(combination, stand, tell)
        except (errors.PruningError, errors.ProjectError) as cause:
            refused = record.Outcome(combination=combination, refused=str(cause))
            self._parts.put(self._outcome_key(combination), refused)
        except errors.ArtifactError as cause:
            self._troubled[combination] = record.Outcome(
                combination=combination, refused=str(cause)
            )
        else:
            outcome = record.Outcome(combination=combination, measured=found)
            self._parts.put(self._outcome_key(combination), outcome, arrays)

    def _measure(
        self,
        combination: record.Combination,
        stand: bench.Stand,
        tell: Callable[[str, float], None],
    ) -> tuple[record.Measured, dict[str, Floats]]:
        start = TIMER.monotonic()
        recipe = self.plan.recipe(combination)
        pruned = bench.prune(self.shared, recipe, combination.seed, tell)
        answers = self.shared.answers(pruned.model)
        scores = self.shared.scores(answers)
        graph = self._graph(pruned, stand, tell)
        seconds = TIMER.monotonic() - start
        null = self._control(combination, tell)
        found = record.Measured(
            score=float(scores.mean()),
            against_parent=self.shared.compare(self._parent_answers, answers),
            against_null=self.shared.compare(null, answers),
            network=bench.network_of(self.shared, pruned.model),
            graph=graph,
            cut=prunings.read(pruned.cut.to_json()),
            epochs=pruned.epochs,
            seconds=seconds,
        )
        return found, {"scores": scores}

    def _graph(
        self, pruned: bench.Pruned, stand: bench.Stand, tell: Callable[[str, float], None]
    ) -> record.Graph:
        """Time the structure, unless one like it was timed before: the weights do not matter."""
        key = self._key("structure", bench.structure(pruned))
        graph = self._parts.get(key, record.Graph)
        if graph is None:
            graph = stand.time(pruned.model, tell)
            self._parts.put(key, graph)
        return graph

    def _control_key(self, combination: record.Combination) -> store.Key:
        recipe = self.plan.recipe(combination)
        return self._key(
            "null control",
            combination.seed,
            self.shared.course(recipe, combination.seed).epochs,
            (recipe.learning_rate, recipe.distill_weight, recipe.temperature, recipe.precision),
        )

    def _control(
        self, combination: record.Combination, tell: Callable[[str, float], None]
    ) -> Floats:
        """Return the answers of the control that was trained as long."""
        key = self._control_key(combination)
        if self._parts.get(key, record.Control) is not None:
            return self._parts.arrays(key)["answers"]
        course = self.shared.course(self.plan.recipe(combination), combination.seed)
        model = parents.copy_of(self.shared.own, self.shared.parent)
        course.control(model, lambda share: tell("null control", share))
        answers = self.shared.answers(model)
        found = record.Control(
            seed=combination.seed,
            epochs=course.epochs,
            score=float(self.shared.scores(answers).mean()),
            against_parent=self.shared.compare(self._parent_answers, answers),
        )
        self._parts.put(key, found, {"answers": answers})
        return answers

    def found(self) -> record.Sweep | None:
        """Return the record of all that is finished; `None` before anything is."""
        dense = self._parts.get(self._key("dense"), record.Graph)
        if dense is None:
            return None
        done = [(each, self._outcome(each)) for each in self.plan.combinations()]
        outcomes = [outcome for _, outcome in done if outcome is not None]
        scores = {
            each.combination: self._parts.arrays(self._outcome_key(each.combination))["scores"]
            for each in outcomes
            if each.measured is not None
        }
        controls = [
            self._parts.get(self._control_key(each.combination), record.Control)
            for each in outcomes
            if each.measured is not None
        ]
        tree = self.shared.tree
        epochs = {each.combination: each.measured.epochs for each in outcomes if each.measured}
        return record.Sweep(
            name=tree.project.name,
            task=tree.project.task,
            scale=tree.project.scale,
            base=self.plan.base,
            criteria=tuple(dict.fromkeys(self.plan.criteria)),
            amounts=tuple(sorted(set(self.plan.amounts))),
            seeds=tuple(dict.fromkeys(self.plan.seeds)),
            scored=self.plan.scored,
            rows=self.shared.split.rows,
            confidence=tree.gates.confidence,
            fingerprint=self.shared.used.fingerprint,
            libraries=self._libraries,
            score=float(np.mean(self.shared.scores(self._parent_answers))),
            dense=bench.network_of(self.shared, self.shared.parent.model),
            dense_graph=dense,
            controls=tuple(dict.fromkeys(each for each in controls if each is not None)),
            outcomes=tuple(outcomes),
            edges=summary.edges(scores, epochs, confidence=tree.gates.confidence),
        )


def sweep(
    own: project.Project,
    registry: base.Registry,
    wanted: plan.Plan,
    folder: Path,
    *,
    tell: Tell,
    seconds: float | None = None,
) -> Result:
    """Carry out what is missing of a sweep, and return all of it.

    Parameters
    ----------
    folder
        Where parts are kept and looked for.
    seconds
        No combination is begun after so many.

    Raises
    ------
    ProjectError
        The project's own code or data cannot be used.
    ArtifactError
        The dense parent cannot be exported or timed.
    KeyboardInterrupt
        Somebody interrupted before anything was measured; afterwards it is an ending.
    """
    start = TIMER.monotonic()
    total = len(wanted.combinations())
    with network.on_cores(own.settings.train.threads):
        shared = bench.ground(
            own,
            registry,
            folder,
            scored=wanted.scored,
            progress=lambda phase, share: tell(
                Told(done=0, total=total, what="dense parent", phase=phase, share=share)
            ),
        )
        work = _Work(shared, wanted, store.Store(folder / PARTS))
        missing = work.missing()
        ending: Ending = "finished"
        try:
            if missing:
                ending = _carry_out(work, missing, tell, seconds, start)
        except KeyboardInterrupt:
            ending = "interrupted"
        found = work.found()
    if found is None:
        raise KeyboardInterrupt
    return Result(found, ending)


def _carry_out(
    work: _Work,
    missing: list[record.Combination],
    tell: Tell,
    seconds: float | None,
    start: float,
) -> Ending:
    total = len(work.plan.combinations())
    before = total - len(missing)
    with tempfile.TemporaryDirectory(prefix="coppice-") as name:
        tell(Told(done=before, total=total, what="dense parent", phase="export", share=0.0))
        with bench.Stand(work.shared, Path(name)) as stand:
            work.keep_dense(stand)
            for number, combination in enumerate(missing):
                if seconds is not None and TIMER.monotonic() - start > seconds:
                    return "out of time"

                def told(
                    phase: str,
                    share: float,
                    done: int = before + number,
                    what: str = combination.words,
                ) -> None:
                    tell(Told(done=done, total=total, what=what, phase=phase, share=share))

                work.carry_out(combination, stand, told)
            tell(Told(done=total, total=total, what="", phase="", share=1.0))
    return "finished"
