from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from coppice import errors
from retrain.pruning import groups
from retrain.pruning.criteria import importance
from tests.support import ranking

READ = groups.CoupledGroup("a", 3, (groups.Axis("b.weight", 1, (0, 1, 2)),))
TWICE = groups.CoupledGroup("a", 3, (*READ.axes, groups.Axis("c.weight", 1, (0, 1, 2))))
ROWS = torch.tensor([[1.0, 1.0, 2.0]])


def score(group: groups.CoupledGroup, model: nn.Module, rows: torch.Tensor = ROWS) -> list[float]:
    given = ranking.evidence(model, activations=[{"b": rows, "c": rows}])
    found: list[float] = importance.score([group], given)[0].tolist()
    return found


def test_a_unit_scores_its_largest_share_over_the_mean() -> None:
    # Shares of the sums 4 and 1 + 3 + 2 = 6: 1/4, 1/4, 1/2 and 1/6, 1/2, 1/3; the largest are
    # 1/4, 1/2, 1/2 with mean 5/12.
    found = score(READ, ranking.linears(b=((1.0, 1.0, 1.0), (1.0, 3.0, 1.0))))
    assert found == pytest.approx([3 / 5, 6 / 5, 6 / 5])


def test_a_unit_that_several_layers_read_scores_the_mean_over_them() -> None:
    model = ranking.linears(b=((1.0, 1.0, 1.0),), c=((2.0, 0.0, 0.0),))
    # By b 1/4, 1/4, 1/2 over 1/3; by c 1, 0, 0 over 1/3.
    expected = [(0.75 + 3.0) / 2, (0.75 + 0.0) / 2, (1.5 + 0.0) / 2]
    assert score(TWICE, model) == pytest.approx(expected)


def test_a_silent_unit_scores_zero() -> None:
    rows = torch.tensor([[1.0, 0.0, 1.0], [3.0, 0.0, 1.0]])
    assert score(READ, ranking.linears(b=((1.0, 1.0, 1.0),)), rows)[1] == 0.0


def test_a_unit_that_nothing_gives_weight_to_scores_zero() -> None:
    assert score(READ, ranking.linears(b=((1.0, 0.0, 1.0),)))[1] == 0.0


def test_units_that_change_places_change_their_scores() -> None:
    straight = score(READ, ranking.linears(b=((1.0, 2.0, 5.0),)), torch.tensor([[1.0, 4.0, 3.0]]))
    turned = score(READ, ranking.linears(b=((5.0, 1.0, 2.0),)), torch.tensor([[3.0, 1.0, 4.0]]))
    assert turned == pytest.approx([straight[2], straight[0], straight[1]])


def test_the_scale_of_what_is_read_does_not_matter() -> None:
    model = ranking.linears(b=((1.0, 2.0, 5.0), (-1.0, 0.5, 1.0)))
    assert score(READ, model, 50.0 * ROWS) == pytest.approx(score(READ, model))


def test_a_channel_that_nobody_owns_is_in_the_sums_but_scores_nowhere() -> None:
    partly = groups.CoupledGroup("a", 2, (groups.Axis("b.weight", 1, (0, groups.NOBODY, 1)),))
    # 1/4 and 2/4, over their mean 3/8.
    found = score(partly, ranking.linears(b=((1.0, 1.0, 1.0),)))
    assert found == pytest.approx([2 / 3, 4 / 3])


def test_a_unit_of_several_channels_scores_the_largest_of_them() -> None:
    pairs = groups.CoupledGroup("a", 2, (groups.Axis("b.weight", 1, (0, 1, 1)),))
    # 1/4 and the larger of 1/4 and 2/4.
    found = score(pairs, ranking.linears(b=((1.0, 1.0, 1.0),)))
    assert found == pytest.approx([2 / 3, 4 / 3])


