from __future__ import annotations

import copy
import functools

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from coppice import project
from coppice.labels import Floats
from retrain.evaluate import evaluation, robustness, section
from tests.support import networks, subjects

BUDGETS = (0.02, 0.05, 0.1)


class Brittle(nn.Module):
    """A model that reads clean scans as before, and falls for the least grey on white paper."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits = self.model(pixels)
        grey = ((pixels * 16.0).round() / 16.0 - pixels).abs().amax(dim=(1, 2, 3)) > 1e-3
        return torch.where(grey[:, None], logits.roll(1, dims=1), logits)


@functools.cache
def found() -> section.Section:
    subject = subjects.with_inspect(
        subjects.scans(), picture_attacks=BUDGETS, attack_steps=4, section_gigamacs=3.0
    )
    return robustness.measure(subject)


def scores(name: str, of: section.Section | None = None) -> list[float]:
    """Return the candidate's scores under one attack, mildest first."""
    table = (of or found()).tables[0]
    place = table.columns.index("candidate")
    return [float(row[place] or 0) for row in table.rows if str(row[0]).startswith(name)]


def test_the_single_step_harms_more_as_the_budget_grows() -> None:
    clean, *attacked = scores("clean") + scores("FGSM")
    assert clean > attacked[0] > attacked[1] > attacked[2]


def test_many_steps_are_at_least_as_strong_as_one_at_every_budget() -> None:
    assert all(np.array(scores("PGD")) <= np.array(scores("FGSM")))
    assert scores("PGD") == sorted(scores("PGD"), reverse=True)


def test_every_model_meets_every_stress() -> None:
    table = found().tables[0]
    assert table.columns[1:4] == ("dense parent", "null control", "candidate")
    # Clean, two attacks of three budgets, five corruptions of two severities.
    assert len(table.rows) == 1 + 2 * 3 + 5 * 2
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_model_that_falls_for_the_least_noise_is_found() -> None:
    subject = subjects.with_inspect(
        subjects.scans(), picture_attacks=(0.01,), attack_steps=1, section_gigamacs=3.0
    )
    brittle = subjects.with_candidate(subject, Brittle(subject.models["parent"]))
    figures = robustness.measure(brittle).figures
    assert figures["clean_drop"].value == 0.0
    assert figures["worst_drop"].low is not None
    assert figures["worst_drop"].low > 0.5
    assert "Less robust" in robustness.measure(brittle).sentence


def test_a_model_that_is_its_own_parent_loses_exactly_nothing() -> None:
    subject = subjects.with_inspect(
        subjects.scans(), picture_attacks=(0.05,), attack_steps=2, section_gigamacs=1.0
    )
    same = subjects.with_candidate(subject, subject.models["parent"])
    measured = robustness.measure(same)
    drops = [
        row[measured.tables[0].columns.index("candidate's drop")] for row in measured.tables[0].rows
    ]
    assert set(drops) == {0.0}
    assert "No loss of robustness" in measured.sentence


def test_tables_meet_feature_noise_and_missing_values() -> None:
    measured = robustness.measure(subjects.with_inspect(subjects.tumours(), attack_steps=3))
    names = [str(row[0]) for row in measured.tables[0].rows]
    assert names == [
        "clean",
        "FGSM 0.1 deviations",
        "PGD 0.1 deviations",
        "FGSM 0.3 deviations",
        "PGD 0.3 deviations",
        "feature noise 0.1 deviations",
        "feature noise 0.5 deviations",
        "missing, imputed 0.1 of the values",
        "missing, imputed 0.3 of the values",
    ]
    assert scores("PGD", measured)[1] < scores("clean", measured)[0]


def test_a_regression_is_attacked_by_its_error() -> None:
    measured = robustness.measure(subjects.with_inspect(subjects.diabetes(), attack_steps=3))
    assert scores("PGD", measured)[1] < scores("FGSM", measured)[0] < scores("clean", measured)[0]


def test_pictures_beside_tables_are_moved_together() -> None:
    split = networks.pairs(80)
    data = project.Data(train=split, validation=split, holdout=split, classes=("no", "yes"))
    models: dict[evaluation.Column, nn.Module] = {
        "parent": networks.TwoInputs().eval(),
        "candidate": networks.TwoInputs().eval(),
    }
    subject = subjects.subject_of(data, models, networks.TwoInputs, task="binary")
    measured = robustness.measure(subjects.with_inspect(subject, attack_steps=1))
    names = [str(row[0]) for row in measured.tables[0].rows]
    assert "FGSM 0.01 of the range and 0.1 deviations" in names
    assert "blur 0.3 pixels" in names
    assert "feature noise 0.1 deviations" in names


def test_tokens_cannot_be_moved_a_little() -> None:
    split = networks.sequences(20)
    data = project.Data(train=split, validation=split, holdout=split, classes=("no", "yes"))
    subject = subjects.subject_of(data, {"parent": networks.Transformer()}, networks.Transformer)
    measured = robustness.measure(subject)
    assert measured.status == "not measured"
    assert "no input holds continuous numbers" in measured.sentence


def test_nothing_is_left_behind_in_the_models() -> None:
    subject = subjects.with_inspect(
        subjects.scans(), picture_attacks=(0.05,), attack_steps=1, section_gigamacs=0.5
    )
    before = {name: copy.deepcopy(model.state_dict()) for name, model in subject.models.items()}
    robustness.measure(subject)
    for name, model in subject.models.items():
        assert all(
            torch.equal(model.state_dict()[key], value) for key, value in before[name].items()
        )
        assert not any(part._forward_hooks for part in model.modules())
        assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_same_candidate_gets_the_same_figures() -> None:
    subject = subjects.with_inspect(
        subjects.scans(), picture_attacks=(0.05,), attack_steps=2, section_gigamacs=0.5
    )
    assert robustness.measure(subject) == robustness.measure(subject)


