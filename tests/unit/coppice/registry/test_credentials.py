from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from coppice import errors
from coppice.registry import credentials

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hidden"}
FILE = """[default]
aws_access_key_id = of-default
aws_secret_access_key = 50%off
[other]
aws_access_key_id = of-other
aws_secret_access_key = b
aws_session_token = c
"""
ROLE = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>of-role</AccessKeyId>
<SecretAccessKey>hidden</SecretAccessKey><SessionToken>token</SessionToken>
<Expiration>2026-11-21T15:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""
CONTAINER = (
    '{"AccessKeyId": "of-pod", "SecretAccessKey": "hidden", "Token": "t",'
    ' "Expiration": "2026-11-21T15:00:00Z"}'
)
THREE = 1795273200.0
"""2026-11-21T15:00:00Z."""


class Service(NamedTuple):
    """A service that gives credentials, and what it was asked."""

    address: str
    asked: list[str]


@pytest.fixture
def service() -> Iterator[Service]:
    """Answers a GET as a container's service does, a POST as the one for identities."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(str(self.headers["Authorization"]))
            self.answer(CONTAINER)

        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.answer(ROLE)

        def answer(self, text: str) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments: object) -> None:
            """Keep quiet."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield Service(f"http://127.0.0.1:{server.server_port}", asked)
    server.shutdown()
    server.server_close()


@pytest.fixture
def shared(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "credentials"
    path.write_text(FILE)
    return {"AWS_SHARED_CREDENTIALS_FILE": str(path)}


@pytest.fixture
def token(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text("who-i-am\n")
    return str(path)


def find(variables: dict[str, str]) -> credentials.Credentials:
    return credentials.find(variables, region="eu-west-1")


def test_variables_come_first(shared: dict[str, str]) -> None:
    assert find({**shared, **KEYS}) == ("key", "hidden", "", None)


def test_a_session_token_goes_with_them() -> None:
    assert find({**KEYS, "AWS_SESSION_TOKEN": "t"}).token == "t"


def test_the_file_is_read_as_it_is(shared: dict[str, str]) -> None:
    assert find(shared) == ("of-default", "50%off", "", None)


def test_a_profile_is_taken_by_its_name(shared: dict[str, str]) -> None:
    assert find({**shared, "AWS_PROFILE": "other"}) == ("of-other", "b", "c", None)


def test_a_profile_that_is_not_there_is_named(shared: dict[str, str]) -> None:
    with pytest.raises(errors.RegistryProblem, match="no keys for the profile 'nobody'"):
        find({**shared, "AWS_PROFILE": "nobody"})


def test_a_pods_identity_is_changed_for_credentials_that_expire(
    service: Service, token: str
) -> None:
    found = find(
        {
            "AWS_WEB_IDENTITY_TOKEN_FILE": token,
            "AWS_ROLE_ARN": "arn:aws:iam::1:role/models",
            "AWS_ENDPOINT_URL_STS": service.address,
        }
    )

    assert found == ("of-role", "hidden", "token", THREE)
    assert "WebIdentityToken=who-i-am" in service.asked[0]


def test_the_service_of_a_container_is_asked_with_its_token(service: Service, token: str) -> None:
    found = find(
        {
            "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": service.address,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": token,
        }
    )

    assert found == ("of-pod", "hidden", "t", THREE)
    assert service.asked == ["who-i-am"]


def test_without_any_it_is_said_where_they_are_looked_for() -> None:
    with pytest.raises(errors.RegistryProblem, match="set AWS_ACCESS_KEY_ID"):
        find({"AWS_SHARED_CREDENTIALS_FILE": "/nowhere"})


def test_a_token_file_that_is_gone_is_a_clear_error() -> None:
    variables = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere", "AWS_ROLE_ARN": "arn"}

    with pytest.raises(errors.RegistryProblem, match="FileNotFoundError"):
        find(variables)