def test_a_few_minibatches_are_enough() -> None:
    model = ranking.linears(b=((1.0, 1.0, 1.0),))
    batches = [{"b": ROWS}] * importance.BATCHES + [{"b": torch.tensor([[1.0, 0.0, 0.0]])}]
    found = importance.score([READ], ranking.evidence(model, activations=batches))[0]
    assert found.tolist() == pytest.approx([0.75, 0.75, 1.5])


def test_a_group_that_no_layer_reads_is_refused_by_name() -> None:
    unread = groups.CoupledGroup("last", 3, (groups.Axis("b.weight", 0, (0, 1, 2)),))
    with pytest.raises(errors.PruningError, match="cannot for 'last'; use criterion taylor"):
        importance.score([unread], ranking.evidence(ranking.linears(b=ranking.A)))


def test_a_reader_that_is_never_called_is_refused_by_its_group() -> None:
    with pytest.raises(errors.PruningError, match="'a'"):
        importance.score([READ], ranking.evidence(ranking.linears(b=ranking.B)))


def test_a_weight_scores_its_own_share() -> None:
    model = ranking.linears(b=((1.0, 1.0, 1.0), (1.0, -3.0, 1.0)))
    found = importance.weigh(["b.weight"], ranking.evidence(model, activations=[{"b": ROWS}]))
    # 1/4, 1/4, 2/4; of the positive weights 1/3 and 2/3, of the negative one all.
    expected = torch.tensor([[1 / 4, 1 / 4, 1 / 2], [1 / 3, 1.0, 2 / 3]])
    assert torch.allclose(found["b.weight"], expected)


def test_tensors_that_sum_nothing_up_are_refused_by_name() -> None:
    model = nn.ModuleDict({"words": nn.Embedding(3, 2), "norm": nn.BatchNorm1d(2)})
    with pytest.raises(errors.PruningError, match=r"'words.weight', 'norm.weight'"):
        importance.weigh(["words.weight", "norm.weight"], ranking.evidence(model))


def wide(name: str, units: int) -> groups.CoupledGroup:
    return groups.CoupledGroup(
        name, units, (groups.Axis(f"{name}.weight", 1, tuple(range(units))),)
    )


def test_a_layer_in_which_few_units_matter_gives_more() -> None:
    even, uneven = [1.0] * 16, [100.0] * 4 + [0.01] * 12
    model = ranking.linears(even=(even,), uneven=(uneven,))
    rows = torch.ones(1, 16)
    given = ranking.evidence(model, activations=[{"even": rows, "uneven": rows}])
    # Half of all 32 units goes.
    first, second = importance.allocate([wide("even", 16), wide("uneven", 16)], given, 0.5)
    assert first < 0.4
    assert second > 0.6
    assert 16 * first + 16 * second == pytest.approx(16.0, abs=0.01)


def test_one_epsilon_holds_for_all_layers() -> None:
    model = ranking.linears(one=((1.0,) * 8,), two=((1.0,) * 24,))
    rows = {"one": torch.ones(1, 8), "two": torch.ones(1, 24)}
    given = ranking.evidence(model, activations=[rows])
    shares = importance.allocate([wide("one", 8), wide("two", 24)], given, 0.5)
    # Equal shares 1 / n sum up to 1 in both layers, so both are drawn from equally often; of n
    # equally likely units m draws leave (1 - 1 / n)^m out: m is found from either layer.
    draws = [
        math.log(share) / math.log(1 - 1 / n) for share, n in zip(shares, (8, 24), strict=True)
    ]
    assert draws[0] == pytest.approx(draws[1], rel=1e-3)


def test_nothing_goes_at_the_amount_zero_and_one_unit_stays_near_one() -> None:
    model = ranking.linears(one=((1.0,) * 8,))
    given = ranking.evidence(model, activations=[{"one": torch.ones(1, 8)}])
    assert importance.allocate([wide("one", 8)], given, 0.0)[0] == pytest.approx(0.0, abs=1e-6)
    assert importance.allocate([wide("one", 8)], given, 0.99)[0] == pytest.approx(7 / 8, abs=1e-3)
