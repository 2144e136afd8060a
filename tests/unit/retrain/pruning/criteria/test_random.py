from __future__ import annotations

from retrain.pruning import groups
from retrain.pruning.criteria import random
from tests.support import ranking

TWINS = [groups.CoupledGroup(name, 5, ()) for name in ("one", "two")]
MODEL = ranking.linears(a=ranking.A)


def test_another_seed_draws_other_scores() -> None:
    first, second = (random.score(TWINS, ranking.evidence(MODEL, seed=seed))[0] for seed in (0, 1))
    assert first.tolist() != second.tolist()


def test_a_score_hangs_on_the_group_s_name_only() -> None:
    alone = random.score(TWINS[1:], ranking.evidence(MODEL))[0]
    assert alone.tolist() == random.score(TWINS, ranking.evidence(MODEL))[1].tolist()


def test_groups_of_different_names_draw_different_scores() -> None:
    first, second = random.score(TWINS, ranking.evidence(MODEL))
    assert first.tolist() != second.tolist()


def test_weights_draw_by_the_name_of_their_tensor() -> None:
    first = random.weigh(["a.weight", "a.bias"], ranking.evidence(MODEL))
    second = random.weigh(["a.weight"], ranking.evidence(MODEL))
    assert first["a.weight"].tolist() == second["a.weight"].tolist()
    assert first["a.weight"][0, 0] != first["a.bias"][0]
