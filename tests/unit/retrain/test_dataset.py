from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coppice import project, records, settings
from coppice.eventlog.memory import MemoryLog
from retrain import dataset

REFERENCE = project.Data(
    train=project.Split(inputs={"x": np.zeros((4, 2), np.float32)}, targets=np.arange(4) % 2),
    validation=project.Split(inputs={"x": np.zeros((1, 2), np.float32)}, targets=np.zeros(1, int)),
    holdout=project.Split(inputs={"x": np.zeros((1, 2), np.float32)}, targets=np.zeros(1, int)),
    classes=("no", "yes"),
)
TREE = settings.Settings(project=settings.ProjectSettings(name="m", task="binary"))


def prediction(
    request_id: str, value: float, rows: int = 1, **fields: object
) -> records.Prediction:
    whole: dict[str, object] = {
        "inputs": {"x": records.Tensor.of(np.full((rows, 2), value, np.float32))},
        "slices": {"pen": "ink"},
    } | fields
    return records.Prediction(
        request_id=request_id,
        model="m",
        version="m:1",
        lane="stable",
        propensity=1.0,
        key_hash="",
        latency_seconds=0.0,
        **whole,  # type: ignore[arg-type]
    )


def feedback(request_id: str, *values: records.Label, **fields: object) -> records.Feedback:
    return records.Feedback(
        request_id=request_id,
        model="m",
        labels=values,
        labelled_at=0.0,
        **fields,  # type: ignore[arg-type]
    )


def log_of(*predictions: records.Prediction) -> MemoryLog:
    log = MemoryLog()
    log.append([records.seal(p, source="test", now=float(at)) for at, p in enumerate(predictions)])
    return log


def collect(log: MemoryLog, *labelled: records.Feedback) -> dataset.Production:
    return dataset.collect(log, labelled, REFERENCE, TREE)


def whole(production: dataset.Production) -> project.Split:
    return dataset.concatenate([production.older, production.recent, production.held_back])


def test_a_label_is_joined_with_the_inputs_of_its_request() -> None:
    found = whole(collect(log_of(prediction("a", 7.0)), feedback("a", "yes")))
    assert found.inputs["x"].tolist() == [[7.0, 7.0]]
    assert found.targets.tolist() == [1]
    assert found.slices["pen"].tolist() == ["ink"]
    assert found.targets.dtype == REFERENCE.train.targets.dtype


def test_a_request_of_several_rows_gives_each_of_them() -> None:
    found = whole(collect(log_of(prediction("a", 1.0, rows=3)), feedback("a", 0, 1, 1)))
    assert found.targets.tolist() == [0, 1, 1]
    assert found.slices["pen"].tolist() == ["ink"] * 3


def test_rows_come_in_the_order_in_which_they_were_asked() -> None:
    log = log_of(*(prediction(f"r{at}", float(at)) for at in range(20)))
    found = collect(log, *(feedback(f"r{at}", 0) for at in reversed(range(20))))
    seen = found.recent.inputs["x"][:, 0].tolist()
    assert seen == sorted(seen)
    assert found.rows == 20


@pytest.mark.parametrize(
    ("made", "labelled", "reason"),
    [
        (prediction("b", 0.0), feedback("a", 1), "the prediction is not in the log"),
        (prediction("a", 0.0, error="timeout"), feedback("a", 1), "the request failed"),
        (prediction("a", 0.0, inputs={}), feedback("a", 1), "an input was not stored"),
        (
            prediction("a", 0.0, inputs={"x": records.Tensor.of(np.zeros((1, 3), np.float32))}),
            feedback("a", 1),
            "an input does not fit the model",
        ),
        (
            prediction("a", 0.0, inputs={"x": records.Tensor.of(np.zeros((1, 2), np.float64))}),
            feedback("a", 1),
            "an input does not fit the model",
        ),
        (prediction("a", 0.0), feedback("a", "perhaps"), "a label does not fit the model"),
        (prediction("a", 0.0, rows=2), feedback("a", 1), "there is not one label per row"),
    ],
)
def test_what_cannot_be_learned_from_is_left_out_and_counted(
    made: records.Prediction, labelled: records.Feedback, reason: str
) -> None:
    found = collect(log_of(made), labelled)
    assert found.rows == 0
    assert found.skipped == {reason: 1}


def test_the_prediction_of_another_model_is_not_joined() -> None:
    other = records.Feedback(request_id="a", model="other", labels=(1,), labelled_at=0.0)
    assert collect(log_of(prediction("a", 0.0)), other).rows == 0


def test_an_event_that_does_not_decode_is_left_out_and_counted() -> None:
    log = MemoryLog()
    good = records.seal(prediction("a", 0.0), source="test", now=0.0)
    log.append([records.Event(good.id, good.type, "test", 0.0, "a", "m", b"\xc1")])
    assert collect(log, feedback("a", 1)).skipped == {"the prediction does not decode": 1}


