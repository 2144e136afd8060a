"""The flow with int8 asked for: what is judged and registered is the graph that serves."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from coppice import artifact, project, records, runtime, settings
from coppice.testing import ManualClock, MemoryLog, MemoryRegistry
from retrain import candidate, card, weights
from retrain.pruning import recipe
from tests.support import packable

pytestmark = pytest.mark.slow

RECIPE = recipe.Recipe(criterion="magnitude", amount=0.1, align=8, finetune_epochs=0)


class Made(NamedTuple):
    own: project.Project
    registry: MemoryRegistry
    record: records.Candidate

    @property
    def folder(self) -> Path:
        return self.registry.path(self.record.version)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("house")
    tree = settings.Settings(
        root=folder,
        project=settings.ProjectSettings(name="digits"),
        train=settings.TrainSettings(epochs=3, learning_rate=5e-3),
        pack=settings.PackSettings(precision="int8", batch_rows=16, max_drop=0.05),
        inspect=settings.InspectSettings(sections=("metrics",)),
    )
    own = project.Project(settings=tree, build_model=packable.wide, load_data=packable.data)
    registry = MemoryRegistry(folder / "registry")
    request = candidate.CandidateRequest(recipe=RECIPE, force=True)
    with pytest.MonkeyPatch.context() as patch:
        packable.time_by_size(patch)
        found = candidate.make(own, registry, MemoryLog(), request, timer=ManualClock())
    return Made(own, registry, found)


def test_the_int8_graph_is_registered_and_the_manifest_says_so(made: Made) -> None:
    manifest = artifact.verify(made.folder, made.record.version)
    packing = card.read(made.folder).packing
    assert packing is not None
    assert packing.taken.name == "onnxruntime int8", packing.tried
    assert (manifest.engine, manifest.precision) == ("onnxruntime", "int8")
    assert packing.taken.bytes == (made.folder / artifact.MODEL).stat().st_size


def test_the_candidates_column_is_what_the_served_version_answers(made: Made) -> None:
    holdout = packable.data().holdout
    served = runtime.Runtime(made.folder).predict(holdout.inputs).scores
    right = float((served.argmax(axis=1) == holdout.targets).mean())
    found = card.read(made.folder)
    assert found.evaluation.holdout.score("candidate") == right
    assert artifact.read_manifest(made.folder).accepted == right
    truth = served[np.arange(holdout.rows), holdout.targets].astype(np.float64)
    loss = float(-np.log(truth).mean())
    assert found.evaluation.holdout.columns["candidate"]["log_loss"] == pytest.approx(loss)
    assert found.sections["metrics"].status == "measured"


def test_the_reference_holds_what_the_served_version_answers(made: Made) -> None:
    tensors = artifact.load_tensors(made.folder, artifact.REFERENCE)
    served = runtime.Runtime(made.folder).predict(packable.data().validation.inputs)
    rows = packable.data().validation.rows
    assert np.array_equal(tensors["scores"][:rows], served.scores)
    assert np.allclose(tensors["features"][:rows], served.features, atol=1e-5)


def test_the_dense_parent_stays_in_full_precision(made: Made) -> None:
    assert made.record.parent is not None
    manifest = artifact.read_manifest(made.registry.path(made.record.parent))
    assert (manifest.engine, manifest.precision) == ("onnxruntime", "fp32")
    assert card.read(made.registry.path(made.record.parent)).packing is None


def test_the_weights_are_those_of_full_precision(made: Made) -> None:
    # What is trained on again later is the network, not its int8 form.
    rebuilt = weights.rebuild(packable.wide, made.folder)
    kinds = {str(parameter.dtype) for parameter in rebuilt.parameters()}
    assert kinds == {"torch.float32"}
