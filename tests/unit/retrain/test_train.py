from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from coppice import errors, project
from retrain import network, train
from tests.support import networks

PLAN = train.FitPlan(task="binary", epochs=4, batch_size=16, learning_rate=1e-2, seed=1)


def mlp() -> nn.Module:
    return network.build(networks.mlp, seed=0)


def weights(model: nn.Module) -> list[float]:
    return nn.utils.parameters_to_vector(model.parameters()).tolist()


def dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 2))


def test_training_lowers_the_loss_and_raises_the_score() -> None:
    model, split = mlp(), networks.vectors(256)
    before = train.score(model, split, "binary")
    history = train.fit(model, split, PLAN)
    assert history.losses[-1] < history.losses[0] / 2
    assert train.score(model, split, "binary") > max(before, 0.9)


def test_the_same_seed_gives_the_same_weights() -> None:
    models = [network.build(dropout, seed=0) for _ in "ab"]
    train.fit(models[0], networks.vectors(), PLAN)
    torch.rand(3)
    train.fit(models[1], networks.vectors(), PLAN)
    assert weights(models[0]) == weights(models[1])


def test_another_seed_gives_other_weights() -> None:
    first, second = mlp(), mlp()
    train.fit(first, networks.vectors(), PLAN)
    train.fit(second, networks.vectors(), train.FitPlan(task="binary", epochs=4, seed=2))
    assert weights(first) != weights(second)


def test_training_leaves_the_global_generator_and_the_threads_alone() -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    train.fit(mlp(), networks.vectors(), PLAN)
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads


def test_the_model_is_left_in_evaluation_mode() -> None:
    model = network.build(dropout, seed=0)
    train.fit(model, networks.vectors(), PLAN)
    assert not any(module.training for module in model.modules())


def test_progress_is_told_after_every_epoch() -> None:
    told: list[tuple[int, float]] = []
    history = train.fit(mlp(), networks.vectors(), PLAN, progress=lambda *step: told.append(step))
    assert told == list(enumerate(history.losses, start=1))


def test_validation_is_scored_after_every_epoch_and_never_learned_from() -> None:
    alone, watched = mlp(), mlp()
    train.fit(alone, networks.vectors(), PLAN)
    history = train.fit(watched, networks.vectors(), PLAN, validation=networks.vectors(seed=9))
    assert len(history.validation) == 4
    assert weights(alone) == weights(watched)


def test_no_epochs_change_nothing() -> None:
    model = mlp()
    before = weights(model)
    history = train.fit(model, networks.vectors(), train.FitPlan(task="binary", epochs=0))
    assert (weights(model), history) == (before, train.History((), ()))


def test_a_last_batch_of_one_row_is_left_out() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    history = train.fit(model, networks.vectors(17), PLAN)
    assert all(np.isfinite(history.losses))


def test_a_single_row_cannot_be_trained_on() -> None:
    with pytest.raises(errors.ProjectError, match="needs at least 2 rows"):
        train.fit(mlp(), networks.vectors(1), PLAN)


def test_a_model_that_does_not_fit_is_refused_before_training() -> None:
    with pytest.raises(errors.ProjectError, match="one logit each"):
        train.fit(networks.mlp(outputs=1), networks.vectors(), PLAN)


def test_a_frozen_model_cannot_be_trained() -> None:
    with pytest.raises(errors.ProjectError, match="requires_grad=False"):
        train.fit(mlp().requires_grad_(requires_grad=False), networks.vectors(), PLAN)


def test_frozen_parameters_stay_as_they_are() -> None:
    model = mlp()
    model[0].requires_grad_(requires_grad=False)
    before = model[0].weight.clone()
    train.fit(model, networks.vectors(), PLAN)
    assert torch.equal(before, model[0].weight)


def test_a_loss_that_is_no_number_is_reported_with_its_epoch() -> None:
    model = mlp()
    with torch.no_grad():
        model[4].weight.fill_(float("inf"))
    with pytest.raises(errors.ProjectError, match=r"became .* in epoch 1: lower the learning rate"):
        train.fit(model, networks.vectors(), PLAN)


