from __future__ import annotations

import numpy as np
import pytest

from retrain import labelling


def group(
    rows: int,
    *,
    part: labelling.Part = "learned from",
    source: str = "human",
    saw: bool = False,
) -> labelling.Labelling:
    return labelling.Labelling(key=labelling.Key(part, source, saw, ""), rows=rows)


def sighting(annotator: str, *scores: float, saw: bool = False) -> labelling.Sighting:
    key = labelling.Key("held back", "human", saw, annotator)
    return labelling.Sighting(key, len(scores), np.array(scores))


def test_rows_are_counted_by_who_labelled_them_and_what_they_saw() -> None:
    found = labelling.tally(
        [sighting("ada", 1.0, 1.0, saw=True), sighting("ada", 0.0), sighting("ada", 1.0, saw=True)]
    )
    counts = [(each.key.saw_prediction, each.rows, each.answered, each.agreed) for each in found]
    assert counts == [(False, 1, 1, 0), (True, 3, 3, 3)]


def test_rows_without_a_stored_answer_neither_agree_nor_differ() -> None:
    key = labelling.Key("unused", "system", False, "")
    found = labelling.tally([labelling.Sighting(key, 4, None)])
    assert (found[0].rows, found[0].answered, found[0].agreed) == (4, 0, 0)


def test_a_regression_agrees_within_a_hundredth_of_its_scale() -> None:
    found = labelling.tally([sighting("", 0.995, 0.98)])
    assert found[0].agreed == 1


def test_the_order_of_the_groups_does_not_depend_on_that_of_the_rows() -> None:
    first, second = sighting("ada", 1.0, saw=True), sighting("bob", 1.0)
    assert labelling.tally([first, second]) == labelling.tally([second, first])


@pytest.mark.parametrize(
    ("source", "saw", "independent"),
    [
        ("human", False, True),
        ("system", False, True),
        ("human", True, False),
        ("system", True, False),
        ("model-assisted", False, False),
    ],
)
def test_a_label_is_independent_where_no_model_had_a_say(
    source: str,
    *,
    saw: bool,
    independent: bool,
) -> None:
    assert group(1, source=source, saw=saw).independent is independent


def test_only_rows_that_are_learned_from_count_for_the_independent_share() -> None:
    groups = [group(6), group(2, saw=True), group(9, part="held back"), group(9, part="unused")]
    # 6 of the 6 + 2 rows that are learned from.
    assert labelling.independent_share(groups) == 0.75


def test_without_rows_to_learn_from_there_is_no_independent_share() -> None:
    assert labelling.independent_share([group(3, part="held back")]) is None
