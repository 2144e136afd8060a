"""The default registry: BentoML's model store in a home folder of our own, and aliases beside it.

::

    <home>/models/<name>/<id>/     BentoML's layout: our files, and its `model.yaml`
    <home>/aliases.json            which version plays which part, replaced atomically
    <home>/registry.lock           held while aliases move

BentoML's own commands work on it with `BENTOML_HOME=<home>`. The user's `~/bentoml` is never
touched, and no global of BentoML is set: its store class is given our folder.

Only `add` imports BentoML, which takes a third of a second. Looking a version up needs no more than
the layout above, which is that library's documented export layout, so a server starts without it;
an integration test holds our look-ups against BentoML's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from coppice import artifact, errors, files, telemetry
from coppice.registry import base, shelf

SCHEMA = 1


class _Aliases(msgspec.Struct, frozen=True):
    """The content of `aliases.json`: for each name the tag of each alias."""

    schema: int = SCHEMA
    names: dict[str, dict[base.Alias, str]] = {}


class BentoRegistry:
    """Versions in BentoML's model store; safe between threads and between processes.

    Parameters
    ----------
    home
        What BentoML calls its home; made where it is missing.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._models = home / "models"

    def add(self, folder: Path) -> str:
        """Copy a verified artifact into the store and return its tag; see `base.Registry.add`."""
        tag = shelf.add(self._models, self._home / "staging", folder, finish=_describe)
        name, _, newest = self.tags(artifact.read_manifest(folder).name)[0].partition(":")
        files.replace(self._models / name / "latest", newest.encode())
        return tag

    def path(self, tag: str) -> Path:
        """Return the folder of a version; see `base.Registry.path`."""
        return shelf.find(self._models, tag, self.aliases(tag.partition(":")[0]))

    def tags(self, name: str) -> list[str]:
        """Return the tags of all versions of a name, newest first."""
        return shelf.tags(self._models, name)

    def aliases(self, name: str) -> Mapping[base.Alias, str]:
        """Return the tag that each alias in use points at.

        Raises
        ------
        EnvironmentProblem
            The file of aliases cannot be read.
        """
        return self._read().names.get(name, {})

    def point(self, name: str, aliases: Mapping[base.Alias, str | None]) -> None:
        """Move several aliases in one atomic step; see `base.Registry.point`."""
        with self._lock():
            state = self._read()
            now = state.names.get(name, {})
            full = shelf.full_tags(name, aliases, now, shelf.Folders(self._models))
            names = {**state.names, name: shelf.moved(now, full)}
            content = msgspec.json.format(msgspec.json.encode(_Aliases(names=names)))
            files.replace(self._home / "aliases.json", content + b"\n")

    def _read(self) -> _Aliases:
        path = self._home / "aliases.json"
        try:
            state = msgspec.json.decode(path.read_bytes(), type=_Aliases)
        except FileNotFoundError:
            return _Aliases()
        except msgspec.MsgspecError as cause:
            message = (
                f"{path} does not parse ({cause}); restore it, or "
                "remove it: `coppice prune` and `coppice up` set aliases anew"
            )
            raise errors.EnvironmentProblem(message) from cause
        if state.schema != SCHEMA:
            message = f"{path} has schema {state.schema}, this version reads {SCHEMA}; upgrade"
            raise errors.EnvironmentProblem(message)
        return state

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        # The lock goes when the file is closed, also by the death of the process.
        self._home.mkdir(parents=True, exist_ok=True)
        with (self._home / "registry.lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _describe(folder: Path, tag: str) -> None:
    """Write the `model.yaml` that makes a folder one of BentoML's models."""
    telemetry.silence()
    from bentoml._internal.models.model import Model, ModelContext, ModelInfo
    from bentoml._internal.tag import Tag

    manifest = artifact.read_manifest(folder)
    info = ModelInfo(
        tag=Tag.from_str(tag),
        module="",
        labels={"task": manifest.task, "precision": manifest.precision},
        options={},
        metadata={
            "accepted": manifest.accepted,
            "accepted_rows": manifest.accepted_rows,
            "parent": manifest.parent or "",
        },
        context=ModelContext(
            framework_name="onnxruntime",
            framework_versions={"onnxruntime": importlib.metadata.version("onnxruntime")},
        ),
        signatures={},
        api_version="v1",
    )
    Model(Tag.from_str(tag), folder, info, internal=True).flush()  # pyright: ignore[reportCallIssue]
