"""The registry: one protocol and its implementations.

What may NOT happen here: loading a model, or deciding which version should play which part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coppice import settings
    from coppice.registry import base

__all__ = ["open_registry"]


def open_registry(tree: settings.Settings) -> base.Registry:
    """Open the registry of a project: BentoML's model store below its home folder."""
    from coppice.registry import bento

    return bento.BentoRegistry(tree.registry_path)