def test_a_regression_is_learned_in_units_of_its_targets() -> None:
    split = networks.amounts(256)
    model = network.build(lambda: networks.mlp(outputs=1), seed=0)
    plan = train.FitPlan(task="regression", epochs=30, batch_size=16, learning_rate=2e-2)
    train.fit(model, split, plan)
    errors_made = np.abs(train.predict(model, split.inputs, task="regression") - split.targets)
    # The targets' spread is 10 * sqrt 2, about 14.
    assert float(errors_made.mean()) < 4.0


def test_constant_targets_do_not_divide_by_zero() -> None:
    split = project.Split(inputs=networks.amounts().inputs, targets=np.full(64, 3.0))
    assert train.target_scale(split, "regression") == 1.0


def test_a_student_comes_to_answer_like_its_teacher() -> None:
    split = networks.vectors(256)
    noise = np.random.default_rng(0).integers(0, 2, split.rows)
    noisy = project.Split(inputs=split.inputs, targets=noise)
    teacher = mlp()
    train.fit(teacher, split, PLAN)
    plan = train.FitPlan(
        task="binary", epochs=6, batch_size=16, learning_rate=1e-2, distill_weight=1.0
    )
    student = network.build(networks.mlp, seed=5)
    train.fit(student, noisy, plan, teacher=teacher)
    # The labels are noise: all that it can have learned, it has from the teacher.
    assert train.score(student, split, "binary") > 0.9


def test_a_teacher_s_answers_teach_like_the_teacher() -> None:
    split, teacher = networks.vectors(), mlp()
    plan = train.FitPlan(task="binary", epochs=1, batch_size=32, distill_weight=0.5)
    by_model, by_answers = mlp(), mlp()
    train.fit(by_model, split, plan, teacher=teacher)
    train.fit(by_answers, split, plan, teacher=train.raw(teacher, split, "binary"))
    pairs = zip(by_model.parameters(), by_answers.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_penalty_is_added_to_the_loss() -> None:
    plan = train.FitPlan(task="binary", epochs=1, batch_size=32)
    shrinking = dataclasses.replace(
        plan, penalty=lambda model: 10.0 * sum(p.abs().sum() for p in model.parameters())
    )
    plain, shrunk = mlp(), mlp()
    train.fit(plain, networks.vectors(), plan)
    train.fit(shrunk, networks.vectors(), shrinking)
    sizes = [sum(float(p.detach().abs().sum()) for p in m.parameters()) for m in (plain, shrunk)]
    assert sizes[1] < sizes[0]


def test_weights_that_are_kept_at_zero_after_every_step_are_zero_in_the_end() -> None:
    def keep(model: nn.Module) -> None:
        with torch.no_grad():
            next(model.parameters())[0].zero_()

    model = mlp()
    plan = train.FitPlan(task="binary", epochs=1, batch_size=32, after_step=keep)
    train.fit(model, networks.vectors(), plan)
    assert not next(model.parameters())[0].any()


def test_mixed_precision_leaves_weights_of_32_bits_in_their_usual_order() -> None:
    model = networks.Residual()
    plan = train.FitPlan(task="binary", epochs=1, batch_size=32, precision="bf16")
    history = train.fit(model, networks.rows(), plan)
    assert math.isfinite(history.losses[0])
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(parameter.is_contiguous() for parameter in model.parameters())


def test_a_teacher_is_not_changed_and_stays_in_its_mode() -> None:
    teacher = network.build(dropout, seed=0).train()
    before = weights(teacher)
    plan = train.FitPlan(task="binary", epochs=1, distill_weight=0.5)
    train.fit(mlp(), networks.vectors(), plan, teacher=teacher)
    assert weights(teacher) == before
    assert teacher.training


def test_a_teacher_without_weight_in_the_loss_teaches_nothing() -> None:
    alone, taught = mlp(), mlp()
    train.fit(alone, networks.vectors(), PLAN)
    train.fit(taught, networks.vectors(), PLAN, teacher=network.build(networks.mlp, seed=9))
    assert weights(alone) == pytest.approx(weights(taught))


def test_a_model_taught_by_itself_alone_stays_where_it_is() -> None:
    model = mlp()
    plan = train.FitPlan(
        task="binary", epochs=1, distill_weight=1.0, weight_decay=0.0, learning_rate=1e-4
    )
    teacher = copy.deepcopy(model)
    history = train.fit(model, networks.vectors(), plan, teacher=teacher)
    # At equal answers the divergence and its gradient are zero, up to rounding.
    assert history.losses[0] == pytest.approx(0.0, abs=1e-4)


def test_a_regression_is_taught_by_squared_distance_in_units_of_the_targets() -> None:
    plan = train.FitPlan(task="regression", epochs=1)
    distance = train._distance(torch.tensor([6.0]), torch.tensor([2.0]), plan, scale=2.0)
    # (6 - 2) / 2 squared
    assert float(distance) == 4.0


def test_a_divergence_is_scaled_by_the_square_of_the_temperature() -> None:
    plan = train.FitPlan(task="binary", epochs=1, temperature=2.0)
    answers, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0 * np.log(3.0), 0.0]])
    distance = train._distance(answers, teacher, plan, scale=1.0)
    # At temperature 2 the teacher says (3/4, 1/4), the student (1/2, 1/2):
    # 3/4 log(3/2) + 1/4 log(1/2) = 0.130812, times 2 squared.
    assert float(distance) == pytest.approx(0.523248, abs=1e-5)


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    model, split = mlp(), networks.vectors()
    logits = train.logits(model, split.inputs, task="binary")
    probabilities = train.predict(model, split.inputs, task="binary")
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities, expected, atol=1e-6)


