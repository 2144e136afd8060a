"""Ask the running monitor and the running server, over loopback HTTP, with short patience."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx

from coppice import errors
from coppice_cli import doors

if TYPE_CHECKING:
    from coppice import settings

PATIENCE = httpx.Timeout(10.0, connect=1.0)


def monitor_url(tree: settings.Settings) -> str:
    """Return where the monitor answers."""
    return doors.url(tree.monitor.host, tree.monitor.port)


def server_url(tree: settings.Settings) -> str:
    """Return where the server answers."""
    return doors.url(tree.serve.host, tree.serve.port)


def get(url: str, parameters: Mapping[str, str | int], *, whose: str) -> Any:
    """GET some JSON.

    Raises
    ------
    EnvironmentProblem
        Nobody answers there; the message names the command that starts the process.
    RequestError
        It answers with an error, whose text is passed on.
    """
    return _answer("GET", url, whose, params=dict(parameters))


def post(url: str, body: Mapping[str, Any], *, whose: str) -> Any:
    """POST some JSON; see `get`."""
    return _answer("POST", url, whose, json=dict(body))


def _answer(method: str, url: str, whose: str, **content: Any) -> Any:
    try:
        # Never through a proxy of the environment: these are our own processes.
        with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
            response = client.request(method, url, **content)
    except httpx.TransportError as cause:
        message = f"nobody answers at {url} ({cause}); start it with `coppice {whose}`"
        raise errors.EnvironmentProblem(message) from cause
    if response.is_error:
        message = f"{url} answered {response.status_code}: {_error(response)}"
        raise errors.RequestError(message)
    return response.json()


def _error(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def complaint(url: str) -> str:
    """Return the error with which somebody answers there; empty where all is well, or nobody is."""
    try:
        with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
            response = client.get(url)
    except httpx.TransportError:
        return ""
    return _error(response) if response.is_error else ""


def answers(url: str) -> bool:
    """Say whether somebody answers there without an error."""
    try:
        with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
            return client.get(url).is_success
    except httpx.TransportError:
        return False
