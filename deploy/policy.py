"""How a candidate becomes champion: the part of the settings that a plan rests on."""

from __future__ import annotations

import dataclasses

from coppice import settings
from deploy.backends import base as backends


@dataclasses.dataclass(frozen=True, kw_only=True)
class Policy:
    """How a candidate becomes champion; see `coppice.settings.RolloutSettings` for each field."""

    auto: bool = True
    steps: tuple[float, ...] = (0.1, 0.5)
    step_seconds: float = 60.0
    step_requests: int = 100
    shadow_seconds: float = 86_400.0
    watch_seconds: float = 600.0
    mirror: float = 1.0
    parent_mirror: float = 0.05
    crash_guard: int = 5
    outside: bool = False
    """Whether another tool moves the traffic."""
    judges: bool = False
    """Whether somebody else names the versions too, and we only record and judge."""

    @classmethod
    def of(cls, tree: settings.Settings, supports: frozenset[backends.Ability]) -> Policy:
        """Read the settings, and leave out what the backend cannot do."""
        rollout = tree.rollout
        return cls(
            auto=rollout.auto,
            steps=rollout.steps if "weights" in supports else (),
            step_seconds=rollout.step_seconds,
            step_requests=rollout.step_requests,
            shadow_seconds=rollout.shadow_seconds,
            watch_seconds=rollout.watch_seconds,
            mirror=rollout.mirror if "mirror" in supports else 0.0,
            parent_mirror=rollout.parent_mirror if "mirror" in supports else 0.0,
            crash_guard=tree.serve.crash_guard,
            outside="outside" in supports,
            judges="judges" in supports,
        )
