from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import ArrayLike

from coppice import project
from coppice.labels import Floats
from retrain.evaluate import domain
from tests.support import subjects


def seen(values: ArrayLike, kind: str = "float32") -> dict[str, domain.Terrain]:
    array = np.asarray(values, dtype=kind)
    return domain.survey(project.Split(inputs={"x": array}, targets=np.zeros(len(array), int)))


def test_a_pictures_unit_is_the_range_of_each_channel() -> None:
    pictures = np.zeros((2, 2, 1, 2))
    pictures[0, 0, 0, 0] = 4.0
    pictures[1, 1, 0, 1] = -1.0
    found = seen(pictures)["x"]
    assert found.kind == "picture"
    assert found.unit.flatten().tolist() == [4.0, 1.0]
    assert found.low.flatten().tolist() == [0.0, -1.0]
    assert found.high.flatten().tolist() == [4.0, 0.0]


def test_a_tables_unit_is_the_standard_deviation_of_each_column() -> None:
    found = seen([[0.0, 0.5], [2.5, 0.5], [5.0, 0.5]])["x"]
    assert found.kind == "table"
    # Deviations -2.5, 0, 2.5: the root of 12.5 / 3. The second column is constant.
    assert torch.allclose(found.unit, torch.tensor([(12.5 / 3) ** 0.5, 0.0]))


def test_a_series_has_its_columns_last() -> None:
    series = np.random.default_rng(0).normal(size=(20, 7, 3))
    found = seen(series)["x"]
    assert found.kind == "table"
    assert found.unit.shape == (3,)


def test_a_row_of_one_number_is_a_table_of_one_column() -> None:
    found = seen([0.5, 1.5, 2.5])["x"]
    assert found.unit.shape == ()
    assert found.typical == 1.5


def test_a_column_of_few_whole_numbers_is_a_code_and_stays() -> None:
    found = seen([[0.0, 0.5], [1.0, 1.0], [1.0, 2.0]])["x"]
    assert found.unit[0] == 0.0
    assert found.unit[1] > 0.0


def test_a_column_of_many_whole_numbers_is_no_code() -> None:
    found = seen(np.arange(22.0).reshape(11, 2))["x"]
    assert (found.unit > 0).all()


def test_what_stands_in_for_a_missing_code_is_one_that_occurs() -> None:
    # The plain median of 0, 0, 1, 1 would be a half.
    assert seen([[0.0, 0.1], [0.0, 0.2], [1.0, 0.3], [1.0, 0.4]])["x"].typical[0] == 0.0


def test_whole_numbers_and_inputs_without_spread_are_left_out() -> None:
    assert seen([[1, 2], [3, 4]], kind="int64") == {}
    assert seen([[1.0, 0.0], [1.0, 1.0]]) == {}


def test_a_box_ends_where_training_ends() -> None:
    found = seen([[0.0], [0.5], [1.0]])
    low, high = domain.box(domain.stretched(found, {"table": 1.0})["x"], torch.tensor([[0.9]]))
    # The deviation is the root of 1/6, 0.41: up it would leave what training has seen.
    assert torch.allclose(low, torch.tensor([[0.9 - (1 / 6) ** 0.5]]))
    assert high.tolist() == [[1.0]]


def test_a_row_beyond_training_may_stay_where_it_is() -> None:
    low, high = domain.box(seen([[0.0], [0.5], [1.0]])["x"], torch.tensor([[3.0]]))
    assert low < 3.0
    assert high.tolist() == [[3.0]]


def test_a_budget_stretches_the_unit_of_its_kind_alone() -> None:
    land = seen([[0.0], [0.5], [1.0]])
    assert domain.stretched(land, {"picture": 0.1}) == {}
    doubled = domain.stretched(land, {"table": 2.0})["x"]
    assert torch.equal(doubled.unit, 2.0 * land["x"].unit)


def test_scans_and_tumours_are_told_apart() -> None:
    scans, tumours = subjects.scans().training, subjects.tumours().training
    assert domain.kinds(domain.survey(scans)) == {"picture"}
    assert domain.kinds(domain.survey(tumours)) == {"table"}


TABLES = arrays.arrays(
    np.float64,
    st.tuples(st.integers(2, 8), st.integers(1, 4)),
    elements=st.floats(-1e3, 1e3, width=32),
)


@given(TABLES, st.floats(0.01, 10.0))
def test_every_row_of_training_lies_in_its_own_box(values: Floats, budget: float) -> None:
    land = domain.stretched(seen(values), {"table": budget})
    rows = torch.as_tensor(values, dtype=torch.float32)
    for terrain in land.values():
        low, high = domain.box(terrain, rows)
        assert (low <= rows).all()
        assert (rows <= high).all()
        assert (low >= terrain.low).all()
        assert (high <= terrain.high).all()


@given(TABLES)
def test_what_stands_in_for_a_missing_value_is_always_one_that_occurs(values: Floats) -> None:
    rows = torch.as_tensor(values, dtype=torch.float32)
    for terrain in seen(values).values():
        assert (rows == terrain.typical).any(dim=0).all()


@given(TABLES)
def test_columns_without_spread_have_no_unit(values: Floats) -> None:
    still = values.copy()
    still[:, 0] = still[0, 0]
    for terrain in seen(still).values():
        assert terrain.unit[0] == 0.0
