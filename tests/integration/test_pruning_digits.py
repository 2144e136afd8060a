"""A convolutional network on real digit scans: trained, halved, recovered, packed and served."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import datasets
from torch import nn

from coppice import artifact, project, runtime
from retrain import network, pack, train, weights
from retrain.pruning import recipe, schedule, surgery

pytestmark = pytest.mark.slow


class Digits(nn.Module):
    """Three convolutions, the second with a skip around it; 25,594 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.down = nn.Sequential(
            nn.Conv2d(32, 48, 3, padding=1, stride=2), nn.BatchNorm2d(48), nn.ReLU()
        )
        self.head = nn.Linear(48 * 4, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = self.stem(image)
        hidden = self.down(hidden + self.block(hidden))
        return self.head(nn.functional.max_pool2d(hidden, 2).flatten(1))  # type: ignore[no-any-return]


def load() -> project.Data:
    images, targets = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(targets))
    scans = (images[order] / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    every = project.Split(inputs={"image": scans}, targets=targets[order])
    return project.Data(
        train=every.take(np.arange(1100)),
        validation=every.take(np.arange(1100, 1400)),
        holdout=every.take(np.arange(1400, 1797)),
        classes=tuple("0123456789"),
    )


class Story:
    """The dense parent, the model right after the cut, and the recovered one."""

    def __init__(self) -> None:
        self.data = load()
        self.dense = network.build(Digits, seed=0)
        plan = train.FitPlan(task="multiclass", epochs=8, learning_rate=1e-2)
        self.history = train.fit(self.dense, self.data.train, plan, validation=self.data.validation)
        self.cut = copy.deepcopy(self.dense)
        self.record = schedule.prune(
            self.cut, self.data.train, recipe.Recipe(amount=0.5), task="multiclass", seed=0
        )
        self.recovered = copy.deepcopy(self.cut)
        recover = train.FitPlan(
            task="multiclass", epochs=6, learning_rate=4e-3, distill_weight=0.7, seed=1
        )
        train.fit(self.recovered, self.data.train, recover, teacher=self.dense)

    def score(self, model: nn.Module) -> float:
        return train.score(model, self.data.holdout, "multiclass")


@pytest.fixture(scope="module")
def story() -> Story:
    return Story()


def test_the_dense_parent_reads_digits(story: Story) -> None:
    assert story.score(story.dense) >= 0.95


def test_half_of_the_channels_are_gone_in_steps_of_eight(story: Story) -> None:
    sizes = {group.name: (group.before, group.after) for group in story.record.groups}
    # 48 / 2 = 24; the stem and the block are added, so they are one group of 32.
    assert sorted(sizes.values()) == [(32, 16), (48, 24)]


def test_the_pruned_model_costs_less_than_a_third(story: Story) -> None:
    dense = schedule.cost(story.dense, story.data.holdout)
    pruned = schedule.cost(story.cut, story.data.holdout)
    # Inner layers shrink to a quarter, the first to a half, the head to a half.
    assert pruned.macs / dense.macs < 1 / 3
    assert pruned.parameters / dense.parameters < 1 / 3


def test_the_recovered_model_is_within_three_points_of_its_parent(story: Story) -> None:
    assert story.score(story.recovered) >= story.score(story.dense) - 0.03


def test_recovering_beats_the_bare_cut(story: Story) -> None:
    assert story.score(story.recovered) > story.score(story.cut)


def test_batch_norm_statistics_of_the_cut_matter(story: Story) -> None:
    stale = surgery.replay(copy.deepcopy(story.dense), story.record)
    fresh = surgery.replay(copy.deepcopy(story.dense), story.record)
    train.reestimate_batch_norm(fresh, story.data.train, rows=1100)
    assert story.score(fresh) > story.score(stale)


def test_the_whole_way_can_be_packed_served_and_rebuilt(story: Story, tmp_path: Path) -> None:
    parts = pack.PackParts(
        name="digits",
        task="multiclass",
        data=story.data,
        card={},
        accepted=story.score(story.recovered),
        accepted_rows=story.data.holdout.rows,
        created_at=0.0,
        surgery=story.record,
    )
    tag = pack.pack(story.recovered, parts, tmp_path)
    served = runtime.Runtime(tmp_path, expected_tag=tag)
    scores = served.predict(story.data.holdout.inputs).scores
    right = scores.argmax(axis=1) == story.data.holdout.targets
    assert right.mean() == pytest.approx(artifact.read_manifest(tmp_path).accepted)
    rebuilt = weights.rebuild(Digits, tmp_path)
    inputs = story.data.holdout.inputs
    assert np.array_equal(
        train.logits(rebuilt, inputs, task="multiclass"),
        train.logits(story.recovered, inputs, task="multiclass"),
    )