def stresses(
    *lost: int, rows: int = 200
) -> dict[robustness.Stress, dict[evaluation.Column, Floats]]:
    """Return stresses under which the candidate alone errs on so many rows."""
    return {robustness.CLEAN: {"parent": np.ones(rows), "candidate": np.ones(rows)}} | {
        robustness.Stress("noise", float(place), "steps"): {
            "parent": np.ones(rows),
            "candidate": (np.arange(rows) >= count).astype(np.float64),
        }
        for place, count in enumerate(lost)
    }


def test_the_worst_stress_is_the_one_whose_loss_is_surest() -> None:
    rules = evaluation.Rules(task="binary")
    stress, cost = robustness.worst(stresses(4, 30, 10), rules)
    assert stress.level == 1.0
    assert cost.drop == pytest.approx(0.15)


def test_the_worst_of_many_is_held_to_a_higher_standard_than_one_alone() -> None:
    rules = evaluation.Rules(task="binary")
    _, alone = robustness.worst(stresses(10), rules)
    _, among = robustness.worst(stresses(10, *[0] * 19), rules)
    assert among.drop == alone.drop
    assert among.low < alone.low


def test_the_section_travels_through_json() -> None:
    text = msgspec.json.encode(found())
    assert msgspec.json.decode(text, type=section.Section) == found()


def test_rows_follow_from_the_arithmetic_that_is_allowed() -> None:
    subject = subjects.with_inspect(subjects.tumours(), section_gigamacs=1e-6, attack_steps=1)
    assert robustness.measure(subject).figures["rows"].value == 64.0


def test_without_budgets_only_everyday_damage_is_done() -> None:
    subject = subjects.with_inspect(
        subjects.scans(), picture_attacks=(), table_attacks=(), section_gigamacs=0.1
    )
    measured = robustness.measure(subject)
    assert scores("FGSM", measured) == scores("PGD", measured) == []
    assert [chart.kind for chart in measured.charts] == ["bars"]
    assert "pgd_drop" not in measured.figures


def test_budgets_in_any_order_are_tried_mildest_first() -> None:
    subject = subjects.with_inspect(
        subjects.tumours(), table_attacks=(0.3, 0.1), attack_steps=1, section_gigamacs=1e-3
    )
    names = [str(row[0]) for row in robustness.measure(subject).tables[0].rows]
    assert names[1:4:2] == ["FGSM 0.1 deviations", "FGSM 0.3 deviations"]


def test_curves_start_at_the_clean_score_and_hold_every_budget() -> None:
    curve = found().charts[1]
    assert curve.title == "Score under PGD"
    levels = [level for level, _ in curve.series["candidate"]]
    assert levels == [0.0, *BUDGETS]
    assert [score for _, score in curve.series["candidate"]] == scores("clean") + scores("PGD")


def test_bars_show_what_candidate_and_null_control_lose_in_points() -> None:
    bars, table = found().charts[-1], found().tables[0]
    assert bars.labels[0] == "noise 0.05 of the range"
    assert list(bars.series) == ["null control", "candidate"]
    (row,) = [row for row in table.rows if row[0] == bars.labels[0]]
    drop = float(row[table.columns.index("candidate's drop")] or 0)
    assert bars.series["candidate"][0] == pytest.approx((0.0, 100 * drop))


def test_the_strongest_attack_stands_among_the_figures() -> None:
    figures = found().figures
    assert figures["pgd_score_candidate"].value == scores("PGD")[-1]
    assert figures["pgd_drop"].value == pytest.approx(
        figures["pgd_score_parent"].value - figures["pgd_score_candidate"].value
    )


def test_a_loss_is_the_parents_score_less_the_columns_row_by_row() -> None:
    columns: dict[evaluation.Column, Floats] = {
        "parent": np.array([1.0, 1.0, 0.0, 1.0]),
        "null": np.array([1.0, 1.0, 1.0, 1.0]),
        "candidate": np.array([0.0, 0.0, 1.0, 1.0]),
    }
    # Two lost and one gained of four; the null control gained one.
    assert robustness.cost(columns, "candidate", confidence=0.95, seed=0).drop == 0.25
    assert robustness.cost(columns, "null", confidence=0.95, seed=0).drop == -0.25


def test_a_harmless_candidate_is_rarely_held_to_have_lost_anything() -> None:
    random = np.random.default_rng(0)
    rules = evaluation.Rules(task="binary")
    false_alarms = 0
    for _ in range(100):
        under = {
            robustness.Stress("noise", float(place), "steps"): {
                "parent": (random.random(200) < 0.9).astype(np.float64),
                "candidate": (random.random(200) < 0.9).astype(np.float64),
            }
            for place in range(10)
        }
        false_alarms += robustness.worst(under, rules)[1].low > 0.0  # type: ignore[arg-type]
    # Two-sided 95% over all ten: at most 2.5 in a hundred, whose 99.9% quantile is 9.
    assert false_alarms <= 9


def test_a_stress_is_named_with_its_level_and_unit() -> None:
    assert str(robustness.CLEAN) == "clean"
    assert str(robustness.Stress("blur", 0.5, "pixels")) == "blur 0.5 pixels"
