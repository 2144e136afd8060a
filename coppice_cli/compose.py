"""Where the parts are made: settings, event log, registry and clock, each opened in one place.

Every command takes its parts from here, so that none of them knows which implementation it has.
Heavy libraries are imported in here when a part is asked for, never at start-up.
"""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from coppice.clock import Clock, SystemClock
from coppice_cli import console

if TYPE_CHECKING:
    from coppice import project, settings
    from coppice.eventlog import base as eventlog_base
    from coppice.registry import base as registry_base


def settings_of(folder: Path) -> settings.Settings:
    """Read a project's settings, and warn of `COPPICE_` variables that nothing reads.

    Raises
    ------
    SettingsError
        There are none, or they are not valid.
    """
    from coppice import settings

    tree = settings.load(folder)
    for typo in settings.environment_typos():
        console.err().print(f"[yellow]warning:[/] {typo}")
    return tree


def project_of(tree: settings.Settings) -> project.Project:
    """Import the user's module.

    Raises
    ------
    ProjectError
        It is missing, raises, or lacks one of its two functions.
    """
    from coppice import project

    return project.load(tree)


@contextlib.contextmanager
def event_log(tree: settings.Settings) -> Iterator[eventlog_base.IndexedLog]:
    """Open the event log for the length of a `with` block."""
    from coppice.eventlog import open_log

    log = open_log(tree)
    try:
        yield log
    finally:
        log.close()


def registry_of(tree: settings.Settings) -> registry_base.Registry:
    """Open the registry of versions."""
    from coppice.registry import open_registry

    return open_registry(tree)


def clock() -> Clock:
    """Return the machine's clock."""
    return SystemClock()


def actor() -> str:
    """Name the person at the keyboard, for events that say who wanted something."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user in the password file, as in some containers
        return "unknown"
