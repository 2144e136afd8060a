"""The flow of the learning plane: data, dense parent, cut, recovery, evaluation, gates, artifact.

Called by `coppice prune` and by the retraining loop. Takes a project and a request; gives an
artifact in the registry and a candidate event in the log. Reads as one story in `make`; each phase
is a function, and frozen values go from one to the next.

A refused candidate is registered too, so that it can be looked at, but no alias ever points at it
and the control plane never sees it accepted.
"""

from __future__ import annotations

import copy
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from torch import nn

from coppice import artifact, clock, errors, labels, project, records
from coppice.eventlog.base import EventLog
from coppice.registry.base import Registry
from retrain import (
    card,
    choosing,
    dataset,
    gates,
    material,
    nearest,
    network,
    onnx_export,
    pack,
    packing,
    parents,
    phases,
    proving,
    quality,
    recovery,
)
from retrain.evaluate import evaluation, inspection, section
from retrain.pruning import recipe, surgery

SOURCE = "coppice/retrain"
"""Source of every event that this plane writes."""

SYSTEM_CLOCK = clock.SystemClock()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CandidateRequest:
    """What to make, from what, and why.

    Attributes
    ----------
    recipe
        What to prune and how to recover.
    reason
        A sentence for the card.
    cause
        `manual`, or the cause of the decay that this answers.
    force
        Register as `forced` what the gates refuse.
    data
        The project's data where they were loaded already.
    production
        Labelled production rows to train on and to judge by, beside the project's own data.
    parent
        Tag of a registered dense parent to start from. Without one the newest parent is used if
        the project has not changed since it was made, and else a new one is made.
    refit
        Train the dense parent again, on the project's data and production, before it is cut. It
        goes on from its weights.
    recover_on
        Name of the only slice to fine-tune on after the cut, such as `medium=paper`, where not on
        everything; the null control too.
    """

    recipe: recipe.Recipe
    reason: str = "asked for by hand"
    cause: Literal["manual", "pruning", "world"] = "manual"
    force: bool = False
    data: project.Data | None = None
    production: dataset.Production | None = None
    parent: str | None = None
    refit: bool = False
    recover_on: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Bench:
    """What every phase works with."""

    own: project.Project
    registry: Registry
    request: CandidateRequest
    phases: phases.Phases
    timer: clock.Clock
    folder: Path

    @property
    def name(self) -> str:
        return self.own.settings.project.name

    @property
    def graph(self) -> Path:
        """The candidate's, once it is exported."""
        return self.folder / "candidate" / artifact.MODEL

    @property
    def task(self) -> labels.Task:
        return self.own.settings.project.task


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Models:
    """The three models of every evaluation, and the cut between two of them."""

    parent: parents.Parent
    parent_tag: str
    null: nn.Module
    candidate: nn.Module
    cut: surgery.Surgery


class _Found(NamedTuple):
    """All that was measured of a candidate."""

    packing: packing.Packing
    judged: evaluation.Evaluation
    sections: inspection.Sections
    graphs: proving.Graphs


def make(
    own: project.Project,
    registry: Registry,
    log: EventLog,
    request: CandidateRequest,
    *,
    progress: phases.Progress = phases.silent,
    timer: clock.Clock = SYSTEM_CLOCK,
) -> records.Candidate:
    """Make a candidate and log what became of it.

    Returns
    -------
    Candidate
        The record that was logged: accepted, or forced.

    Raises
    ------
    GateRefused
        It failed a gate and was not forced; the message names each gate, figure and threshold.
    PruningError
        The recipe cannot be carried out on this model.
    ProjectError
        The project's own code or data cannot be used.
    EngineMissing
        `[pack] engines` names one that is not installed.
    """
    choosing.check(own.settings.pack)  # not to be missed only after the training
    steps = phases.Phases(progress, timer)
    cores = network.on_cores(own.settings.train.threads)
    with cores, tempfile.TemporaryDirectory(prefix="coppice-") as name:
        bench = _Bench(
            own=own,
            registry=registry,
            request=request,
            phases=steps,
            timer=timer,
            folder=Path(name),
        )
        with steps.phase("data"):
            used = material.gather(
                own, request.production, data=request.data, recover_on=request.recover_on
            )
        models = _train(bench, used)
        chosen = _choose(bench, used, models)
        served = chosen.packed(bench.graph)
        graphs = proving.graphs(registry, models.parent_tag, served, used.data)
        judged = _judge(bench, used, models, graphs)
        sections = _inspect(bench, used, models, graphs)
        made = _register(bench, used, models, _Found(chosen, judged, sections, graphs))
    log.append([records.seal(made, source=SOURCE, now=timer.now())])
    if made.status == "refused":
        message = (
            f"{made.version} was refused: {'; '.join(made.refusals)}; see its card, or force it"
        )
        raise errors.GateRefused(message)
    return made


