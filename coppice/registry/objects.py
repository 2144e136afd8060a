"""The few requests to an S3-compatible store that a registry needs, signed and repeated.

Thin on purpose, and without Amazon's own library: that one would weigh more than the rest of the
server's environment, and holds python-dateutil back at a version that others have left. Every
request here may be sent twice without harm, so what fails for the moment is sent again.
"""

from __future__ import annotations

import functools
import hashlib
import os
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self
from xml.etree import ElementTree as ET

import httpx

from coppice import errors
from coppice.registry import credentials, signing

ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.2
"""Longest pause before the second attempt; it doubles with each."""
EARLY_SECONDS = 300.0
"""Credentials are asked for anew so long before they expire."""
_CHUNK = 1 << 20
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_TAKEN = frozenset({409, 412})
_CONDITIONS = frozenset({"if-match", "if-none-match"})


class Options(NamedTuple):
    """Where the bucket is, and how it is reached."""

    bucket: str
    endpoint: str = ""
    """By default Amazon's in the region."""
    region: str = "us-east-1"
    ca_file: Path | None = None
    timeout_seconds: float = 20.0

    @property
    def address(self) -> str:
        """Return the store's address.

        >>> Options("b", region="eu-west-1").address
        'https://s3.eu-west-1.amazonaws.com'
        """
        return self.endpoint or f"https://s3.{self.region}.amazonaws.com"


class Taken(Exception):
    """A conditional write found another state than the one that it was made for."""


class Found(NamedTuple):
    """A small object, and the mark of its state for a conditional write."""

    content: bytes
    etag: str


class _Ask(NamedTuple):
    method: str
    key: str = ""
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes | Path = b""
    digest: str = signing.EMPTY


class Store:
    """A bucket, from which connections are opened; safe between threads.

    Parameters
    ----------
    options
        Which bucket.
    find
        Looks for credentials; called when there are none, or when they are about to expire.
    """

    def __init__(
        self, options: Options, find: Callable[[], signing.Credentials] | None = None
    ) -> None:
        self.options = options
        self._find = find or (lambda: credentials.find(os.environ, region=options.region))
        self._who: signing.Credentials | None = None

    def who(self) -> signing.Credentials:
        """Return credentials that last a while yet."""
        who = self._who
        if who is None or (who.expires is not None and who.expires - time.time() < EARLY_SECONDS):
            self._who = who = self._find()
        return who

    @functools.cached_property
    def trust(self) -> ssl.SSLContext:
        """Whom we believe that a certificate is genuine.

        Raises
        ------
        RegistryProblem
            The file of certificates cannot be read.
        """
        path = self.options.ca_file
        try:
            return ssl.create_default_context(cafile=path)
        except (OSError, ssl.SSLError) as cause:
            message = f"store.ca_file {path} cannot be read ({cause}); it must hold PEM"
            raise errors.RegistryProblem(message) from cause

    def open(self) -> Connection:
        """Open a connection for a `with` block."""
        return Connection(self)


