"""Signature version 4, by which S3-compatible stores know who asks and that nothing was changed.

Pure: no clock, no network. The algorithm is that of Amazon's "Authenticating Requests: Using the
Authorization Header"; the examples of that page are our tests.
"""

from __future__ import annotations

import hashlib
import hmac
import time
import urllib.parse
from collections.abc import Mapping
from typing import NamedTuple

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY = hashlib.sha256(b"").hexdigest()
"""Digest of a request without a body."""


class Credentials(NamedTuple):
    """Who asks. Never shown: `repr` leaves the secrets out."""

    key: str
    secret: str
    token: str = ""
    expires: float | None = None
    """Unix time from which they are no longer taken; `None` for those that last."""

    def __repr__(self) -> str:
        """Say that there are some."""
        return "Credentials(...)"


class Request(NamedTuple):
    """What is signed."""

    method: str
    host: str
    path: str
    """Quoted already, as it goes over the wire."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    digest: str
    """SHA-256 of the body in hex; the store refuses a body of another."""


def quote(path: str) -> str:
    """Quote the path of an object as signatures want it.

    >>> quote("/a b/c+d")
    '/a%20b/c%2Bd'
    """
    return urllib.parse.quote(path, safe="/-_.~")


def query_string(query: Mapping[str, str]) -> str:
    """Write a query in the one order that signatures know.

    >>> query_string({"prefix": "a/b", "list-type": "2"})
    'list-type=2&prefix=a%2Fb'
    """
    pairs = sorted((_quoted(name), _quoted(value)) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="-_.~")


def sign(request: Request, who: Credentials, *, region: str, now: float) -> dict[str, str]:
    """Return all headers of a request, the signature among them.

    Parameters
    ----------
    request
        Its headers are kept and signed.
    who
        On whose behalf.
    region
        Where the store says that it is.
    now
        Unix time, seconds; stores refuse what is off by more than 15 minutes.
    """
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    headers = {name.lower(): value.strip() for name, value in request.headers.items()}
    headers |= {"host": request.host, "x-amz-date": moment, "x-amz-content-sha256": request.digest}
    if who.token:
        headers["x-amz-security-token"] = who.token
    names = ";".join(sorted(headers))
    lines = [
        request.method,
        request.path,
        query_string(request.query),
        *(f"{name}:{headers[name]}" for name in sorted(headers)),
        "",
        names,
        request.digest,
    ]
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    whole = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = f"{ALGORITHM}\n{moment}\n{scope}\n{whole}"
    signature = hmac.new(_key(who.secret, scope), text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"{ALGORITHM} Credential={who.key}/{scope},SignedHeaders={names},Signature={signature}"
    )
    return headers


def _key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
