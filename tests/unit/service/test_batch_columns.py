from __future__ import annotations

import pytest

from coppice import artifact, errors
from service import batch_columns


def manifest(*specs: artifact.TensorSpec) -> artifact.Manifest:
    return artifact.Manifest(
        name="m", task="regression", inputs=specs, accepted=1.0, accepted_rows=1, created_at=0.0
    )


PAIR = manifest(artifact.TensorSpec("x", "float32", (2,)))
NAMES = ["id", "p10", "p2", "age", "p1"]


class TestReadColumns:
    def test_columns_are_taken_in_the_order_in_which_they_are_named(self) -> None:
        assert batch_columns.read_columns(["x=p2,age"], NAMES) == {"x": ["p2", "age"]}

    def test_a_star_stands_for_all_that_begin_so_in_the_order_of_the_file(self) -> None:
        assert batch_columns.read_columns(["x=age,p*"], NAMES) == {"x": ["age", "p10", "p2", "p1"]}

    def test_a_column_whose_name_ends_in_a_star_is_itself(self) -> None:
        assert batch_columns.read_columns(["x=p*"], ["p1", "p*"]) == {"x": ["p*"]}

    def test_spaces_around_names_are_dropped(self) -> None:
        assert batch_columns.read_columns([" x = p1 , p2 "], NAMES) == {"x": ["p1", "p2"]}

    def test_each_option_is_an_input_of_its_own(self) -> None:
        found = batch_columns.read_columns(["x=p1", "y=p2"], NAMES)
        assert found == {"x": ["p1"], "y": ["p2"]}

    @pytest.mark.parametrize("text", ["x", "x=", "=p1", ""])
    def test_what_is_no_mapping_is_refused_with_the_form(self, text: str) -> None:
        with pytest.raises(errors.InputError, match="write INPUT=COLUMN,COLUMN"):
            batch_columns.read_columns([text], NAMES)

    @pytest.mark.parametrize("text", ["x=nope", "x=p1,nope", "x=q*", "x=p1,"])
    def test_a_column_that_the_file_lacks_is_named(self, text: str) -> None:
        with pytest.raises(errors.InputError, match="the file has no column"):
            batch_columns.read_columns([text], NAMES)


class TestIdName:
    def test_the_column_asked_for_is_taken_even_if_an_input_is_made_of_it(self) -> None:
        assert batch_columns.id_name("age", NAMES, ["age"]) == "age"

    def test_a_column_asked_for_must_be_there(self) -> None:
        with pytest.raises(errors.InputError, match="no column 'customer'"):
            batch_columns.id_name("customer", NAMES, [])

    @pytest.mark.parametrize(("names", "used"), [(["id", "x"], ["id"]), (["x"], [])])
    def test_unasked_there_are_no_ids_where_that_column_is_an_input_or_missing(
        self, names: list[str], used: list[str]
    ) -> None:
        assert batch_columns.id_name(None, names, used) is None


class TestResolve:
    @pytest.mark.parametrize("names", [["x[1]", "x[0]", "y"], ["x_1", "y", "x_0"]])
    def test_numbered_columns_are_taken_by_number_and_not_by_place(self, names: list[str]) -> None:
        (found,) = batch_columns.resolve(PAIR, names, {}).values()
        assert [name.strip("x[]_") for name in found] == ["0", "1"]

    def test_a_column_of_the_inputs_own_name_goes_before_numbered_ones(self) -> None:
        assert batch_columns.resolve(PAIR, ["x_0", "x_1", "x"], {}) == {"x": ["x"]}

    def test_what_is_named_goes_before_all(self) -> None:
        found = batch_columns.resolve(PAIR, ["x", "a", "b"], {"x": ["b", "a"]})
        assert found == {"x": ["b", "a"]}

    def test_one_column_for_many_numbers_is_a_column_of_lists(self) -> None:
        assert batch_columns.resolve(PAIR, ["a"], {"x": ["a"]}) == {"x": ["a"]}

    def test_another_number_of_columns_than_the_input_takes_is_refused(self) -> None:
        with pytest.raises(errors.InputError, match=r"3 columns for input 'x', which takes 2"):
            batch_columns.resolve(PAIR, ["a", "b", "c"], {"x": ["a", "b", "c"]})

    def test_a_gap_in_numbered_columns_is_named(self) -> None:
        with pytest.raises(errors.InputError, match=r"no column 'x\[1\]'"):
            batch_columns.resolve(PAIR, ["x[0]", "x[2]"], {})

    def test_an_input_without_columns_says_how_to_name_them_and_what_there_is(self) -> None:
        with pytest.raises(errors.InputError, match=r"--columns x=COLUMN.*has 'a', 'b'"):
            batch_columns.resolve(PAIR, ["a", "b"], {})

    def test_of_many_columns_eight_are_shown_and_all_are_counted(self) -> None:
        names = [f"c{number}" for number in range(20)]
        with pytest.raises(errors.InputError, match=r"'c7', ... \(20\)"):
            batch_columns.resolve(PAIR, names, {})

    def test_each_input_has_its_own(self) -> None:
        both = manifest(*PAIR.inputs, artifact.TensorSpec("y", "int64", ()))
        found = batch_columns.resolve(both, ["y", "x_0", "x_1"], {})
        assert found == {"x": ["x_0", "x_1"], "y": ["y"]}
