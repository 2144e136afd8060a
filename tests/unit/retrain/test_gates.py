from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coppice import settings
from retrain import gates
from retrain.evaluate import evaluation, latency, paired, section
from tests.support import cards

RULES = settings.GateSettings()


def comparison(lost: int, gained: int, rows: int) -> paired.Comparison:
    low, high = paired.tango(lost, gained, rows, confidence=0.95)
    return paired.Comparison(
        rows=rows,
        drop=(lost - gained) / rows,
        low=low,
        high=high,
        disagreement=(lost + gained) / rows,
        new_errors=lost / rows,
        fixed=gained / rows,
    )


def table(
    against: paired.Comparison,
    *,
    score: float = 0.9,
    champion: paired.Comparison | None = None,
    **slices: paired.Comparison,
) -> evaluation.Table:
    comparisons: dict[evaluation.Column, paired.Comparison] = {"null": against}
    return evaluation.Table(
        rows=against.rows,
        columns={"candidate": {"score": score}},
        yardstick="null",
        comparisons=comparisons | ({"champion": champion} if champion else {}),
        slices=slices,
    )


def failed(judged: evaluation.Evaluation, rules: settings.GateSettings = RULES) -> list[str]:
    return [result.name for result in gates.check(judged, rules) if not result.passed]


def test_a_harmless_candidate_passes_every_gate() -> None:
    holdout = table(comparison(2, 2, 400), pen=comparison(1, 1, 200))
    results = gates.check(evaluation.Evaluation(holdout=holdout), RULES)
    assert [result.name for result in results] == ["score", "slice pen", "min score"]
    assert gates.refusals(results) == ()


def test_a_drop_shown_to_exceed_what_is_allowed_is_refused() -> None:
    # 20 of 400 lost, 2 gained: 4.5 points, interval from 2.5 points, above the 1 point allowed.
    holdout = table(comparison(20, 2, 400))
    (sentence,) = gates.refusals(gates.check(evaluation.Evaluation(holdout=holdout), RULES))
    assert sentence.startswith("gate 'score': a drop of 4.50 points (between 2.")
    assert sentence.endswith("against the null control on the holdout exceeds the 1.00 allowed")


def test_a_drop_that_chance_may_explain_passes() -> None:
    # 8 of 400 lost, 2 gained: 1.5 points is above 1.0, but the interval begins below 0.
    holdout = table(comparison(8, 2, 400))
    assert failed(evaluation.Evaluation(holdout=holdout)) == []


def test_the_same_share_on_ten_times_the_rows_is_refused() -> None:
    # 2.25 points with 30 in 1000 differing: on 400 rows from 0.6 points, on 4000 from 1.7.
    assert failed(evaluation.Evaluation(holdout=table(comparison(11, 2, 400)))) == []
    assert failed(evaluation.Evaluation(holdout=table(comparison(110, 20, 4000)))) == ["score"]


def test_a_slice_that_pays_for_the_rest_is_refused_by_name() -> None:
    holdout = table(comparison(15, 15, 1000), ink=comparison(12, 0, 60))
    assert failed(evaluation.Evaluation(holdout=holdout)) == ["slice ink"]


def test_a_slice_with_few_rows_is_reported_but_not_gated() -> None:
    holdout = table(comparison(0, 0, 400), ink=comparison(29, 0, 29))
    assert failed(evaluation.Evaluation(holdout=holdout)) == []
    rules = settings.GateSettings(min_slice_rows=29)
    assert failed(evaluation.Evaluation(holdout=holdout), rules) == ["slice ink"]


def test_the_floor_is_strict_and_includes_its_own_value() -> None:
    holdout = table(comparison(0, 0, 400), score=0.9)
    judged = evaluation.Evaluation(holdout=holdout)
    assert failed(judged, settings.GateSettings(min_score=0.9)) == []
    assert failed(judged, settings.GateSettings(min_score=0.9001)) == ["min score"]


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        pytest.param([0.7] * 9, ["latency"], id="shown to be slower"),
        pytest.param([0.7] * 5 + [1.1] * 4, [], id="slower in most rounds, but not surely"),
        pytest.param([1.3] * 9, [], id="faster"),
    ],
)
def test_latency_is_refused_only_where_it_is_shown_to_miss(
    ratios: list[float], expected: list[str]
) -> None:
    timed = latency.summarise(ratios, [1.0] * len(ratios))
    judged = evaluation.Evaluation(holdout=table(comparison(0, 0, 400)), latency=timed)
    assert failed(judged) == expected