def test_label_sources_are_counted_by_row() -> None:
    log = log_of(prediction("a", 0.0, rows=2), prediction("b", 0.0))
    found = collect(log, feedback("a", 0, 1, source="human"), feedback("b", 0))
    assert found.sources == {"human": 2, "system": 1}


def test_rows_are_counted_by_how_they_were_labelled() -> None:
    log = log_of(answered(0, rightly=True), answered(1, rightly=False), prediction("r2", 2.0))
    seen = {"source": "human", "saw_prediction": True, "annotator_hash": "ada"}
    found = collect(log, *(feedback(f"r{at}", 0, **seen) for at in range(3)))
    assert {group.key[1:] for group in found.labellings} == {("human", True, "ada")}
    # Of three rows two have a stored answer, and one of these is the label.
    assert sum(group.rows for group in found.labellings) == 3
    assert sum(group.answered for group in found.labellings) == 2
    assert sum(group.agreed for group in found.labellings) == 1


def test_labels_that_nobody_was_helped_with_are_independent() -> None:
    log = log_of(*(prediction(f"r{at}", 0.0) for at in range(8)))
    blind = collect(log, *(feedback(f"r{at}", 0) for at in range(8)))
    shown = collect(log, *(feedback(f"r{at}", 0, saw_prediction=True) for at in range(8)))
    assert (blind.independent_share, shown.independent_share) == (1.0, 0.0)
    assert collect(log).independent_share is None


def test_the_labelled_time_and_the_versions_that_answered_are_kept() -> None:
    log = log_of(prediction("a", 0.0, rows=2), prediction("b", 0.0), prediction("c", 0.0))
    found = collect(log, feedback("a", 0, 1), feedback("b", 0))
    # The predictions were made at the seconds 0, 1 and 2; the third has no label.
    assert found.span == (0.0, 1.0)
    assert found.versions == {"m:1": 3}
    assert collect(log).span is None


def test_the_held_back_share_is_near_the_one_asked_for() -> None:
    log = log_of(*(prediction(f"r{at}", 0.0) for at in range(400)))
    found = collect(log, *(feedback(f"r{at}", 0) for at in range(400)))
    # 400 requests at 0.25: 100 with standard deviation sqrt(400 * 0.25 * 0.75) = 8.7; four of them.
    assert 65 <= found.held_back.rows <= 135


def test_a_request_never_changes_sides_as_more_arrive() -> None:
    log = log_of(*(prediction(f"r{at}", float(at)) for at in range(60)))
    first = collect(log, *(feedback(f"r{at}", 0) for at in range(30)))
    later = collect(log, *(feedback(f"r{at}", 0) for at in range(60)))
    held_first, held_later = (
        set(found.held_back.inputs["x"][:, 0].tolist()) for found in (first, later)
    )
    trained_later = set(later.recent.inputs["x"][:, 0].tolist())
    assert held_first <= held_later
    assert not held_first & trained_later


def test_a_family_that_a_request_lacks_has_no_value_there() -> None:
    log = log_of(prediction("a", 0.0, slices={"pen": "ink"}), prediction("b", 0.0, slices={}))
    found = whole(collect(log, feedback("a", 0), feedback("b", 0)))
    assert sorted(found.slices["pen"].tolist()) == ["", "ink"]


def test_the_oldest_labels_are_forgotten_first() -> None:
    kept = dataset.LabelledRequests(limit=4)
    for found in (feedback("a", 0, 0), feedback("b", 0, 0), feedback("c", 0)):
        kept.add(found)
    assert [found.request_id for found in kept] == ["b", "c"]
    assert kept.rows == 3


def test_the_newest_request_is_kept_even_where_it_alone_is_too_many() -> None:
    kept = dataset.LabelledRequests(limit=1)
    kept.add(feedback("a", 0, 0, 0))
    assert kept.rows == 3


def test_the_first_label_of_a_request_stands() -> None:
    kept = dataset.LabelledRequests(limit=10)
    kept.add(feedback("a", 0))
    kept.add(feedback("a", 1))
    assert [found.labels for found in kept] == [(0,)]


def ones(rows: int) -> project.Split:
    return project.Split(
        inputs={"x": np.ones((rows, 2), np.float32)}, targets=np.ones(rows, np.int64)
    )


def fresh(*, older: int = 0, recent: int = 0) -> dataset.Production:
    return dataset.Production(older=ones(older), recent=ones(recent), held_back=ones(0))


def test_recent_rows_are_repeated_until_they_weigh_as_much_as_the_rest() -> None:
    both = dataset.combine(REFERENCE.train, fresh(older=2, recent=3))
    # 4 reference rows and 2 older ones, then the 3 recent ones twice.
    assert both.inputs["x"][:, 0].tolist() == [0.0] * 4 + [1.0] * 2 + [1.0] * 6


def test_recent_rows_are_repeated_ten_times_at_most() -> None:
    assert dataset.combine(ones(100), fresh(recent=2)).rows == 100 + 10 * 2


