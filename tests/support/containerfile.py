"""Read Containerfiles, and find what is wrong with them by rules of our own."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

BASE_PROGRAMS = frozenset({"python", "mkdir", "chown", "rm", "apt-get", "cp", "ln"})
"""What the base image has."""

_SECRET = re.compile(r"(?i)secret|passw|token|credential|private")


@dataclasses.dataclass(frozen=True)
class Step:
    """One instruction: its word in capitals, and the rest on one line."""

    word: str
    text: str
    stage: int


def steps(text: str) -> list[Step]:
    """Return the instructions in order; stages are counted from 0, what is before them is -1."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found: list[Step] = []
    stage = -1
    for line in filter(None, map(str.strip, joined.splitlines())):
        word, _, rest = line.partition(" ")
        stage += word.upper() == "FROM"
        found.append(Step(word.upper(), rest.strip(), stage))
    return found


def arguments(found: list[Step]) -> dict[str, str]:
    """Return the build arguments that have a default, with it."""
    given = (step.text.partition("=") for step in found if step.word == "ARG")
    return {name: default for name, equals, default in given if equals}


def findings(text: str, root: Path) -> list[str]:
    """Say what is wrong with a Containerfile whose context is a folder."""
    found = steps(text)
    return [*_bases(found), *_users(found), *_copies(found, root), *_runs(found), *_others(found)]


def _bases(found: list[Step]) -> Iterator[str]:
    defaults = arguments(found)
    named: set[str] = set()
    for step in found:
        if step.word != "FROM":
            continue
        image, *rest = step.text.split()
        image = re.sub(r"\$\{(\w+)\}", lambda match: defaults.get(match[1], ""), image)
        tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
        if image not in named and (not tag or tag == "latest"):
            yield f"base {image!r} has no tag of its own"
        if "." in image.partition("/")[0] and "/" in image:
            yield f"base {image!r} names a registry"
        if [word.upper() for word in rest[:1]] == ["AS"]:
            named.add(rest[1])


def _users(found: list[Step]) -> Iterator[str]:
    last = found[-1].stage
    users = [step.text for step in found if step.word == "USER" and step.stage == last]
    if not users:
        yield "the last stage sets no USER"
    elif users[-1].partition(":")[0] in {"0", "root"}:
        yield "the image runs as root"


def _copies(found: list[Step], root: Path) -> Iterator[str]:
    named = {step.text.split()[2] for step in found if step.word == "FROM" and " AS " in step.text}
    shown = [
        line.removeprefix("!")
        for line in (root / ".containerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    ]
    for step in found:
        if step.word == "ADD":
            yield "ADD fetches and unpacks; use COPY"
        if step.word != "COPY":
            continue
        words = step.text.split()
        origin = [word.partition("=")[2] for word in words if word.startswith("--from=")]
        sources = [word for word in words if not word.startswith("--")][:-1]
        if origin:
            if origin[0] not in named:
                yield f"COPY --from={origin[0]}: no such stage"
            continue
        for source in sources:
            if not any(fnmatch.fnmatch(source.split("/")[0], pattern) for pattern in shown):
                yield f"COPY {source}: .containerignore hides it"
            elif source != "baked" and not (root / source).exists():
                yield f"COPY {source}: it is not there"


def _runs(found: list[Step]) -> Iterator[str]:
    made: dict[int, set[str]] = {}
    for step in found:
        if step.word != "RUN":
            continue
        here = made.setdefault(step.stage, set())
        for words in commands(step.text):
            program = words[0]
            known = program in BASE_PROGRAMS or any(program.startswith(one) for one in here)
            if program == "sudo":
                yield "sudo has no place in an image"
            elif not known:
                yield f"RUN {program}: nothing before it brings that program"
            if words[:3] == ["python", "-m", "venv"]:
                here.add(f"{words[3]}/bin/")
            if "pip" in words and "install" in words and "--no-cache-dir" not in words:
                yield "pip leaves its cache in the image"
        yield from _apt(step.text)


def _apt(text: str) -> Iterator[str]:
    if "apt-get install" not in text:
        return
    if "/var/lib/apt/lists" not in text:
        yield "the lists of apt stay in the image"
    if "--no-install-recommends" not in text:
        yield "apt installs what nobody asked for"


def commands(text: str) -> list[list[str]]:
    """Return the words of each command of a RUN line.

    >>> commands("mkdir a && rm b")
    [['mkdir', 'a'], ['rm', 'b']]
    """
    return [shlex.split(part) for part in re.split(r"&&|\|\||;", text) if part.strip()]


def _others(found: list[Step]) -> Iterator[str]:
    for step in found:
        if step.word in {"ENTRYPOINT", "CMD"} and not _is_list(step.text):
            yield f"{step.word} is a shell line, which keeps signals from the program"
        if step.word in {"ARG", "ENV"}:
            for name, _, value in (word.partition("=") for word in shlex.split(step.text)):
                if _SECRET.search(name) and value:
                    yield f"{step.word} {name}: a secret in an image is public"
        if re.search(r"https?://(?!127\.0\.0\.1)", step.text):
            yield f"{step.word}: something is fetched from an address"


def _is_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except ValueError:
        return False
