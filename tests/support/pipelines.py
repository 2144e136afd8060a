"""Read pipelines of GitHub and GitLab, and find what is wrong with them by rules of our own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import yaml

from tests.support import command_words

Job: TypeAlias = dict[str, Any]
GRANTS = {"contents": {"read", "none"}, "id-token": {"write", "none"}}
"""What a job may be allowed to do."""
NOT_JOBS = frozenset({"stages", "variables", "workflow", "default", "include"})
_ACTION = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
_SECRET = re.compile(r"(?i)secret|passw|token|credential|access_key")
_GROUP = re.compile(r"[a-z.-]*(k8s|kubernetes)\.io/")
"""Of an API or a label in a cluster, which is nobody's address."""
_HOST = re.compile(r"\b[a-z0-9-]+(\.[a-z0-9-]+)*\.(io|com|org|net|dev)/")


def load(text: str) -> dict[str, Any]:
    """Read a pipeline; `on` stays a word, where YAML 1.1 makes a truth of it."""
    loaded = yaml.safe_load(text)
    return {"on" if name is True else name: value for name, value in loaded.items()}


def github(text: str) -> list[str]:
    """Say what is wrong with a workflow."""
    found = load(text)
    jobs: dict[str, Job] = found.get("jobs", {})
    said = [*_host_names(text), *_needs(jobs), *_grants("the workflow", found)]
    said += [f"{name}: {one}" for name, job in jobs.items() for one in _github_job(job)]
    said += _variables(found.get("env", {}))
    return said if jobs and "on" in found else [*said, "nothing starts it, or it does nothing"]


def gitlab(text: str) -> list[str]:
    """Say what is wrong with a pipeline."""
    found = load(text)
    jobs = {name: job for name, job in found.items() if name not in NOT_JOBS}
    run = {name: job for name, job in jobs.items() if not name.startswith(".")}
    said = [*_host_names(text), *_needs(run), *_variables(found.get("variables", {}))]
    for name, job in run.items():
        if job.get("stage") not in found.get("stages", []):
            said.append(f"{name}: no such stage")
        if "extends" in job and job["extends"] not in jobs:
            said.append(f"{name}: it extends what is not there")
        image = {**jobs.get(job.get("extends", ""), {}), **job}.get("image", "")
        named = image["name"] if isinstance(image, dict) else image
        said += [f"{name}: {one}" for one in _image(named)]
        said += [f"{name}: {one}" for one in _script("\n".join(job.get("script", [])))]
        said += _variables(job.get("variables", {}))
    return said


def _github_job(job: Job) -> Iterator[str]:
    if not re.fullmatch(r"ubuntu-\d\d\.\d\d", str(job.get("runs-on", ""))):
        yield "its machine has no version"
    if "timeout-minutes" not in job:
        yield "it may run for hours"
    if "permissions" in job:
        yield from _grants("it", job)
    yield from _variables(job.get("env", {}))
    for step in job.get("steps", []):
        action, script = step.get("uses"), step.get("run", "")
        if action and not _ACTION.fullmatch(action):
            yield f"{action} is not pinned to a commit; whoever owns it can move a tag"
        if "${{" in script:
            yield "a script holds an expression; hand it over in env, where it is only text"
        yield from _script(script)
        yield from _variables(step.get("env", {}))


def _grants(who: str, element: Mapping[str, Any]) -> Iterator[str]:
    granted = element.get("permissions")
    if not isinstance(granted, dict):
        yield f"{who} has every permission, or all of a kind"
        return
    for name, level in granted.items():
        if level not in GRANTS.get(name, {"none"}):
            yield f"{who} may {level} {name}"


def _script(script: str) -> Iterator[str]:
    for words in command_words.in_script(script):
        if complaint := command_words.complaint(words):
            yield complaint


def _variables(variables: Mapping[str, Any]) -> Iterator[str]:
    for name, value in variables.items():
        if _SECRET.search(name) and not str(value).startswith(("${{ secrets.", "$")):
            yield f"{name}: a secret in the file"


def _image(image: str) -> Iterator[str]:
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    if not tag or tag == "latest":
        yield f"image {image!r} has no tag of its own"


def _host_names(text: str) -> Iterator[str]:
    lines = "\n".join(line.partition("# ")[0] for line in text.splitlines())
    if host := _HOST.search(_GROUP.sub("", lines)):
        yield f"{host[0]} is a host's name; let it be set"


def _needed(needs: str | list[str | dict[str, Any]]) -> Iterator[str]:
    for one in [needs] if isinstance(needs, str) else needs:
        yield one["job"] if isinstance(one, dict) else one


def _needs(jobs: dict[str, Job]) -> Iterator[str]:
    needs = {name: set(_needed(job.get("needs", []))) for name, job in jobs.items()}
    for name, wanted in needs.items():
        yield from (f"{name}: it needs {one}, which there is not" for one in wanted - set(jobs))
    while free := {name for name, wanted in needs.items() if not wanted & set(needs)}:
        needs = {name: wanted for name, wanted in needs.items() if name not in free}
    if needs:
        yield f"they need each other: {', '.join(sorted(needs))}"
