"""A registry in a folder that several machines share: a volume, or a network drive.

::

    <folder>/models/<name>/<id>/                     a version, whole or not there
    <folder>/aliases/<name>/<number>/aliases.json    a move; the highest number counts

Locks are not to be trusted on every shared file system, so nothing is locked: a version and a move
are put together aside, and appear by the renaming of a folder, of which one writer alone can
succeed. Whoever was second reads what the first one wrote, and tries again.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from coppice import errors
from coppice.registry import aliasing, base, shelf

ATTEMPTS = 20
"""Moves of the same aliases that may come in between before we give up."""
PAUSE_SECONDS = 0.05
KEPT = 100
"""Moves that are kept; older ones are removed."""
_FILE = "aliases.json"


class FolderRegistry:
    """Versions and aliases in a shared folder; safe between threads, processes and machines.

    Parameters
    ----------
    folder
        Made where it is missing, once something is written; those who only read may mount it so.
    """

    def __init__(self, folder: Path) -> None:
        self._models = folder / "models"
        self._moves = folder / "aliases"
        self._staging = folder / "staging"
        self._verifier = shelf.Verifier()

    def add(self, folder: Path) -> str:
        """Copy a verified artifact into the folder; see `base.Registry.add`."""
        return shelf.add(self._models, self._staging, folder)

    def path(self, tag: str) -> Path:
        """Return the folder of a version, its digests checked; see `base.Registry.path`.

        Raises
        ------
        ArtifactCorrupt
            The shared folder has other content than the tag names.
        """
        found = shelf.find(self._models, tag, self.aliases(tag.partition(":")[0]))
        self._verifier.check(found, f"{found.parent.name}:{found.name}")
        return found

    def tags(self, name: str) -> list[str]:
        """Return the tags of all versions of a name, newest first."""
        return shelf.tags(self._models, name)

    def aliases(self, name: str) -> Mapping[base.Alias, str]:
        """Return the tag that each alias in use points at."""
        return self._newest(name)[1].aliases

    def point(self, name: str, aliases: Mapping[base.Alias, str | None]) -> None:
        """Move several aliases in one atomic step; see `base.Registry.point`.

        Raises
        ------
        RegistryProblem
            Others moved them again and again in between.
        """
        move = uuid.uuid4().hex
        for attempt in range(ATTEMPTS):
            number, state = self._newest(name)
            full = shelf.full_tags(name, aliases, state.aliases, shelf.Folders(self._models))
            content = aliasing.encode(shelf.moved(state.aliases, full), move)
            if self._publish(name, number + 1, content, move):
                self._forget(name, number + 1 - KEPT)
                return
            time.sleep(random.uniform(0, PAUSE_SECONDS * (attempt + 1)))  # noqa: S311 - no secret
        message = f"the aliases of {name} were moved by others again and again; try again"
        raise errors.RegistryProblem(message)

    def _numbers(self, name: str) -> list[int]:
        if not shelf.is_name(name):
            return []
        return [int(path.name) for path in (self._moves / name).glob("[0-9]*")]

    def _newest(self, name: str) -> tuple[int, aliasing.State]:
        """Return the number of the last move and what it left; 0 before the first."""
        number = max(self._numbers(name), default=0)
        return number, self._read(name, number) if number else aliasing.State()

    def _read(self, name: str, number: int) -> aliasing.State:
        path = self._moves / name / str(number) / _FILE
        return aliasing.decode(path.read_bytes(), str(path))

    def _publish(self, name: str, number: int, content: bytes, move: str) -> bool:
        """Make a move the one of its number, unless another has that number."""
        target = self._moves / name / str(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._staging.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._staging) as scratch:
            new = Path(scratch) / "move"
            new.mkdir()
            (new / _FILE).write_bytes(content)
            try:
                # A folder that is not empty is never replaced by a rename, on no file system.
                new.rename(target)
            except OSError:
                # A network drive may say no to the repetition of what it has done already.
                if not (target / _FILE).exists() or self._read(name, number).move != move:
                    return False
        if number > 1 and number - 1 not in self._numbers(name):
            # So slow that the move it was made after is forgotten: others have long gone on.
            shutil.rmtree(target, ignore_errors=True)
            return False
        return True

    def _forget(self, name: str, last: int) -> None:
        for number in self._numbers(name):
            if number <= last:
                shutil.rmtree(self._moves / name / str(number), ignore_errors=True)