def _train(bench: _Bench, used: material.Material) -> _Models:
    with bench.phases.phase("parent") as progress:
        parent = _parent(bench, used, progress)
    tag = parent.tag or _register_parent(bench, used, parent)
    course = _course(bench, used, parent)
    candidate = parents.copy_of(bench.own, parent)
    with bench.phases.phase("prune") as progress:
        cut = course.prune(candidate, progress)
    with bench.phases.phase("recover") as progress:
        course.recover(candidate, progress)
    null = parents.copy_of(bench.own, parent)
    with bench.phases.phase("null control") as progress:
        course.control(null, progress)
    return _Models(parent=parent, parent_tag=tag, null=null, candidate=candidate, cut=cut)


def _course(bench: _Bench, used: material.Material, parent: parents.Parent) -> recovery.Course:
    tree = bench.own.settings
    return recovery.Course(
        recipe=bench.request.recipe,
        task=bench.task,
        seed=tree.project.seed,
        section=tree.train,
        teacher=parent.model,
        training=used.training,
        recovery=used.recovery,
        passes=used.passes,
        part=bench.phases.part,
    )


def _parent(
    bench: _Bench, used: material.Material, progress: Callable[[float], None]
) -> parents.Parent:
    own = bench.own
    tag = bench.request.parent or parents.reusable(own, bench.registry, used.fingerprint)
    if tag is not None:
        parent = parents.registered(own, bench.registry, tag)
    else:
        parent = parents.make(own, used.data, progress=progress)
    if not bench.request.refit:
        return parent
    passes = used.passes(own.settings.train.epochs)
    return parents.retrain(own, parent, used.training, passes, progress=progress)


def _register_parent(bench: _Bench, used: material.Material, parent: parents.Parent) -> str:
    """Pack and register a dense parent of its own, and return its tag."""
    with bench.phases.phase("pack parent"):
        how = proving.rules(bench.own, used.data.classes)
        made = card.Card(
            status="accepted",
            lineage=_lineage(bench, used, origin=parent.origin, parent=None),
            libraries=card.libraries(),
            evaluation=proving.evaluate(used, {"parent": parent.model}, how),
            quality=quality.inspect(used.data, used.production),
            cost=proving.cost(used.data.train, {"parent": parent.model}),
        )
        folder = bench.folder / "parent"
        pack.pack(parent.model, _parts(bench, used, made, "parent"), folder)
        tag = bench.registry.add(folder)
    if parent.origin != "retrained":
        # One that was trained again becomes the parent of later prunings only if its child passes.
        bench.registry.point(bench.name, {"parent": tag})
    return tag


def _choose(bench: _Bench, used: material.Material, models: _Models) -> packing.Packing:
    """Export the candidate, and choose what is served: all that follows judges that."""
    with bench.phases.phase("export"):
        bench.graph.parent.mkdir()
        split = used.packed.validation
        onnx_export.export(models.candidate, split, bench.graph, task=bench.task)
    with bench.phases.phase("choose"):
        data = dataclasses.replace(used.data, train=used.training)
        return choosing.choose(bench.graph, data, proving.wish(bench.own, used.data.classes))


