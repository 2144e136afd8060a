from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coppice import errors, settings
from coppice_cli import searching


def tree(**tables: Any) -> settings.Settings:
    return settings.Settings(
        root=Path(), project=settings.ProjectSettings(name="m", task="multiclass"), **tables
    )


def ways(pack: settings.PackSettings, **asked: Any) -> list[str]:
    found = searching.wish_of(searching.Asked(**asked), tree(pack=pack))
    return [way.name for way in found.terms.ways]


def test_a_plain_graph_is_all_that_is_timed_unless_more_may_serve() -> None:
    assert ways(settings.PackSettings()) == ["onnxruntime fp32"]


def test_an_int8_graph_is_timed_where_it_may_serve() -> None:
    assert ways(settings.PackSettings(precision="int8")) == ["onnxruntime fp32", "onnxruntime int8"]


def test_every_engine_that_may_serve_is_timed_the_first_one_plainly_first() -> None:
    pack = settings.PackSettings(precision="auto", engines=("onnxruntime", "openvino"))
    assert ways(pack) == [
        "onnxruntime fp32",
        "openvino fp32",
        "openvino bf16",
        "onnxruntime int8",
        "openvino int8",
    ]


@pytest.mark.parametrize("target", ["size", "memory", "macs"])
def test_other_targets_look_at_the_plain_graph(target: str) -> None:
    assert ways(settings.PackSettings(precision="int8"), target=target) == ["onnxruntime fp32"]


def test_another_way_has_to_gain_as_much_as_when_a_version_is_packed() -> None:
    found = searching.wish_of(
        searching.Asked(), tree(pack=settings.PackSettings(precision="int8", min_gain=1.5))
    )
    assert found.terms.min_gain == 1.5


def test_blocks_may_go_unless_the_settings_or_the_words_forbid_it() -> None:
    forbidden = tree(search=settings.SearchSettings(blocks=False))
    assert searching.wish_of(searching.Asked(), tree()).leave_out
    assert not searching.wish_of(searching.Asked(), forbidden).leave_out
    assert not searching.wish_of(searching.Asked(blocks=False), tree()).leave_out
    assert searching.wish_of(searching.Asked(blocks=True), forbidden).leave_out


def test_a_cost_that_dense_has_is_refused() -> None:
    with pytest.raises(errors.SettingsError, match="must be above 1"):
        searching.wish_of(searching.Asked(at_least=1.0), tree())
