from __future__ import annotations

import os

import msgspec
import pytest

from coppice import errors, records, testing
from coppice.settings import Settings
from monitoring import checkpoint, state


@pytest.fixture
def settings(tmp_path):
    return Settings(root=tmp_path, project={"name": "tiny"})


def written(settings, **changes):
    plain = checkpoint.Checkpoint(checkpoint.SCHEMA, "mark", "42", state.State.empty(settings))
    found = msgspec.structs.replace(plain, **changes)
    checkpoint.save(checkpoint.path(settings), found)
    return found


def test_what_was_saved_is_read_back(settings):
    saved = written(settings)
    assert checkpoint.load(checkpoint.path(settings), "mark") == saved


def test_without_a_file_there_is_no_checkpoint(settings):
    assert checkpoint.load(checkpoint.path(settings), "mark") is None


def test_a_checkpoint_of_another_log_or_other_settings_is_not_used(settings):
    written(settings)
    assert checkpoint.load(checkpoint.path(settings), "other") is None


def test_a_checkpoint_of_another_schema_is_not_used(settings):
    written(settings, schema=checkpoint.SCHEMA + 1)
    assert checkpoint.load(checkpoint.path(settings), "mark") is None


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95pickle", b"\xc1"])
def test_a_broken_checkpoint_is_not_used(settings, content):
    written(settings)
    checkpoint.path(settings).write_bytes(content)
    assert checkpoint.load(checkpoint.path(settings), "mark") is None


def test_a_checkpoint_replaces_the_one_before_and_leaves_no_other_file(settings):
    written(settings)
    written(settings, position="43")
    assert checkpoint.load(checkpoint.path(settings), "mark").position == "43"
    assert [each.name for each in checkpoint.path(settings).parent.iterdir()] == ["state.msgpack"]


def test_a_folder_that_cannot_be_made_is_reported_with_a_remedy(settings):
    settings.home.parent.mkdir(exist_ok=True)
    settings.home.write_text("a file stands in the way")
    with pytest.raises(errors.EnvironmentProblem, match="make room"):
        written(settings)


def test_a_failed_write_leaves_the_old_checkpoint_and_no_other_file(settings, monkeypatch):
    written(settings)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(errors.EnvironmentProblem):
        written(settings, position="43")
    monkeypatch.undo()
    assert checkpoint.load(checkpoint.path(settings), "mark").position == "42"
    assert len(list(checkpoint.path(settings).parent.iterdir())) == 1


def command():
    record = records.Command(model="tiny", action="pause", actor="ada")
    return records.seal(record, source="test", now=0.0)


def test_logs_are_told_apart_by_their_first_event(settings):
    first, second = testing.MemoryLog(), testing.MemoryLog()
    first.append([command()])
    second.append([command()])
    assert checkpoint.fingerprint(first, settings) != checkpoint.fingerprint(second, settings)
    mark = checkpoint.fingerprint(first, settings)
    first.append([command()])
    assert checkpoint.fingerprint(first, settings) == mark


@pytest.mark.parametrize(
    "section",
    [
        {"evidence": {"alpha": 0.01}},
        {"decay": {"tolerance": 0.02}},
        {"drift": {"window": 99}},
        {"monitor": {"join_limit": 1234}},
        {"serve": {"routing_key_secret": "another"}},
    ],
    ids=lambda section: next(iter(section)),
)
def test_settings_that_the_state_rests_on_change_the_fingerprint(settings, section):
    log = testing.MemoryLog()
    other = Settings(root=settings.root, project={"name": "tiny"}, **section)
    assert checkpoint.fingerprint(log, settings) != checkpoint.fingerprint(log, other)
