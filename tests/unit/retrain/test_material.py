from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from coppice import errors, project, settings
from retrain import dataset, material


def split(rows: int, value: float, pen: str = "ink") -> project.Split:
    return project.Split(
        inputs={"x": np.full((rows, 2), value, np.float32)},
        targets=np.arange(rows, dtype=np.int64) % 2,
        slices={"pen": np.full(rows, pen)},
    )


DATA = project.Data(
    train=split(40, 0.0), validation=split(10, 1.0), holdout=split(20, 2.0), classes=("no", "yes")
)


@pytest.fixture
def own(tmp_path: Path) -> project.Project:
    tree = settings.Settings(
        root=tmp_path, project=settings.ProjectSettings(name="m", task="binary")
    )
    return project.Project(settings=tree, build_model=lambda: None, load_data=lambda: DATA)


def production(*, recent: int, held_back: int) -> dataset.Production:
    return dataset.Production(
        older=split(0, 3.0), recent=split(recent, 4.0, "lead"), held_back=split(held_back, 5.0)
    )


def values(part: project.Split) -> set[float]:
    return set(part.inputs["x"][:, 0].tolist())


def test_without_production_everything_is_the_projects_own(own: project.Project) -> None:
    used = material.gather(own)
    assert used.training is DATA.train
    assert used.recovery is used.training
    assert used.packed is DATA
    assert set(used.used()) == {"train", "recovery", "validation", "holdout"}


def test_production_is_trained_on_and_what_is_held_back_is_not(own: project.Project) -> None:
    used = material.gather(own, production(recent=40, held_back=10))
    assert values(used.training) == {0.0, 4.0}
    assert used.held_back is not None
    assert values(used.held_back) == {5.0}
    assert "held_back" in used.used()


def test_recovery_can_be_narrowed_to_one_slice(own: project.Project) -> None:
    used = material.gather(own, production(recent=40, held_back=10), recover_on="pen=ink")
    assert values(used.recovery) == {0.0}
    assert values(used.training) == {0.0, 4.0}


def test_a_slice_that_is_not_there_lists_those_that_are(own: project.Project) -> None:
    with pytest.raises(errors.ProjectError, match="no slice 'pen=chalk'; known: pen=ink"):
        material.gather(own, recover_on="pen=chalk")


@pytest.mark.parametrize(
    ("held_back", "reference"),
    [
        pytest.param(29, {1.0, 2.0}, id="too few to say anything: the project's own rows"),
        pytest.param(30, {5.0, 4.0}, id="too few alone: beside the recent rows"),
        pytest.param(200, {5.0}, id="enough alone"),
    ],
)
def test_live_traffic_is_compared_with_the_world_as_it_is_now(
    own: project.Project, held_back: int, reference: set[float]
) -> None:
    packed = material.gather(own, production(recent=40, held_back=held_back)).packed
    assert values(packed.validation) | values(packed.holdout) == reference


def test_no_held_back_rows_mean_nothing_to_judge_on(own: project.Project) -> None:
    assert material.gather(own, production(recent=40, held_back=0)).held_back is None


def test_data_that_were_loaded_already_are_not_loaded_again(own: project.Project) -> None:
    def fail() -> object:
        raise AssertionError

    used = material.gather(dataclasses.replace(own, load_data=fail), data=DATA)
    assert used.data is DATA


def test_repeated_rows_weigh_more_but_are_not_trained_on_for_longer(
    own: project.Project,
) -> None:
    used = material.gather(own, production(recent=10, held_back=0))
    # 40 rows and 10 repeated 4 times: 50 distinct rows as 80, so 12 passes become 7.5, rounded.
    assert used.training.rows == 80
    assert used.passes(12) == 8
    assert used.passes(1) == 1
    assert material.gather(own).passes(12) == 12