def _judge(
    bench: _Bench, used: material.Material, models: _Models, graphs: proving.Graphs
) -> evaluation.Evaluation:
    own = bench.own
    with bench.phases.phase("evaluate"):
        judged = proving.evaluate(
            used,
            {"parent": models.parent.model, "null": models.null},
            proving.rules(own, used.data.classes),
            served={name: graph for name, graph in graphs.items() if name != "parent"},
        )
    with bench.phases.phase("latency"):
        timed = proving.race(
            graphs["parent"],
            graphs["candidate"],
            used.data.holdout,
            timer=bench.timer,
            confidence=own.settings.gates.confidence,
        )
    return msgspec.structs.replace(judged, latency=timed)


def _inspect(
    bench: _Bench, used: material.Material, models: _Models, graphs: proving.Graphs
) -> inspection.Sections:
    """Measure what `[inspect]` asks for, on copies, so that no section changes what is packed."""
    how = inspection.Inspection(rules=bench.own.settings.inspect, timer=bench.timer)
    columns: dict[evaluation.Column, nn.Module] = {
        "parent": models.parent.model,
        "null": models.null,
        "candidate": models.candidate,
    }
    with bench.phases.phase("inspect") as progress:
        subject = section.Subject(
            own=bench.own,
            models={name: copy.deepcopy(model).eval() for name, model in columns.items()},
            data=used.data,
            production=used.production,
            training=used.training,
            rules=proving.rules(bench.own, used.data.classes),
            recipe=bench.request.recipe,
            graphs=graphs,
            seconds=dict(bench.phases.seconds),
        )
        return how.run(subject, progress)


def _register(
    bench: _Bench, used: material.Material, models: _Models, found: _Found
) -> records.Candidate:
    chosen, judged, sections, graphs = found
    results = gates.check_all(judged, sections, bench.own.settings.gates)
    results = nearest.advise(results, bench.request.recipe, models.parent_tag, bench.registry)
    refusals = gates.refusals(results)
    status = gates.status(refusals, force=bench.request.force)
    made = card.Card(
        status=status,
        lineage=_lineage(bench, used, origin="pruned", parent=models.parent_tag),
        recipe=bench.request.recipe,
        libraries=card.libraries(),
        evaluation=judged,
        gates=results,
        quality=quality.inspect(used.data, used.production),
        cost=proving.cost(
            used.data.train,
            {"parent": models.parent.model, "candidate": models.candidate},
            graphs,
        ),
        sections=sections,
        packing=chosen,
    )
    with bench.phases.phase("pack"):
        parts = dataclasses.replace(
            _parts(bench, used, made, "candidate"),
            surgery=models.cut,
            engine=chosen.taken.engine,
            precision=chosen.taken.precision,
        )
        pack.pack(models.candidate, parts, bench.graph.parent)
        tag = bench.registry.add(bench.graph.parent)
        if status != "refused":
            bench.registry.point(bench.name, {"parent": models.parent_tag})
    return records.Candidate(
        model=bench.name,
        version=tag,
        parent=models.parent_tag,
        status=status,
        reason=bench.request.cause,
        refusals=refusals,
        figures=card.figures(made),
    )


def _lineage(
    bench: _Bench, used: material.Material, *, origin: str, parent: str | None
) -> card.Lineage:
    splits = used.used()
    return card.Lineage(
        parent=parent,
        origin=origin,
        reason=bench.request.reason,
        cause=bench.request.cause,
        fingerprint=used.fingerprint,
        data=quality.digest(splits),
        rows={name: split.rows for name, split in splits.items()},
        seed=bench.own.settings.project.seed,
    )


def _parts(
    bench: _Bench, used: material.Material, made: card.Card, column: evaluation.Column
) -> pack.PackParts:
    tree = bench.own.settings.project
    accepted, rows = proving.expected(made.evaluation, column)
    return pack.PackParts(
        name=tree.name,
        task=tree.task,
        scale=tree.scale,
        data=used.packed,
        card=card.to_tree(made),
        accepted=accepted,
        accepted_rows=rows,
        created_at=bench.timer.now(),
        parent=made.lineage.parent,
    )
