from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from coppice.settings import DriftSettings
from monitoring import drift
from monitoring.drift import Drift, DriftLook

ROWS, WINDOW, FEATURES = 300, 400, 6
NAMES = tuple(f"f{number}" for number in range(FEATURES))
SETTINGS = DriftSettings(window=WINDOW, false_alarm_rate=0.01)


def clean(seed: int, rows: int = WINDOW, features: int = FEATURES) -> np.ndarray:
    """Correlated features: normal, skewed, and one that takes a few values only."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, features)) + 0.5 * rng.normal(size=(rows, 1))
    values[:, 1] = np.exp(values[:, 1])
    values[:, 2] = np.round(values[:, 2])
    return values


def shifted(seed: int, by: float) -> np.ndarray:
    """A clean window of which one feature has moved, in units of its spread."""
    values = clean(seed)
    values[:, 3] += by * values[:, 3].std()
    return values


@pytest.fixture(scope="module")
def calibrated() -> Drift:
    return Drift.calibrate(clean(0, ROWS), NAMES, SETTINGS)


class TestLook:
    def test_a_clean_window_raises_no_alarm(self, calibrated: Drift) -> None:
        look = calibrated.look(clean(1))
        assert look.alarmed is False
        assert 0.0 <= look.ratio < 1.0
        assert look.worst == ()

    def test_a_shift_of_one_feature_alarms_and_is_named(self, calibrated: Drift) -> None:
        look = calibrated.look(shifted(1, by=1.0))
        assert look.alarmed is True
        assert look.worst == ("f3",)
        assert look.reason.startswith("1 of 6 features are past their drift threshold")

    def test_the_scores_are_evidentlys_own(self, calibrated: Drift) -> None:
        # Evidently's `ks` is scipy's two-sample test, of which it reports the p-value.
        window = clean(1)
        expected = {
            name: stats.ks_2samp(calibrated.reference[:, column], window[:, column]).pvalue
            for column, name in enumerate(NAMES)
        }
        assert calibrated.look(window).scores == pytest.approx(expected)

    def test_a_ratio_of_one_lies_exactly_at_the_threshold(self, calibrated: Drift) -> None:
        threshold = calibrated.thresholds[0]
        assert drift.ratio_of("ks", threshold, threshold) == pytest.approx(1.0)
        assert drift.ratio_of("ks", threshold**2, threshold) == pytest.approx(2.0)
        assert drift.ratio_of("psi", 0.3, 0.1) == pytest.approx(3.0)

    def test_a_p_value_that_underflows_is_far_past_the_threshold(self, calibrated: Drift) -> None:
        assert 10.0 < drift.ratio_of("ks", 0.0, calibrated.thresholds[0]) < math.inf

    def test_of_a_longer_window_the_last_rows_count(self, calibrated: Drift) -> None:
        longer = np.vstack([shifted(5, by=9.0), clean(1)])
        assert calibrated.look(longer) == calibrated.look(clean(1))


class TestNothingPassesSilently:
    def test_a_window_that_is_too_short_is_neither_clean_nor_drifting(
        self, calibrated: Drift
    ) -> None:
        look = calibrated.look(clean(1)[:120])
        assert look.alarmed is None
        assert look.ratio is None
        assert look.reason == "the window has 120 of the 400 rows that it takes"

    def test_an_empty_window_is_neither_clean_nor_drifting(self, calibrated: Drift) -> None:
        assert calibrated.look(np.empty((0, FEATURES))).alarmed is None

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_values_that_are_no_numbers_withhold_the_all_clear(
        self, calibrated: Drift, value: float
    ) -> None:
        window = clean(1)
        window[:3, 4] = value
        look = calibrated.look(window)
        assert look.alarmed is None
        assert look.unscored == {"f4": "3 of 400 values are NaN or infinite"}
        assert set(look.scores) == set(NAMES) - {"f4"}

    def test_they_do_not_hide_the_drift_of_another_feature(self, calibrated: Drift) -> None:
        window = shifted(1, by=1.0)
        window[0, 4] = math.nan
        assert calibrated.look(window).alarmed is True

    def test_a_broken_reference_withholds_the_all_clear_and_says_what_to_do(self) -> None:
        reference = clean(0, ROWS)
        reference[7, 2] = math.nan
        look = Drift.calibrate(reference, NAMES, SETTINGS).look(clean(1))
        assert look.alarmed is None
        assert "f2: the reference holds NaN or infinite values; pack the version" in look.reason

    def test_another_number_of_features_is_refused(self, calibrated: Drift) -> None:
        with pytest.raises(ValueError, match=r"need rows of 6 features; got \[400, 5\]"):
            calibrated.look(clean(1)[:, :5])

    @pytest.mark.parametrize("reference", [clean(0, 19), clean(0, ROWS)[:, :5], np.zeros(ROWS)])
    def test_a_reference_that_does_not_fit_is_refused(self, reference: np.ndarray) -> None:
        with pytest.raises(ValueError, match="need at least 20 rows of 6 features"):
            Drift.calibrate(reference, NAMES, SETTINGS)


class TestConstantFeatures:
    @pytest.mark.parametrize("method", ["ks", "psi"])
    def test_one_that_stays_as_it_was_is_clean(self, method: str) -> None:
        assert with_constant(method).look(constant_window(0)).alarmed is False

    @pytest.mark.parametrize("method", ["ks", "psi"])
    def test_a_rare_other_value_is_no_drift(self, method: str) -> None:
        # One row of 400: the KS statistic is 1/400, its p-value 1.
        assert with_constant(method).look(constant_window(1)).alarmed is False

    @pytest.mark.parametrize("method", ["ks", "psi"])
    def test_one_that_begins_to_vary_alarms(self, method: str) -> None:
        look = with_constant(method).look(constant_window(200))
        assert look.worst == ("f5",)

    def test_a_reference_of_constants_alone_can_be_watched(self) -> None:
        watched = Drift.calibrate(np.ones((ROWS, 2)), ("a", "b"), SETTINGS)
        assert watched.look(np.ones((WINDOW, 2))).alarmed is False
        assert watched.look(np.zeros((WINDOW, 2))).alarmed is True


def with_constant(method: str) -> Drift:
    reference = clean(0, ROWS)
    reference[:, 5] = 7.0
    chosen = DriftSettings(
        method=method, window=WINDOW, false_alarm_rate=0.02, calibration_windows=50
    )
    return Drift.calibrate(reference, NAMES, chosen)


def constant_window(others: int) -> np.ndarray:
    window = clean(1)
    window[:, 5] = 7.0
    window[:others, 5] = 8.0
    return window


class TestCalibration:
    def test_the_same_seed_finds_the_same_thresholds(self, calibrated: Drift) -> None:
        again = Drift.calibrate(clean(0, ROWS), NAMES, SETTINGS)
        assert again.thresholds == calibrated.thresholds

    def test_the_ks_threshold_lies_between_bonferroni_and_the_rate(self, calibrated: Drift) -> None:
        assert 0.01 / FEATURES <= calibrated.thresholds[0] <= 0.01

    def test_features_that_move_as_one_are_not_punished_for_their_number(self) -> None:
        # Six copies of one feature: the smallest p-value is that of one test, so the threshold
        # comes close to the rate (0.01 within the noise of 20 cuts) and not to 0.01 / 6 = 0.0017.
        copies = np.repeat(clean(0, ROWS)[:, :1], FEATURES, axis=1)
        assert Drift.calibrate(copies, NAMES, SETTINGS).thresholds[0] > 0.005

    def test_a_large_reference_is_thinned_to_ten_windows(self) -> None:
        chosen = DriftSettings(window=50, false_alarm_rate=0.1)
        assert len(Drift.calibrate(clean(0, 900), NAMES, chosen).reference) == 500

    def test_cuts_are_scored_by_the_statistic_that_evidently_tests(self) -> None:
        # The numpy statistic of each cut equals scipy's, which is what Evidently's `ks` calls.
        values = clean(0, 51, features=3)
        sides = np.random.default_rng(0).permuted(np.tile(drift._sides(51), (4, 1)), axis=1)
        expected = [
            [
                stats.ks_2samp(values[cut == 1, column], values[cut == -1, column]).statistic
                for column in range(3)
            ]
            for cut in sides
        ]
        assert drift.ks_statistics(values, sides) == pytest.approx(np.array(expected))

    @pytest.mark.parametrize(("rows", "sizes"), [(7, (3, 4)), (8, (4, 3))])
    def test_halves_differ_in_size_so_that_the_statistic_takes_many_values(
        self, rows: int, sizes: tuple[int, int]
    ) -> None:
        sides = drift._sides(rows)
        assert ((sides == 1).sum(), (sides == -1).sum()) == sizes

    def test_at_most_the_stated_share_of_the_draws_lies_beyond_the_threshold(self) -> None:
        # floor(0.05 * (99 + 1)) = 5 draws may reach it: the fifth largest of 0..98 is 94.
        draws = np.arange(99.0)
        assert draws[drift._beyond(draws, 0.05)] == pytest.approx(94.0)

    def test_tied_draws_move_the_threshold_up(self) -> None:
        # The fifth largest is one of ten tied at 1; only the three above them may be reached.
        draws = np.array([0.0] * 86 + [1.0] * 10 + [2.0, 3.0, 4.0])
        assert draws[drift._beyond(draws, 0.05)] == pytest.approx(2.0)

    def test_draws_that_are_all_tied_give_their_value(self) -> None:
        assert drift._beyond(np.zeros(99), 0.05) == 0


class TestFalseAlarms:
    def test_clean_windows_alarm_at_the_stated_rate(self) -> None:
        # 100 fresh references of 120 rows, each with one clean window of 400: fewer reference rows
        # than window rows. They are independent, so alarms are Binomial(100, 0.05) at most; its
        # 99.9% quantile is 13. None at all would mean that power is given away.
        chosen = DriftSettings(window=WINDOW, false_alarm_rate=0.05)
        alarms = sum(
            bool(
                Drift.calibrate(clean(seed, 120), NAMES, chosen, seed=seed)
                .look(clean(10_000 + seed))
                .alarmed
            )
            for seed in range(100)
        )
        assert 1 <= alarms <= stats.binom.ppf(0.999, 100, 0.05)

    @pytest.mark.parametrize("method", ["wasserstein", "psi", "jensenshannon"])
    def test_distances_alarm_at_most_at_the_stated_rate_too(self, method: str) -> None:
        # 30 windows against one reference, at a rate of 5%: the 99.9% quantile is 6.
        chosen = DriftSettings(
            method=method, window=WINDOW, false_alarm_rate=0.05, calibration_windows=50
        )
        watched = Drift.calibrate(clean(3, ROWS), NAMES, chosen)
        alarms = sum(watched.look(clean(20_000 + seed)).alarmed for seed in range(30))
        assert alarms <= stats.binom.ppf(0.999, 30, 0.05)

    def test_moderate_shifts_are_found(self, calibrated: Drift) -> None:
        # Half a standard deviation in one of six features; 300 and 400 rows.
        found = [calibrated.look(shifted(30_000 + seed, by=0.5)).alarmed for seed in range(40)]
        assert np.mean(found) >= 0.9

    @pytest.mark.parametrize("method", ["wasserstein", "psi", "jensenshannon"])
    def test_shifts_are_found_by_distances_too(self, method: str) -> None:
        assert with_constant(method).look(shifted_beside_constant()).worst[0] == "f3"


def shifted_beside_constant() -> np.ndarray:
    window = shifted(1, by=1.0)
    window[:, 5] = 7.0
    return window


def test_a_look_without_scores_has_no_ratio() -> None:
    look = DriftLook(0, {}, {}, {}, alarmed=None, reason="nothing")
    assert (look.ratio, look.worst) == (None, ())


@pytest.mark.parametrize("method", ["ks", "wasserstein", "psi", "jensenshannon"])
def test_a_score_is_the_one_that_evidentlys_value_drift_reports(method: str) -> None:
    library = drift._evidently()
    definition = library.DataDefinition(numerical_columns=["f3"])
    window, reference = (
        library.Dataset.from_pandas(pd.DataFrame({"f3": values[:, 3]}), definition)
        for values in (shifted(1, by=0.2), clean(0, ROWS))
    )
    report = library.Report([library.ValueDrift(column="f3", method=method)])
    reported = report.run(window, reference).dict()["metrics"][0]["value"]
    score = drift._score(method, clean(0, ROWS)[:, 3], shifted(1, by=0.2)[:, 3])
    assert score == pytest.approx(reported)


def test_the_snapshot_is_one_html_file_of_evidently(calibrated: Drift, tmp_path: Path) -> None:
    path = tmp_path / "window.html"
    drift.snapshot(calibrated, shifted(1, by=1.0), path)
    page = path.read_text(encoding="utf-8")
    assert page.lstrip().startswith("<")
    assert "f3" in page


def test_importing_the_module_does_not_import_evidently() -> None:
    code = "import sys, monitoring.drift; sys.exit('evidently' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
