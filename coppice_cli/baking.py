"""Make a project folder of one version, for images that bring their model along."""

from __future__ import annotations

import shutil
from pathlib import Path

from coppice import errors, routing, settings
from coppice.registry import bento
from coppice_cli import compose, versions


def bake(tree: settings.Settings, folder: Path, wanted: str) -> str:
    """Write a project that serves one version, and return its tag.

    It has the settings, the version and a routing table; no log, no data, no module of the user's.

    Parameters
    ----------
    tree
        The project to bake from.
    folder
        Where to; must not exist.
    wanted
        A tag, an alias, or an id's start.

    Raises
    ------
    EnvironmentProblem
        The folder exists.
    SettingsError
        The project keeps its state elsewhere than below its own folder.
    UnknownVersion
        There is no such version.
    """
    if folder.exists():
        message = f"{folder} exists; remove it, or name another folder"
        raise errors.EnvironmentProblem(message)
    registry = compose.registry_of(tree)
    tag = versions.tag_of(registry, tree.project.name, wanted)
    if not tree.home.is_relative_to(tree.root.resolve()):
        message = f"state lies in {tree.home}; set `[store] home` to a folder of the project"
        raise errors.SettingsError(message)
    folder.mkdir(parents=True)
    shutil.copy2(tree.root / settings.FILE, folder / settings.FILE)
    baked = settings.load(folder)
    # What is baked needs no store: the image reads it with COPPICE_STORE__REGISTRY=bento.
    copied = bento.BentoRegistry(baked.registry_path)
    copied.add(registry.path(tag))
    copied.point(tree.project.name, {"champion": tag})
    table = routing.RoutingTable(model=tree.project.name, champion=tag, generation=1)
    routing.save(baked.routing_path, table)
    return tag
