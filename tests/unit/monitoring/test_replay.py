from __future__ import annotations

import numpy as np
import pytest

from coppice import records, settings, testing
from monitoring import replay, versions, windows
from tests.support import artifacts, traffic


@pytest.fixture
def log():
    return testing.MemoryLog()


@pytest.fixture
def registry(tmp_path):
    return testing.MemoryRegistry(tmp_path / "registry")


@pytest.fixture
def replays(log, registry, tmp_path):
    tree = settings.Settings(root=tmp_path, project={"name": "tiny", "task": "binary"})
    return replay.Replay(log, versions.Versions(registry, tree))


@pytest.fixture
def faithful(registry, tmp_path):
    """Says yes where the inputs' sum is positive."""
    artifacts.linear_classifier(tmp_path / "faithful")
    return registry.add(tmp_path / "faithful")


def store(log, request_id, *rows, **fields):
    inputs = {"x": records.Tensor.of(np.array(rows, dtype=np.float32))}
    record = traffic.prediction(request_id, "tiny:served", [1], **{"inputs": inputs, **fields})
    log.append([records.seal(record, source="test", now=0.0)])


def row(request_id, number=0, target=1.0, score=1.0):
    return windows.LabelledRow(request_id, number, target, score, ())


POSITIVE, NEGATIVE = (1, 1, 1, 1), (-1, -1, -1, -1)


def test_each_row_is_answered_anew_and_scored_against_its_label(log, replays, faithful):
    store(log, "a", POSITIVE, NEGATIVE)
    store(log, "b", POSITIVE)
    window = [row("a", 0, 1.0), row("a", 1, 1.0), row("b", 0, 0.0)]
    found = replays.run(window, [faithful])
    assert found.others[faithful].tolist() == [1.0, 0.0, 0.0]


def test_the_champions_scores_are_those_of_the_answers_that_clients_got(log, replays, faithful):
    store(log, "a", POSITIVE)
    assert replays.run([row("a", score=0.25)], [faithful]).champion.tolist() == [0.25]


def test_rows_whose_inputs_are_not_in_the_log_are_left_out_and_counted(log, replays, faithful):
    store(log, "dropped", POSITIVE, inputs={})
    store(log, "kept", NEGATIVE)
    found = replays.run([row("dropped"), row("never seen"), row("kept")], [faithful])
    assert (found.others[faithful].tolist(), found.champion.tolist()) == ([0.0], [1.0])
    assert found.missing == 2


def test_more_rows_than_one_batch_are_answered_in_order(log, replays, faithful):
    count = replay.BATCH_ROWS + 10
    signs = [1 if number % 3 else -1 for number in range(count)]
    store(log, "many", *([sign] * 4 for sign in signs))
    found = replays.run([row("many", number) for number in range(count)], [faithful])
    assert found.others[faithful].tolist() == [float(sign > 0) for sign in signs]


def test_a_version_that_is_gone_has_no_scores_and_the_others_do(log, replays, faithful):
    store(log, "a", POSITIVE)
    found = replays.run([row("a")], ["tiny:000000000000", faithful])
    assert found.others["tiny:000000000000"].tolist() == []
    assert found.others[faithful].tolist() == [1.0]


def test_a_version_that_takes_other_inputs_has_no_scores(log, replays, registry, tmp_path):
    artifacts.linear_classifier(tmp_path / "wide", features_in=5)
    wide = registry.add(tmp_path / "wide")
    store(log, "a", POSITIVE)
    assert replays.run([row("a")], [wide]).others[wide].tolist() == []


def test_a_version_whose_input_has_another_name_has_no_scores(log, replays, faithful):
    tensor = records.Tensor.of(np.ones((1, 4), dtype=np.float32))
    store(log, "a", inputs={"y": tensor})
    assert replays.run([row("a")], [faithful]).others[faithful].tolist() == []


def test_an_altered_version_is_not_run(log, replays, registry, faithful):
    store(log, "a", POSITIVE)
    (registry.path(faithful) / "model.onnx").write_bytes(b"altered")
    assert replays.run([row("a")], [faithful]).others[faithful].tolist() == []


def test_of_a_repeated_request_the_first_answered_one_is_replayed(log, replays, faithful):
    store(log, "a", inputs={}, error="boom", outputs={})
    store(log, "a", POSITIVE)
    store(log, "a", NEGATIVE)
    assert replays.run([row("a")], [faithful]).others[faithful].tolist() == [1.0]


def test_a_regression_is_scored_by_its_distance(log, replays, registry, tmp_path):
    artifacts.linear_regressor(tmp_path / "line", scale=8.0)
    line = registry.add(tmp_path / "line")
    store(log, "a", POSITIVE)
    # The sum is 4, the truth 6, and an error of 8 is wholly wrong: 1 - 2 / 8.
    assert replays.run([row("a", target=6.0)], [line]).others[line].tolist() == [0.75]


def test_an_empty_window_gives_empty_scores(replays, faithful):
    found = replays.run([], [faithful])
    assert (found.champion.tolist(), found.others[faithful].tolist()) == ([], [])