def test_many_recent_rows_are_never_thinned() -> None:
    assert dataset.combine(REFERENCE.train, fresh(recent=9)).rows == 13


def test_without_production_rows_the_reference_is_left_as_it_is() -> None:
    nothing = collect(log_of())
    assert dataset.combine(REFERENCE.train, nothing).targets.tolist() == [0, 1, 0, 1]


def test_only_recent_rows_judge_and_only_those_are_repeated() -> None:
    log = log_of(*(prediction(f"r{at}", float(at)) for at in range(600)))
    found = collect(log, *(feedback(f"r{at}", 0) for at in range(600)))
    # decay.window is 400: the rows 200 to 599 are the recent ones.
    assert found.held_back.inputs["x"][:, 0].min() >= 200.0
    assert found.recent.inputs["x"][:, 0].min() >= 200.0
    assert found.older.inputs["x"][:, 0].max() < 200.0
    assert found.recent.rows + found.held_back.rows == 400


def answered(at: int, *, rightly: bool) -> records.Prediction:
    said = np.array([[1.0, 0.0] if rightly else [0.0, 1.0]], np.float32)
    return prediction(f"r{at}", float(at), outputs={"scores": records.Tensor.of(said)})


def test_rows_from_before_the_scores_fell_are_not_recent() -> None:
    log = log_of(*(answered(at, rightly=at < 350) for at in range(600)))
    found = collect(log, *(feedback(f"r{at}", 0) for at in range(600)))
    # Inside the window (rows 200 to 599) the scores fall at row 350.
    assert found.recent.rows + found.held_back.rows == 250
    assert found.recent.inputs["x"][:, 0].min() >= 350.0
    assert found.older.inputs["x"][:, 0].max() < 350.0


def test_a_fall_a_moment_ago_still_leaves_the_least_number_of_labels() -> None:
    log = log_of(*(answered(at, rightly=at < 590) for at in range(600)))
    found = collect(log, *(feedback(f"r{at}", 0) for at in range(600)))
    # retrain.min_labels is 200.
    assert found.recent.rows + found.held_back.rows == 200


def test_scores_that_never_fell_make_the_whole_window_recent() -> None:
    log = log_of(*(answered(at, rightly=True) for at in range(600)))
    found = collect(log, *(feedback(f"r{at}", 0) for at in range(600)))
    assert found.recent.rows + found.held_back.rows == 400


def test_everything_can_be_read_from_the_log_alone() -> None:
    log = log_of(prediction("a", 1.0), prediction("b", 2.0))
    other = records.Feedback(request_id="b", model="other", labels=(1,), labelled_at=0.0)
    log.append([records.seal(f, source="t", now=9.0) for f in (feedback("a", 1), other)])
    good = records.seal(feedback("b", 1), source="t", now=9.0)
    log.append([records.Event("broken", good.type, "t", 9.0, "b", "m", b"\xc1")])
    found = whole(dataset.from_log(log, REFERENCE, TREE))
    assert found.inputs["x"][:, 0].tolist() == [1.0]


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=30))
def test_every_labelled_row_has_one_place_and_no_request_is_on_both_sides(
    sizes: list[int],
) -> None:
    log = log_of(*(prediction(f"r{at}", float(at), rows=n) for at, n in enumerate(sizes)))
    found = collect(log, *(feedback(f"r{at}", *[0] * n) for at, n in enumerate(sizes)))
    learned = set(found.recent.inputs["x"][:, 0].tolist())
    judged = set(found.held_back.inputs["x"][:, 0].tolist())
    # Fewer rows than a window, so all are recent.
    assert found.older.rows == 0
    assert found.rows == sum(sizes)
    assert not learned & judged


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 3)), max_size=30))
def test_the_count_of_kept_rows_is_always_right(arrivals: list[tuple[str, int]]) -> None:
    kept = dataset.LabelledRequests(limit=6)
    for request_id, rows in arrivals:
        kept.add(feedback(request_id, *[0] * rows))
    assert kept.rows == sum(len(found.labels) for found in kept)
    assert kept.rows <= 6


def test_another_key_divides_requests_another_way() -> None:
    sides = [
        [dataset.is_held_back(key, f"r{at}", 0.5) for at in range(64)] for key in ("one", "two")
    ]
    assert sides[0] != sides[1]


def test_splits_are_put_together_with_the_families_of_both() -> None:
    first = project.Split(
        inputs={"x": np.zeros(1)}, targets=np.zeros(1, np.int32), slices={"pen": np.array(["ink"])}
    )
    second = project.Split(
        inputs={"x": np.ones(1)}, targets=np.ones(1, np.int64), slices={"site": np.array(["north"])}
    )
    both = dataset.concatenate([first, second])
    assert both.targets.dtype == np.int32
    assert both.slices["pen"].tolist() == ["ink", ""]
    assert both.slices["site"].tolist() == ["", "north"]
