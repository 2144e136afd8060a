"""Each test of the first half runs over every entry of CRITERIA: a new criterion joins for free."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
import torch

from retrain.pruning import criteria, groups

GROUPS = (
    groups.CoupledGroup(
        "a",
        3,
        (groups.Axis("a.weight", 0, (0, 1, 2)), groups.Axis("b.weight", 1, (0, 1, 2))),
    ),
    groups.CoupledGroup("b", 2, (groups.Axis("b.weight", 0, (0, 1)),)),
)
BIASED = groups.CoupledGroup(
    "a", 2, (groups.Axis("a.weight", 0, (0, 1)), groups.Axis("a.bias", 0, (0, 1)))
)
PARAMETERS = {
    "a.weight": torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.5, 0.5]]),
    "b.weight": torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0]]),
}
ALL = sorted(criteria.CRITERIA)


def stream(*batches: Mapping[str, torch.Tensor]) -> Callable[[], Iterator[criteria.Values]]:
    return lambda: iter(batches)


def evidence(seed: int = 0) -> criteria.Evidence:
    generator = torch.Generator().manual_seed(0)
    batches = [
        {name: torch.randn(t.shape, generator=generator) for name, t in PARAMETERS.items()}
        for _ in range(3)
    ]
    return criteria.Evidence(parameters=PARAMETERS, gradients=stream(*batches), seed=seed)


@pytest.mark.parametrize("name", ALL)
def test_there_is_one_score_per_unit_of_each_group(name: str) -> None:
    scores = criteria.CRITERIA[name](GROUPS, evidence())
    assert [tuple(score.shape) for score in scores] == [(3,), (2,)]


@pytest.mark.parametrize("name", ALL)
def test_scores_are_finite_and_not_negative(name: str) -> None:
    scores = torch.cat(criteria.CRITERIA[name](GROUPS, evidence()))
    assert torch.isfinite(scores).all()
    assert (scores >= 0).all()


@pytest.mark.parametrize("name", ALL)
def test_the_same_evidence_gives_the_same_scores(name: str) -> None:
    first = criteria.CRITERIA[name](GROUPS, evidence())
    second = criteria.CRITERIA[name](GROUPS, evidence())
    assert [score.tolist() for score in first] == [score.tolist() for score in second]


@pytest.mark.parametrize("name", ALL)
def test_scores_do_not_depend_on_the_order_of_the_groups(name: str) -> None:
    forward = criteria.CRITERIA[name](GROUPS, evidence())
    backward = criteria.CRITERIA[name](GROUPS[::-1], evidence())
    assert [score.tolist() for score in forward] == [score.tolist() for score in backward[::-1]]


@pytest.mark.parametrize("name", ALL)
def test_a_criterion_changes_no_parameter(name: str) -> None:
    before = {path: tensor.clone() for path, tensor in PARAMETERS.items()}
    criteria.CRITERIA[name](GROUPS, evidence())
    assert all(torch.equal(before[path], PARAMETERS[path]) for path in before)


@pytest.mark.parametrize("name", ALL)
def test_a_criterion_leaves_the_global_generator_alone(name: str) -> None:
    state = torch.random.get_rng_state()
    criteria.CRITERIA[name](GROUPS, evidence())
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("name", ALL)
def test_no_groups_give_no_scores(name: str) -> None:
    assert criteria.CRITERIA[name]((), evidence()) == []


@pytest.mark.parametrize("name", ALL)
def test_weights_of_zero_give_finite_scores(name: str) -> None:
    zeros = {path: torch.zeros_like(tensor) for path, tensor in PARAMETERS.items()}
    nothing = criteria.Evidence(parameters=zeros, gradients=stream(zeros))
    scores = criteria.CRITERIA[name](GROUPS, nothing)
    assert torch.isfinite(torch.cat(scores)).all()


@pytest.mark.parametrize("name", ALL)
def test_parameters_that_need_gradients_are_scored_too(name: str) -> None:
    leaves = {path: tensor.clone().requires_grad_() for path, tensor in PARAMETERS.items()}
    learned = criteria.Evidence(parameters=leaves, gradients=stream(PARAMETERS))
    scores = criteria.CRITERIA[name](GROUPS, learned)
    assert not any(score.requires_grad for score in scores)


def test_magnitude_is_the_norm_over_coupled_weights_over_the_mean_norm() -> None:
    scores = criteria.magnitude(GROUPS, evidence())[0]
    # Squares: rows of a 1, 25, 0.5; columns of b 1, 1, 5. Norms: sqrt 2, sqrt 26, sqrt 5.5.
    norms = torch.tensor([2.0, 26.0, 5.5], dtype=torch.float64).sqrt()
    assert torch.allclose(scores, norms / norms.mean())


def test_magnitude_has_a_mean_of_one_in_each_group() -> None:
    means = [float(score.mean()) for score in criteria.magnitude(GROUPS, evidence())]
    assert means == pytest.approx([1.0, 1.0])


def test_magnitude_does_not_count_biases() -> None:
    parameters = {"a.weight": torch.ones(2, 2), "a.bias": torch.tensor([100.0, 0.0])}
    given = criteria.Evidence(parameters=parameters, gradients=stream())
    assert criteria.magnitude([BIASED], given)[0].tolist() == [1.0, 1.0]


def test_taylor_squares_each_minibatch_before_averaging() -> None:
    group = groups.CoupledGroup("a", 2, (groups.Axis("a.weight", 0, (0, 1)),))
    weights = {"a.weight": torch.tensor([[1.0], [1.0]])}
    batches = stream(
        {"a.weight": torch.tensor([[2.0], [1.0]])},
        {"a.weight": torch.tensor([[-2.0], [1.0]])},
    )
    scores = criteria.taylor([group], criteria.Evidence(weights, batches))[0]
    # Unit 0 changes the loss by +2 and -2: averaged first it would score 0, squared first 4.
    assert scores.tolist() == [4.0, 1.0]


def test_taylor_sums_the_changes_of_coupled_weights_before_squaring() -> None:
    weights = {"a.weight": torch.tensor([[1.0], [1.0]]), "a.bias": torch.tensor([2.0, 2.0])}
    batch = {"a.weight": torch.tensor([[1.0], [1.0]]), "a.bias": torch.tensor([1.0, -0.5])}
    scores = criteria.taylor([BIASED], criteria.Evidence(weights, stream(batch)))[0]
    # The squares of 1 + 2 = 3 and of 1 - 1 = 0.
    assert scores.tolist() == [9.0, 0.0]


def test_taylor_reads_the_stream_only_once() -> None:
    reads: list[int] = []

    def gradients() -> Iterator[criteria.Values]:
        reads.append(1)
        yield PARAMETERS

    criteria.taylor(GROUPS, criteria.Evidence(PARAMETERS, gradients))
    assert reads == [1]


def test_another_seed_draws_other_scores() -> None:
    first, second = (criteria.random(GROUPS, evidence(seed))[0] for seed in (0, 1))
    assert first.tolist() != second.tolist()


def test_a_random_score_hangs_on_the_group_s_name_only() -> None:
    alone = criteria.random(GROUPS[1:], evidence())[0]
    assert alone.tolist() == criteria.random(GROUPS, evidence())[1].tolist()


def test_groups_of_different_names_draw_different_scores() -> None:
    twins = [groups.CoupledGroup(name, 5, ()) for name in ("one", "two")]
    first, second = criteria.random(twins, evidence())
    assert first.tolist() != second.tolist()
