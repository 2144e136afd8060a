"""Who moves the weights: one protocol, one implementation per traffic tool.

What may NOT happen here: deciding what the weights should be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coppice import settings
    from deploy.backends.base import Backend

__all__ = ["open_backend"]


def open_backend(tree: settings.Settings) -> Backend:
    """Open the backend that the settings name.

    Raises
    ------
    ClusterProblem
        No cluster can be found, or it lacks what the settings name.
    """
    if tree.rollout.backend == "local":
        from deploy.backends.local import LocalBackend

        return LocalBackend(tree.routing_path)
    from deploy.backends import cluster

    return cluster.connect(tree)
