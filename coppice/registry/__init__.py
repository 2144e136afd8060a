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
    """Open the registry that `store.registry` names: by default BentoML's model store."""
    store = tree.store
    if store.registry == "s3":
        from coppice.registry import cache, objects, s3

        options = objects.Options(
            bucket=store.bucket,
            endpoint=store.endpoint.rstrip("/"),
            region=store.region,
            ca_file=tree.root / store.ca_file if store.ca_file else None,
            timeout_seconds=store.timeout_seconds,
        )
        kept = cache.Cache(tree.registry_path / "cache", store.cache_bytes)
        return s3.S3Registry(objects.Store(options), store.prefix, kept)
    if store.registry == "folder" and store.folder is not None:
        from coppice.registry import folder

        return folder.FolderRegistry(tree.root / store.folder.expanduser())
    from coppice.registry import bento

    return bento.BentoRegistry(tree.registry_path)
