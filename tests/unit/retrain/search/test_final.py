from __future__ import annotations

from pathlib import Path

from coppice import settings
from retrain import choosing, proving
from retrain.search import final, subject, terms
from tests.support import searching


def wish(folder: Path, precision: str) -> choosing.Wish:
    own = searching.own_of(folder, searching.build_deep)
    rules = proving.rules(own, ("no", "yes"))
    section = settings.PackSettings.model_validate({"precision": precision, "min_gain": 100.0})
    return choosing.Wish(section=section, rules=rules)


def test_what_was_chosen_is_measured_as_it_would_be_packed(tmp_path: Path) -> None:
    of = searching.subject_of(tmp_path)
    model = of.structure(subject.Shape(2, {"0": 8})).model
    found = final.measure(of, terms.Terms(), wish(tmp_path, "int8"), model)
    # int8 was tried, and no graph gains a hundred times by it.
    assert [way.name for way in found.packing.tried] == ["onnxruntime fp32", "onnxruntime int8"]
    assert found.packing.taken.name == found.cost.way == "onnxruntime fp32"
    assert found.macs_ratio == 2240 / 48
    assert found.runtime.gain == found.cost.gain
    assert found.bytes > 0
