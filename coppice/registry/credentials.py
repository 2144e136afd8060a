"""Who we are to an S3-compatible store: found where every program looks, and nowhere else.

In this order: the variables `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; the token file of a
pod's identity (`AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`); the shared file
`~/.aws/credentials` with `AWS_PROFILE`; the service of the container
(`AWS_CONTAINER_CREDENTIALS_FULL_URI`). Nothing is read from coppice.toml, and nothing is logged.
"""

from __future__ import annotations

import configparser
import datetime as dt
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias
from xml.etree import ElementTree as ET

import httpx
import msgspec

from coppice import errors
from coppice.registry.signing import Credentials

TIMEOUT_SECONDS = 10.0
_HOW = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE and ~/.aws/credentials, or "
    "give the pod an identity"
)
Source: TypeAlias = Callable[[Mapping[str, str], str], Credentials | None]


class _Served(msgspec.Struct, frozen=True, rename={"key": "AccessKeyId"}):
    """What the service of a container answers."""

    key: str
    secret: str = msgspec.field(name="SecretAccessKey")
    token: str = msgspec.field(name="Token")
    expires: dt.datetime = msgspec.field(name="Expiration")


def find(variables: Mapping[str, str], *, region: str) -> Credentials:
    """Return the credentials of the first source that has some.

    Parameters
    ----------
    variables
        The environment.
    region
        Of the service that gives credentials for a pod's identity.

    Raises
    ------
    RegistryProblem
        No source has any, or one that is named cannot be used.
    """
    sources: tuple[Source, ...] = (_from_variables, _from_identity, _from_file, _from_container)
    for source in sources:
        try:
            found = source(variables, region)
        except (httpx.HTTPError, OSError, ET.ParseError, configparser.Error) as cause:
            message = f"credentials could not be read ({type(cause).__name__}); {_HOW}"
            raise errors.RegistryProblem(message) from cause
        except msgspec.MsgspecError as cause:
            message = "the container's service answers with no credentials; ask its operator"
            raise errors.RegistryProblem(message) from cause
        if found is not None:
            return found
    message = f"there are no credentials for the store; {_HOW}"
    raise errors.RegistryProblem(message)


def _from_variables(variables: Mapping[str, str], region: str) -> Credentials | None:
    del region
    key, secret = variables.get("AWS_ACCESS_KEY_ID"), variables.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret:
        return None
    return Credentials(key, secret, variables.get("AWS_SESSION_TOKEN", ""))


def _from_file(variables: Mapping[str, str], region: str) -> Credentials | None:
    del region
    named = variables.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
    path = Path(named).expanduser()
    if not path.is_file():
        return None
    # Without interpolation: a secret may hold a per cent sign.
    parser = configparser.RawConfigParser()
    parser.read_string(path.read_text(encoding="utf-8"))
    profile = variables.get("AWS_PROFILE", "default")
    if not parser.has_option(profile, "aws_access_key_id"):
        if "AWS_PROFILE" not in variables:
            return None
        message = f"{path} has no keys for the profile {profile!r}; set AWS_PROFILE to one it has"
        raise errors.RegistryProblem(message)
    section = parser[profile]
    return Credentials(
        section["aws_access_key_id"],
        section.get("aws_secret_access_key", ""),
        section.get("aws_session_token", ""),
    )


def _from_identity(variables: Mapping[str, str], region: str) -> Credentials | None:
    file, role = variables.get("AWS_WEB_IDENTITY_TOKEN_FILE"), variables.get("AWS_ROLE_ARN")
    if not file or not role:
        return None
    address = variables.get("AWS_ENDPOINT_URL_STS") or f"https://sts.{region}.amazonaws.com"
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": variables.get("AWS_ROLE_SESSION_NAME", "coppice"),
        "WebIdentityToken": Path(file).read_text(encoding="utf-8").strip(),
    }
    answer = httpx.post(address, data=form, timeout=TIMEOUT_SECONDS).raise_for_status()
    tree = ET.fromstring(answer.text)  # noqa: S314 - the service that we trust with our identity
    texts = {re.sub(r"\{.*\}", "", node.tag): node.text or "" for node in tree.iter()}
    if "SecretAccessKey" not in texts:
        message = f"{address} gave no credentials for {role}; ask who manages that role"
        raise errors.RegistryProblem(message)
    return Credentials(
        texts["AccessKeyId"],
        texts["SecretAccessKey"],
        texts["SessionToken"],
        dt.datetime.fromisoformat(texts["Expiration"]).timestamp(),
    )


def _from_container(variables: Mapping[str, str], region: str) -> Credentials | None:
    del region
    address = variables.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if not address:
        return None
    file = variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    token = Path(file).read_text(encoding="utf-8").strip() if file else ""
    headers = {"Authorization": token} if token else {}
    answer = httpx.get(address, headers=headers, timeout=TIMEOUT_SECONDS).raise_for_status()
    served = msgspec.json.decode(answer.content, type=_Served)
    return Credentials(served.key, served.secret, served.token, served.expires.timestamp())