def test_in_production_the_candidate_must_not_be_shown_worse_than_the_champion() -> None:
    production = table(comparison(0, 0, 100), champion=comparison(9, 1, 100))
    judged = evaluation.Evaluation(holdout=table(comparison(0, 0, 400)), production=production)
    assert failed(judged) == ["production champion"]


def test_a_pruning_that_fails_in_production_cannot_pass_on_the_holdout() -> None:
    production = table(comparison(30, 0, 100), champion=comparison(0, 5, 100))
    judged = evaluation.Evaluation(holdout=table(comparison(0, 0, 400)), production=production)
    assert failed(judged) == ["production score"]


def test_without_a_champion_production_is_compared_with_the_yardstick_alone() -> None:
    judged = evaluation.Evaluation(
        holdout=table(comparison(0, 0, 400)), production=table(comparison(0, 0, 100))
    )
    names = [result.name for result in gates.check(judged, RULES)]
    assert names == ["score", "min score", "production score"]


def test_results_carry_figure_and_threshold_and_travel_through_json() -> None:
    (score, _) = gates.check(evaluation.Evaluation(holdout=table(comparison(20, 2, 400))), RULES)
    assert (score.figure, score.threshold) == (0.045, 0.01)
    assert msgspec.json.decode(msgspec.json.encode(score), type=gates.GateResult) == score


def test_a_candidate_exactly_at_the_threshold_is_refused_only_by_chance() -> None:
    generator = np.random.default_rng(1)
    # 1,000 holdouts of 400 rows with a true drop of 1 point: 3% lost, 2% gained.
    draws = generator.multinomial(400, [0.03, 0.02, 0.95], size=1000)
    refused = sum(
        "score" in failed(evaluation.Evaluation(holdout=table(comparison(lost, gained, 400))))
        for lost, gained, _ in draws
    )
    # One side of a 95% interval: 25 expected; the standard deviation is sqrt(25 * 0.975) = 4.9.
    assert refused <= 25 + 4 * 4.9


def test_a_candidate_that_loses_five_points_hardly_ever_passes() -> None:
    generator = np.random.default_rng(2)
    # 400 rows, 6% lost and 1% gained: 20 net of 28 differing, against 4 allowed.
    draws = generator.multinomial(400, [0.06, 0.01, 0.93], size=300)
    passed = sum(
        failed(evaluation.Evaluation(holdout=table(comparison(lost, gained, 400)))) == []
        for lost, gained, _ in draws
    )
    # The lower end is 5 - 1.96 * 1.3 = 2.4 points on average, 1.1 standard deviations above 1: 13%.
    assert passed <= 300 * 0.25


@given(lost=st.integers(0, 60), gained=st.integers(0, 60), more=st.integers(1, 20))
def test_losing_more_rows_never_turns_a_refusal_into_a_pass(
    lost: int, gained: int, more: int
) -> None:
    less_harm = failed(evaluation.Evaluation(holdout=table(comparison(lost, gained, 500))))
    more_harm = failed(evaluation.Evaluation(holdout=table(comparison(lost + more, gained, 500))))
    assert set(less_harm) <= set(more_harm)


@given(allowed=st.floats(0, 0.5), looser=st.floats(0, 0.5))
def test_a_looser_threshold_never_refuses_what_a_tighter_one_let_pass(
    allowed: float, looser: float
) -> None:
    judged = evaluation.Evaluation(holdout=table(comparison(30, 3, 400)))
    tight = settings.GateSettings(max_score_drop=min(allowed, looser))
    loose = settings.GateSettings(max_score_drop=max(allowed, looser))
    assert set(failed(judged, loose)) <= set(failed(judged, tight))


def one(name: str, figure: str, value: float, **ends: float) -> dict[str, section.Section]:
    found = section.Section(
        name=name,
        title=name,
        status="measured",
        sentence="",
        figures={figure: section.Figure(value=value, **ends)},
    )
    return {name: found}


