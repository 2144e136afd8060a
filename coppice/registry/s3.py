"""A registry in a bucket of any S3-compatible store, with a cache on this machine.

::

    <prefix>/<name>/files/<id>/...          the files of a version, but for its manifest
    <prefix>/<name>/manifests/<id>.json     its manifest, written last: with it the version appears
    <prefix>/<name>/aliases.json            which version plays which part, compared and set

An id is the digest of its manifest, which holds the digests of the files, so whatever a store or
somebody on the way alters is found when it is read. The store must know conditional writes
(`If-Match`, `If-None-Match`), be strongly consistent, and answer at path-style addresses.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import msgspec

from coppice import artifact, errors
from coppice.registry import aliasing, base, cache, objects, shelf

ATTEMPTS = 20
"""Moves of the same aliases that may come in between before we give up."""
PAUSE_SECONDS = 0.05


class S3Registry:
    """Versions and aliases in a bucket; safe between threads, processes and machines.

    Parameters
    ----------
    store
        The bucket.
    prefix
        What every key begins with; may be empty.
    kept
        Versions on this machine.
    """

    def __init__(self, store: objects.Store, prefix: str, kept: cache.Cache) -> None:
        self._store = store
        self._prefix = f"{prefix}/" if prefix else ""
        self._cache = kept
        self._born: dict[str, float] = {}

    def add(self, folder: Path) -> str:
        """Upload a verified artifact, its manifest last; see `base.Registry.add`.

        An upload that broke off is gone on with: what is there already is not sent again.
        """
        tag = shelf.checked_tag(folder)
        manifest = artifact.verify(folder, tag)
        content = (folder / artifact.MANIFEST).read_bytes()
        with self._open() as bucket:
            there = bucket.manifest(tag)
            if there is not None and bucket.is_whole(tag):
                return tag
            for name, digest in manifest.files.items():
                # Under a manifest that is there something is damaged, so all of it is sent.
                bucket.upload(tag, folder, name, digest, anew=there is not None)
            try:
                bucket.seal(tag, content, over=there)
            except objects.Taken:
                # Another process was faster; its copy is as good, if it is one.
                if not bucket.is_whole(tag):
                    raise errors.RegistryProblem(_busy(tag)) from None
        return tag

    def path(self, tag: str) -> Path:
        """Return the folder of a version in the cache; see `base.Registry.path`.

        A full tag that is in the cache is found without asking the store.

        Raises
        ------
        ArtifactCorrupt
            The store has other content than the tag names.
        """
        if shelf.is_full(tag) and (found := self._cache.kept(tag)) is not None:
            return found
        with self._open() as bucket:
            aliases = bucket.aliases(tag.partition(":")[0])[1].aliases
            full = shelf.resolve(tag, aliases, bucket)
            return self._cache.fill(full, lambda into: bucket.fetch(full, into))

    def tags(self, name: str) -> list[str]:
        """Return the tags of all versions of a name, newest first."""
        with self._open() as bucket:
            return bucket.tags(name)

    def aliases(self, name: str) -> Mapping[base.Alias, str]:
        """Return the tag that each alias in use points at."""
        with self._open() as bucket:
            return bucket.aliases(name)[1].aliases

    def point(self, name: str, aliases: Mapping[base.Alias, str | None]) -> None:
        """Move several aliases in one atomic step; see `base.Registry.point`.

        Raises
        ------
        RegistryProblem
            Others moved them again and again in between.
        """
        move = uuid.uuid4().hex
        with self._open() as bucket:
            for attempt in range(ATTEMPTS):
                found, state = bucket.aliases(name)
                if state.move == move:
                    # The store had carried it out, but its answer was lost.
                    return
                full = shelf.full_tags(name, aliases, state.aliases, bucket)
                content = aliasing.encode(shelf.moved(state.aliases, full), move)
                try:
                    bucket.point(name, content, over=found)
                except objects.Taken:
                    time.sleep(random.uniform(0, PAUSE_SECONDS * (attempt + 1)))  # noqa: S311 - no secret
                else:
                    return
        raise errors.RegistryProblem(_busy(name))

    @contextlib.contextmanager
    def _open(self) -> Iterator[_Bucket]:
        with self._store.open() as connection:
            yield _Bucket(connection, self._prefix, self._born)


class _Bucket:
    """What a bucket holds in our layout, for as long as a connection is open.

    Parameters
    ----------
    connection
        To the store.
    prefix
        What every key begins with.
    born
        When versions were made, as far as it is known; shared, because it never changes.
    """

    def __init__(self, connection: objects.Connection, prefix: str, born: dict[str, float]) -> None:
        self._connection = connection
        self._prefix = prefix
        self._born = born

    def holds(self, tag: str) -> bool:
        """Whether there is such a version."""
        return self._connection.holds(self._sealed_at(tag))

    def names(self) -> list[str]:
        """Return the names that have versions."""
        return self._connection.folders(self._prefix)

    def tags(self, name: str) -> list[str]:
        """Return the tags of all versions of a name, newest first, damaged ones last."""
        if not shelf.is_name(name):
            return []
        keys = self._connection.keys(f"{self._prefix}{name}/manifests/")
        found = {f"{name}:{PurePosixPath(key).stem}" for key in keys}
        for tag in found - set(self._born):
            self._born[tag] = self._created_at(tag)
        return sorted(found, key=lambda tag: (-self._born[tag], tag))

    def aliases(self, name: str) -> tuple[objects.Found | None, aliasing.State]:
        """Return the aliases of a name, and the object that they were read from."""
        if not shelf.is_name(name):
            return None, aliasing.State()
        key = self._aliases_at(name)
        found = self._connection.get(key)
        return found, aliasing.decode(found.content, key) if found else aliasing.State()

    def point(self, name: str, content: bytes, *, over: objects.Found | None) -> None:
        """Replace the aliases that were read as `over`."""
        self._connection.put(self._aliases_at(name), content, over=over)

    def manifest(self, tag: str) -> objects.Found | None:
        """Return what lies where the manifest of a version belongs."""
        return self._connection.get(self._sealed_at(tag))

    def seal(self, tag: str, content: bytes, *, over: objects.Found | None) -> None:
        """Write a version's manifest, with which the version appears."""
        self._connection.put(self._sealed_at(tag), content, over=over)

    def upload(self, tag: str, folder: Path, name: str, digest: str, *, anew: bool) -> None:
        """Write one file of a version, unless it was written before."""
        key = self._file_at(tag, name)
        if anew or self._connection.digest(key) != digest:
            self._connection.upload(key, folder / name, digest)

    def fetch(self, tag: str, into: Path) -> None:
        """Read the files of a version into a folder; the caller verifies them."""
        (into / artifact.MANIFEST).write_bytes(self._sealed(tag))
        for name in artifact.read_manifest(into).files:
            parts = PurePosixPath(name)
            if parts.is_absolute() or ".." in parts.parts:
                message = f"{tag} names a file outside of itself: {name!r}; do not use it"
                raise errors.ArtifactCorrupt(message)
            if not self._connection.download(self._file_at(tag, name), into / name):
                message = f"{tag}: {name} is missing in the store; add the version again"
                raise errors.ArtifactCorrupt(message)

    def is_whole(self, tag: str) -> bool:
        """Whether the store has every byte of a version, found out by reading it."""
        with tempfile.TemporaryDirectory() as scratch:
            try:
                self.fetch(tag, Path(scratch))
                artifact.verify(Path(scratch), tag)
            except errors.ArtifactError:
                return False
        return True

    def _sealed(self, tag: str) -> bytes:
        """Return the manifest's bytes, which are those that the tag names."""
        found = self.manifest(tag)
        content = found.content if found else b""
        if hashlib.sha256(content).hexdigest()[: artifact.ID_LENGTH] != tag.partition(":")[2]:
            message = f"the manifest of {tag} was altered in the store; add the version again"
            raise errors.ArtifactCorrupt(message)
        return content

    def _created_at(self, tag: str) -> float:
        try:
            return msgspec.json.decode(self._sealed(tag), type=artifact.Manifest).created_at
        except (errors.ArtifactError, msgspec.MsgspecError):
            return 0.0

    def _sealed_at(self, tag: str) -> str:
        name, _, identity = tag.partition(":")
        return f"{self._prefix}{name}/manifests/{identity}.json"

    def _file_at(self, tag: str, file: str) -> str:
        name, _, identity = tag.partition(":")
        return f"{self._prefix}{name}/files/{identity}/{file}"

    def _aliases_at(self, name: str) -> str:
        return f"{self._prefix}{name}/aliases.json"


def _busy(what: str) -> str:
    return f"{what} was written by others again and again in between; try again"
