"""A job of offline scoring on the disk: what it is, and which of its parts are done.

::

    OUTPUT.partial/job.json          what was asked; compared when a job is resumed
    OUTPUT.partial/lock              held by the process that works on it
    OUTPUT.partial/part-000000       rows scored, in the output's form
    OUTPUT.partial/part-000000.json  written last: from then on the part is done

A part is done or it is not: its files are replaced in one step each, the mark behind the content.
So whatever is killed, no row is lost and none is there twice; what was under way is scored again.
The output itself takes its name in one step at the end: nobody ever sees half of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, Self, TypeAlias

import msgspec

from coppice import errors, files

OnError: TypeAlias = Literal["stop", "skip"]

JOB = "job.json"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, and by which version it is answered."""

    id: str
    """Names the job's events."""
    input: str
    size: int
    """Bytes of the input file."""
    modified_ns: int
    """When the input file was last written, nanoseconds since 1970 UTC."""
    asked: str
    """The version as it was asked for: a tag, or an alias."""
    version: str
    """Its tag when the job began; a resumed job keeps it, wherever the alias points now."""
    columns: dict[str, list[str]]
    id_name: str | None
    batch_rows: int
    part_rows: int
    on_error: OnError
    log: bool


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part that is done."""

    rows: int
    share: float
    """Share of the input that is read, with this part."""
    wrong: list[tuple[int, str]] = []
    """Rows of the input that were passed over, with the reason."""


_LET = {"id", "version"}
"""What may differ between a job and the one that resumes it."""


class Work:
    """The folder of a job, held by this process.

    Attributes
    ----------
    job
        The job, as it was begun.
    parts
        What is done.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        self._folder = folder
        self.job = job
        self.parts = list(_done(folder))

    @classmethod
    @contextlib.contextmanager
    def opened(cls, output: Path, job: Job, *, overwrite: bool) -> Iterator[Self]:
        """Begin a job, or go on with it where it was begun before.

        Parameters
        ----------
        output
            The file that the job will write.
        job
            What is asked for.
        overwrite
            Whether an output that is there may be replaced, and another job's parts thrown away.

        Raises
        ------
        InputError
            The output is there already, or the parts that are there are another job's.
        EnvironmentProblem
            Another process works on it, or the disk is full.
        """
        folder = output.with_name(f"{output.name}.partial")
        with _writing(output):
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "lock").open("w") as held:
                _hold(held, output)
                begun = _begun(folder, job, overwrite=overwrite)
                if begun is None:
                    if output.exists() and not overwrite:
                        shutil.rmtree(folder)
                        message = f"{output} exists; name another file, or say --overwrite"
                        raise errors.InputError(message)
                    _clear(folder)
                files.replace(folder / JOB, msgspec.json.encode(begun or job))
                yield cls(folder, begun or job)

    def path(self, number: int) -> Path:
        """Return the file of a part."""
        return self._folder / f"part-{number:06d}"

    def commit(self, content: bytes, done: Part) -> None:
        """Write the next part; it is done when this returns."""
        path = self.path(len(self.parts))
        files.replace(path, content)
        files.replace(path.with_name(f"{path.name}.json"), msgspec.json.encode(done))
        self.parts.append(done)

    def finish(self, made: Path, output: Path) -> None:
        """Give a finished file its name, then remove the folder."""
        made.replace(output)
        # Renamed first: what is left of a folder that loses its files is nobody's job.
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f"{output.name}.") as gone:
            self._folder.rename(Path(gone) / "parts")

    @property
    def scratch(self) -> Path:
        """A file on the output's disk, to put the output together in."""
        return self._folder / "whole"


def _done(folder: Path) -> Iterator[Part]:
    for number in itertools.count():
        mark = folder / f"part-{number:06d}.json"
        if not mark.exists():
            return
        yield msgspec.json.decode(mark.read_bytes(), type=Part)


def _begun(folder: Path, job: Job, *, overwrite: bool) -> Job | None:
    """Return the job that was begun in a folder, if it is this one."""
    try:
        begun = msgspec.json.decode((folder / JOB).read_bytes(), type=Job)
        if begun.on_error == "stop":
            # Nothing was passed over so far: what is done fits a job that skips as well.
            begun = msgspec.structs.replace(begun, on_error=job.on_error)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError:
        begun = None
    differing = [
        name
        for name in Job.__struct_fields__
        if name not in _LET and (begun is None or getattr(begun, name) != getattr(job, name))
    ]
    if begun is not None and not differing:
        return begun
    if overwrite:
        return None
    message = (
        f"{folder} holds the parts of another job, which differs in {', '.join(differing)}; "
        "finish that one, or throw its parts away with --overwrite"
    )
    raise errors.InputError(message)


def _clear(folder: Path) -> None:
    # The job goes first: parts without one are nobody's.
    (folder / JOB).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.name != "lock":
            path.unlink()


def _hold(held: IO[str], output: Path) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as cause:
        message = f"another process is writing {output}; wait for it, or name another file"
        raise errors.EnvironmentProblem(message) from cause


@contextlib.contextmanager
def _writing(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        message = f"{output} cannot be written: {cause}; what is done is kept, run it again"
        raise errors.EnvironmentProblem(message) from cause
