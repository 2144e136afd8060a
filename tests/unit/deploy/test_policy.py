from __future__ import annotations

from pathlib import Path

import pytest

from coppice import settings
from deploy.policy import Policy


@pytest.fixture
def tree() -> settings.Settings:
    rollout = {"steps": [0.2], "mirror": 0.5, "auto": False, "shadow_seconds": 7.0}
    return settings.from_tree(
        {"project": {"name": "tiny"}, "rollout": rollout, "serve": {"crash_guard": 3}},
        root=Path(),
    )


def test_it_follows_the_settings(tree: settings.Settings) -> None:
    policy = Policy.of(tree, frozenset({"weights", "mirror"}))
    assert (policy.steps, policy.mirror, policy.auto) == ((0.2,), 0.5, False)
    assert (policy.shadow_seconds, policy.crash_guard) == (7.0, 3)


def test_its_defaults_are_those_of_the_settings() -> None:
    tree = settings.from_tree({"project": {"name": "tiny"}}, root=Path())
    assert Policy.of(tree, frozenset({"weights", "mirror"})) == Policy()


def test_a_backend_that_cannot_weigh_is_not_asked_to(tree: settings.Settings) -> None:
    assert Policy.of(tree, frozenset({"mirror"})).steps == ()


def test_a_backend_that_cannot_mirror_is_not_asked_to(tree: settings.Settings) -> None:
    policy = Policy.of(tree, frozenset({"weights"}))
    assert (policy.mirror, policy.parent_mirror) == (0.0, 0.0)