def test_predicting_in_batches_gives_every_row_in_order() -> None:
    model, split = mlp(), networks.vectors(train.PREDICT_ROWS + 3)
    together = train.predict(model, split.inputs, task="binary")
    last = train.predict(model, split.take(np.array([split.rows - 1])).inputs, task="binary")
    assert together.shape == (split.rows, 2)
    assert np.allclose(together[-1], last[0], atol=1e-6)


def test_predicting_leaves_the_mode_alone_and_drops_nothing_out() -> None:
    model = network.build(dropout, seed=0).train()
    first, second = (train.predict(model, networks.vectors().inputs, task="binary") for _ in "ab")
    assert np.array_equal(first, second)
    assert model.training


def normed() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))


def test_re_estimated_statistics_are_those_of_the_rows() -> None:
    model, split = normed(), networks.vectors(200)
    train.reestimate_batch_norm(model, split, rows=200)
    assert np.allclose(model[0].running_mean, split.inputs["values"].mean(axis=0), atol=1e-6)
    # torch keeps the unbiased variance.
    assert np.allclose(model[0].running_var, split.inputs["values"].var(axis=0, ddof=1), atol=1e-5)


def test_re_estimating_takes_rows_from_the_whole_of_a_sorted_split() -> None:
    values = np.repeat(np.arange(600.0, dtype=np.float32)[:, np.newaxis], 6, axis=1)
    split = project.Split(inputs={"values": values}, targets=np.zeros(600, dtype=np.int64))
    model = normed()
    train.reestimate_batch_norm(model, split, rows=300)
    # Evenly spaced rows of 0..599 have the mean 299.5.
    assert np.allclose(model[0].running_mean, 299.5, atol=1.0)
    # And their variance, about 600 squared / 12, is seen in every batch, not only between them.
    assert np.allclose(model[0].running_var, 600**2 / 12, rtol=0.02)


def test_re_estimating_changes_nothing_but_the_statistics() -> None:
    model = normed().train()
    before = weights(model)
    momentum = model[0].momentum
    train.reestimate_batch_norm(model, networks.vectors(), rows=64)
    assert weights(model) == before
    assert model[0].momentum == momentum
    assert not model[0].training


@pytest.mark.parametrize("rows", [1, 0])
def test_a_single_row_is_no_statistic(rows: int) -> None:
    model = normed()
    train.reestimate_batch_norm(model, networks.vectors(), rows=rows)
    assert model[0].running_mean.tolist() == [0.0] * 6


def test_a_model_without_batch_norm_is_left_alone() -> None:
    model = mlp().train()
    train.reestimate_batch_norm(model, networks.vectors(), rows=64)
    assert model.training