class Connection:
    """Requests to one bucket; see `Store.open`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        options = store.options
        self._base = httpx.URL(options.address)
        self._client = httpx.Client(
            verify=store.trust,
            timeout=options.timeout_seconds,
            headers={"accept-encoding": "identity", "user-agent": "coppice"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def get(self, key: str) -> Found | None:
        """Return a small object, or nothing where there is none."""
        answer = self._ask(_Ask("GET", key))
        return None if answer is None else Found(answer.content, answer.headers.get("etag", ""))

    def holds(self, key: str) -> bool:
        """Whether there is such an object."""
        return self._ask(_Ask("HEAD", key)) is not None

    def digest(self, key: str) -> str | None:
        """Return the digest that `upload` gave an object, or nothing."""
        answer = self._ask(_Ask("HEAD", key))
        return None if answer is None else answer.headers.get("x-amz-meta-sha256")

    def put(self, key: str, content: bytes, *, over: Found | None) -> None:
        """Write a small object where nothing changed since `over` was read.

        Parameters
        ----------
        over
            What is replaced; `None` where there is none yet.

        Raises
        ------
        Taken
            Somebody else wrote it in between, or this very request was carried out before.
        """
        state = {"if-none-match": "*"} if over is None else {"if-match": over.etag}
        digest = hashlib.sha256(content).hexdigest()
        if self._ask(_Ask("PUT", key, {}, state, content, digest)) is None:
            # What was to be replaced is not there any more.
            raise Taken

    def upload(self, key: str, path: Path, digest: str) -> None:
        """Write a file, whose digest the store checks before it shows the object.

        Raises
        ------
        RegistryProblem
            The store, or what stands before it, knows no such address.
        """
        if self._ask(_Ask("PUT", key, {}, {"x-amz-meta-sha256": digest}, path, digest)) is None:
            message = f"{self._base} does not take {key} (HTTP 404); check store.endpoint"
            raise errors.RegistryProblem(message)

    def download(self, key: str, path: Path) -> bool:
        """Read an object into a file; false where there is none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as sink:
            return self._ask(_Ask("GET", key), sink) is not None

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with a prefix."""
        return [text for page in self._pages(prefix, "") for text in _texts(page, "Contents/Key")]

    def folders(self, prefix: str) -> list[str]:
        """Return what comes between a prefix and the next slash, once each."""
        found = [
            text
            for page in self._pages(prefix, "/")
            for text in _texts(page, "CommonPrefixes/Prefix")
        ]
        return [text.removeprefix(prefix).rstrip("/") for text in found]

    def _pages(self, prefix: str, delimiter: str) -> Iterator[ET.Element]:
        query = {"list-type": "2", "prefix": prefix}
        if delimiter:
            query["delimiter"] = delimiter
        token = ""
        while True:
            more = {"continuation-token": token} if token else {}
            answer = self._ask(_Ask("GET", "", query | more))
            if answer is None:
                raise errors.RegistryProblem(self._no_bucket())
            try:
                page = ET.fromstring(answer.content)  # noqa: S314 - expat bounds what it expands
            except ET.ParseError as cause:
                message = f"{self._base} does not answer as S3 does; check store.endpoint"
                raise errors.RegistryProblem(message) from cause
            yield page
            token = "".join(_texts(page, "NextContinuationToken"))
            if not token:
                return

    def _ask(self, ask: _Ask, sink: BinaryIO | None = None) -> httpx.Response | None:
        """Send a request until it is answered; nothing where there is no such object."""
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                pause = FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
                time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - no secret
            try:
                answer = self._send(ask, sink)
            except httpx.TransportError as cause:
                reason = f"{type(cause).__name__}: {cause}"
                continue
            # Whoever asked for no state cannot find another: the store is busy with that object.
            busy = answer.status_code == httpx.codes.CONFLICT and not _CONDITIONS & set(ask.headers)
            if answer.status_code not in _PASSING and not busy:
                return self._judged(answer)
            reason = f"HTTP {answer.status_code}"
        message = (
            f"{self._base} did not carry out {ask.method} {ask.key or 'of the list'} in {ATTEMPTS} "
            f"attempts ({reason}); check store.endpoint and the network"
        )
        raise errors.RegistryProblem(message)

    def _send(self, ask: _Ask, sink: BinaryIO | None) -> httpx.Response:
        path = signing.quote(f"/{self._store.options.bucket}" + (f"/{ask.key}" if ask.key else ""))
        host = self._base.netloc.decode()
        headers = signing.sign(
            signing.Request(ask.method, host, path, ask.query, ask.headers, ask.digest),
            self._store.who(),
            region=self._store.options.region,
            now=time.time(),
        )
        query = f"?{signing.query_string(ask.query)}" if ask.query else ""
        url = self._base.copy_with(raw_path=f"{path}{query}".encode())
        if isinstance(ask.body, Path):
            with ask.body.open("rb") as stream:
                return self._client.request(ask.method, url, headers=headers, content=stream)
        body = ask.body if ask.method == "PUT" else None
        if sink is None:
            return self._client.request(ask.method, url, headers=headers, content=body)
        with self._client.stream(ask.method, url, headers=headers) as answer:
            # An attempt that broke off left its part there.
            sink.seek(0)
            sink.truncate()
            if answer.status_code == httpx.codes.OK:
                for chunk in answer.iter_raw(_CHUNK):
                    sink.write(chunk)
            else:
                answer.read()
            return answer

    def _judged(self, answer: httpx.Response) -> httpx.Response | None:
        status = answer.status_code
        if status < 300:
            return answer
        code = "" if answer.is_stream_consumed and not answer.content else _code(answer.content)
        if status == 404 and code != "NoSuchBucket":
            return None
        if status in _TAKEN:
            raise Taken
        if status == 404:
            raise errors.RegistryProblem(self._no_bucket())
        message = f"{self._base} refuses (HTTP {status} {code}); {self._advice(answer)}"
        raise errors.RegistryProblem(message)

    def _advice(self, answer: httpx.Response) -> str:
        if answer.status_code == httpx.codes.NOT_IMPLEMENTED:
            return "it knows no conditional writes (If-Match), which a registry needs: update it"
        where = answer.headers.get("x-amz-bucket-region")
        if where and where != self._store.options.region:
            return f"set store.region to {where}"
        return "check the credentials, their rights on the bucket, and this machine's clock"

    def _no_bucket(self) -> str:
        bucket = self._store.options.bucket
        return f"{self._base} has no bucket {bucket!r}; make it, or set store.bucket"


def _texts(page: ET.Element, path: str) -> list[str]:
    wanted = "/".join(f"{{*}}{part}" for part in path.split("/"))
    return [node.text or "" for node in page.findall(wanted)]


def _code(content: bytes) -> str:
    try:
        tree = ET.fromstring(content)  # noqa: S314 - expat bounds what it expands
    except ET.ParseError:
        return ""
    return "".join(_texts(tree, "Code"))
