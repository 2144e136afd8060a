from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import pytest

from coppice import errors


def tree(kind: type[errors.CoppiceError]) -> Iterator[type[errors.CoppiceError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


KINDS = sorted(
    (kind for kind in tree(errors.CoppiceError) if kind.__module__ == errors.__name__),
    key=lambda kind: kind.__name__,
)
DRAWN = {
    match["name"]: match
    for match in re.finditer(
        r"^[│├└─ ]*(?P<name>[A-Z]\w+) *(exit (?P<exit>\d))? *(HTTP (?P<http>\d{3}))?",
        inspect.getdoc(errors) or "",
        flags=re.MULTILINE,
    )
}


def test_the_drawing_shows_every_error_and_no_other() -> None:
    named = {name for name in DRAWN if hasattr(errors, name)}

    assert named == {kind.__name__ for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_the_drawing_tells_the_codes(kind: type[errors.CoppiceError]) -> None:
    drawn = DRAWN[kind.__name__]

    # A code that is not drawn is the parent's.
    assert drawn["exit"] in {None, str(kind.exit_code)}
    assert drawn["http"] in {None, str(kind.http_status)}


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_without_a_message_explains_itself(kind: type[errors.CoppiceError]) -> None:
    message = str(kind())

    assert message == inspect.getdoc(kind)
    assert message.endswith(".")


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_kept_as_it_is_given(kind: type[errors.CoppiceError]) -> None:
    assert str(kind("what and what to do")) == "what and what to do"


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_caught_as_ours(kind: type[errors.CoppiceError]) -> None:
    with pytest.raises(errors.CoppiceError):
        raise kind


@pytest.mark.parametrize(
    ("kind", "exit_code", "http_status"),
    [
        (errors.CoppiceError, 1, 500),
        (errors.SettingsError, 2, 500),
        (errors.ProjectError, 2, 500),
        (errors.ArtifactError, 3, 503),
        (errors.ArtifactCorrupt, 3, 503),
        (errors.UnknownVersion, 3, 404),
        (errors.GateRefused, 4, 500),
        (errors.EventLogError, 5, 503),
        (errors.LogFull, 5, 507),
        (errors.UndecodableEvent, 5, 503),
        (errors.PruningError, 6, 500),
        (errors.RolloutError, 7, 409),
        (errors.EnvironmentProblem, 8, 500),
        (errors.RequestError, 1, 400),
        (errors.UnknownModel, 1, 404),
        (errors.UnknownRequest, 1, 404),
        (errors.RepeatedFeedback, 1, 409),
        (errors.BodyTooLarge, 1, 413),
        (errors.Overloaded, 1, 429),
        (errors.NotReady, 1, 503),
    ],
)
def test_exit_codes_and_statuses_are_promises(
    kind: type[errors.CoppiceError], exit_code: int, http_status: int
) -> None:
    assert (kind.exit_code, kind.http_status) == (exit_code, http_status)
