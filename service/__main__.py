"""`python -m service`: the server alone, in the foreground, for images that have no command line.

COPPICE_PROJECT names the project's folder. Where that has no `coppice.toml` yet and COPPICE_BAKED
names a project that an image brought along, that one is copied there first, because a server writes
beside its project and an image is not written.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from coppice import errors, settings
from service import serve

BAKED = "COPPICE_BAKED"
PROJECT = "COPPICE_PROJECT"


def place(project: Path, baked: Path | None) -> None:
    """Copy a baked project to where there is none yet; `coppice.toml` last, as the mark of a whole.

    >>> place(Path(), None)
    """
    if baked is None or (project / settings.FILE).exists():
        return
    shutil.copytree(
        baked, project, dirs_exist_ok=True, ignore=shutil.ignore_patterns(settings.FILE)
    )
    shutil.copy2(baked / settings.FILE, project / settings.FILE)


def main() -> None:
    """Start the server in this process's place, so that signals reach it."""
    project = Path(os.environ.get(PROJECT, "."))
    baked = os.environ.get(BAKED)
    try:
        place(project, Path(baked) if baked else None)
        tree = settings.load(project)
        command = serve.command(tree)
    except errors.CoppiceError as problem:
        sys.stderr.write(f"error: {problem}\n")
        sys.exit(problem.exit_code)
    os.execvpe(command[0], command, serve.environment(tree))  # noqa: S606


if __name__ == "__main__":
    main()
