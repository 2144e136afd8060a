from __future__ import annotations

import msgspec
import numpy as np
import pytest
from scipy import stats

from monitoring import evidence, split
from monitoring.split import Sides


def test_a_request_waits_for_one_of_the_other_lane() -> None:
    sides = Sides()
    assert sides.add(1.0, "stable") is None
    assert sides.add(1.0, "stable") is None
    assert (sides.stable, sides.canary) == ([1.0, 1.0], [])


def test_a_right_stable_answer_beside_a_wrong_canary_one_is_harm() -> None:
    sides = Sides()
    sides.add(1.0, "stable")
    assert sides.add(0.0, "canary") == pytest.approx(1.0)


def test_the_sign_is_the_same_whichever_comes_first() -> None:
    sides = Sides()
    sides.add(0.0, "canary")
    assert sides.add(1.0, "stable") == pytest.approx(1.0)


def test_a_wrong_stable_answer_beside_a_right_canary_one_is_gain() -> None:
    sides = Sides()
    sides.add(0.0, "stable")
    assert sides.add(1.0, "canary") == pytest.approx(-1.0)


def test_each_request_stands_in_one_pair_only() -> None:
    sides = Sides()
    sides.add(1.0, "stable")
    assert sides.add(0.0, "canary") is not None
    assert sides.add(0.0, "canary") is None


def test_of_several_that_wait_the_newest_is_paired() -> None:
    sides = Sides()
    sides.add(0.0, "stable")
    sides.add(1.0, "stable")
    assert sides.add(1.0, "canary") == pytest.approx(0.0)
    assert sides.stable == [0.0]


def test_only_so_many_wait() -> None:
    sides = Sides()
    for _ in range(split.KEPT + 5):
        sides.add(1.0, "stable")
    assert len(sides.stable) == split.KEPT


def test_those_that_wait_survive_a_checkpoint() -> None:
    sides = Sides([1.0], [])
    restored = msgspec.msgpack.decode(msgspec.msgpack.encode(sides), type=Sides)
    assert restored.add(0.0, "canary") == pytest.approx(1.0)


def test_equal_candidates_in_a_split_are_rarely_rolled_back() -> None:
    # 300 canaries of 1,500 labelled requests, a third of them in the canary lane, both versions
    # right on 90%; looked at at every 25th pair. At most alpha of them may err:
    # binom.ppf(0.999, 300, 0.05) = 28.
    rng = np.random.default_rng(0)
    rollbacks = sum(_rolled_back(rng, 300, canary=0.9) for _ in range(300))
    assert rollbacks <= stats.binom.ppf(0.999, 300, 0.05)


def test_a_candidate_that_is_wrong_on_a_quarter_more_is_rolled_back_in_a_split() -> None:
    rng = np.random.default_rng(1)
    assert all(_rolled_back(rng, 300, canary=0.65) for _ in range(20))


def _rolled_back(rng: np.random.Generator, pairs: int, *, canary: float) -> bool:
    sides, outcomes = Sides(), []
    for number in range(3 * pairs):
        in_canary = number % 3 == 0
        score = float(rng.random() < (canary if in_canary else 0.9))
        outcomes.append(sides.add(score, "canary" if in_canary else "stable"))
    settled = [outcome for outcome in outcomes if outcome is not None]
    return any(
        evidence.decide(evidence.PairedState().extend(settled[:end])).kind == "rollback"
        for end in range(25, len(settled) + 1, 25)
    )