def judged_section(
    sections: dict[str, section.Section], name: str, rules: settings.GateSettings = RULES
) -> gates.GateResult:
    (result,) = (each for each in gates.check_sections(sections, rules) if each.name == name)
    return result


@pytest.mark.parametrize("gate", gates.SECTION_GATES, ids=lambda gate: gate.name)
def test_every_gate_on_a_section_has_a_limit_and_a_section_that_exist(
    gate: gates.SectionGate,
) -> None:
    assert gate.limit in settings.GateSettings.model_fields
    assert gate.section in settings.InspectSettings().sections


def test_a_section_is_refused_only_where_the_figure_is_shown_to_exceed_the_limit() -> None:
    # 8 points of extra loss against 5 allowed: shown from 6 points on, not shown from 4.
    shown = one("robustness", "worst_drop", 0.08, low=0.06, high=0.1)
    unsure = one("robustness", "worst_drop", 0.08, low=0.04, high=0.12)
    assert judged_section(shown, "robustness").refused
    assert judged_section(unsure, "robustness").passed
    assert judged_section(shown, "robustness").sentence == (
        "gate 'robustness': the largest extra loss of score under attack or corruption is 8.00 "
        "points (between 6.00 points and 10.00 points), which exceeds the 5.00 points allowed"
    )


def test_a_figure_without_an_interval_is_judged_by_itself() -> None:
    assert judged_section(one("data", "leaked_share", 0.011), "leaked holdout").refused
    assert judged_section(one("data", "leaked_share", 0.01), "leaked holdout").passed


def test_too_few_independent_labels_are_refused() -> None:
    found = judged_section(one("labels", "independent_share", 0.05), "independent labels")
    assert found.refused
    assert found.sentence.endswith("is 5.00%, which misses the 20.00% required")
    assert judged_section(one("labels", "independent_share", 0.2), "independent labels").passed


def test_what_was_not_measured_has_neither_passed_nor_been_refused() -> None:
    results = gates.check_sections(cards.SECTIONS, RULES)
    assert gates.refusals(results) == ()
    assert gates.not_judged(results) == (
        "privacy",
        "fairness",
        "leaked holdout",
        "label issues",
        "independent labels",
    )
    fairness = judged_section(cards.SECTIONS, "fairness")
    assert (fairness.passed, fairness.refused, fairness.figure) == (False, False, None)
    assert fairness.sentence.endswith("was not judged (install coppice[audit])")


def test_a_section_without_the_figure_says_so() -> None:
    found = judged_section(one("labels", "issue_share", 0.0), "independent labels")
    assert found.sentence.endswith("was not judged (section 'labels' has no such figure here)")


def test_what_is_required_is_refused_when_it_was_not_measured() -> None:
    rules = settings.GateSettings(require=("privacy",))
    result = judged_section(cards.SECTIONS, "privacy", rules)
    assert result.refused
    assert "is required and was not measured" in result.sentence


def test_a_refusal_names_the_recipe_that_is_known_to_pass() -> None:
    results = gates.check(evaluation.Evaluation(holdout=table(comparison(20, 2, 400))), RULES)
    score, floor = gates.advise(results, "amount 0.3 passed (m:b)")
    assert score.nearest == "amount 0.3 passed (m:b)"
    assert floor.nearest == ""
    assert gates.refusals([score, floor])[0].endswith("1.00 allowed; amount 0.3 passed (m:b)")


def test_everything_together_is_scores_first_and_sections_after() -> None:
    judged = evaluation.Evaluation(holdout=table(comparison(0, 0, 400)))
    names = [result.name for result in gates.check_all(judged, {}, RULES)]
    assert names[:3] == ["score", "min score", "robustness"]
    assert len(names) == 2 + len(gates.SECTION_GATES)


@given(value=st.floats(0, 1), limit=st.floats(0, 1), looser=st.floats(0, 1))
def test_a_looser_limit_on_a_section_never_refuses_what_a_tighter_one_let_pass(
    value: float, limit: float, looser: float
) -> None:
    found = one("robustness", "worst_drop", value)
    tight = settings.GateSettings(max_robustness_drop=min(limit, looser))
    loose = settings.GateSettings(max_robustness_drop=max(limit, looser))
    assert judged_section(found, "robustness", loose).refused <= (
        judged_section(found, "robustness", tight).refused
    )
