"""Doors in front of librdkafka's mock brokers that ask for TLS and for a password.

The mock brokers can do neither. A door ends TLS, answers the handshake of SASL as Kafka's protocol
says (PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512), and then passes requests and answers on; in answers
the brokers' ports become those of the doors, so that a client never gets past them.

References
----------
Apache Kafka protocol guide, SaslHandshake v1 and SaslAuthenticate v0 and v1; SCRAM: RFC 5802.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import hashlib
import hmac
import ipaddress
import os
import ssl
import struct
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import pytest

_HANDSHAKE, _VERSIONS, _AUTHENTICATE = 17, 18, 36
_WRONG_MECHANISM, _WRONG_PASSWORD = 33, 58
_ROUNDS = 4096
_PAUSE_SECONDS = 0.1


class Certificates(NamedTuple):
    """PEM files: who signs, and what a broker and a client show."""

    authority: Path
    broker: Path
    client: Path

    def context(self, *, ask_client: bool = False) -> ssl.SSLContext:
        """What a door needs to speak TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.broker)
        if ask_client:
            context.load_verify_locations(self.authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def certificates(folder: Path, name: str = "127.0.0.1") -> Certificates:
    """Make an authority, and one certificate of it for a broker's address and one for a client."""
    pytest.importorskip("cryptography", reason="no certificates: nothing was tested with TLS")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = dt.datetime.now(dt.UTC)
    authority = ec.generate_private_key(ec.SECP256R1())

    def signed(title: str, extension: x509.ExtensionType) -> Path:
        key = authority if title == "authority" else ec.generate_private_key(ec.SECP256R1())
        who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, title)])
        signer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
        made = (
            x509.CertificateBuilder(signer, who, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(extension, critical=False)
            .sign(authority, hashes.SHA256())
        )
        path = folder / f"{title}.pem"
        path.write_bytes(
            made.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return path

    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))])
    root = x509.BasicConstraints(ca=True, path_length=None)
    return Certificates(signed("authority", root), signed("broker", address), signed("me", address))


class Doors:
    """One door in front of each broker, on loopback.

    Parameters
    ----------
    servers
        The brokers, `host:port` each.
    tls
        How TLS is spoken; not at all by default.
    users
        Passwords by user name; nobody is asked by default.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        tls: ssl.SSLContext | None = None,
        users: Mapping[str, str] | None = None,
    ) -> None:
        self._behind = [int(server.rpartition(":")[2]) for server in servers]
        self._tls = tls
        self._users = users
        self._ports: dict[int, int] = {}
        self.refused = 0
        """Clients that showed a wrong password."""
        self.admitted = 0
        """Clients that may ask what they like."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10.0)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)
        self._loop.close()

    @property
    def servers(self) -> str:
        """The doors, as the settings name brokers."""
        return ",".join(f"127.0.0.1:{port}" for port in self._ports.values())

    async def _open(self) -> None:
        for port in self._behind:
            door = await asyncio.start_server(
                lambda reader, writer, port=port: self._serve(reader, writer, port),
                "127.0.0.1",
                0,
                ssl=self._tls,
            )
            self._ports[port] = door.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        with contextlib.suppress(OSError, EOFError), contextlib.closing(writer):
            far, out = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(out):
                if self._users is not None and not await self._admit(reader, writer, far, out):
                    self.refused += 1
                    # As brokers do, so that the answer is read before the end.
                    await asyncio.sleep(_PAUSE_SECONDS)
                    return
                self.admitted += 1
                await asyncio.gather(self._pass(reader, out), self._pass(far, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                frame = await _frame(reader)
                for behind, door in self._ports.items():
                    frame = frame.replace(_place(behind), _place(door))
                writer.write(struct.pack(">i", len(frame)) + frame)
                await writer.drain()
        finally:
            writer.close()

    async def _admit(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far: asyncio.StreamReader,
        out: asyncio.StreamWriter,
    ) -> bool:
        """Answer the requests of SASL until it is known who asks; say whether that is a user."""
        mechanism, exchange = "", _Exchange(self._users or {})
        admitted: bool | None = None
        while admitted is None:
            frame = await _frame(reader)
            kind, version, correlation, length = struct.unpack_from(">hhih", frame)
            body = frame[10 + max(length, 0) :]
            answer = struct.pack(">i", correlation)
            if kind == _VERSIONS:
                out.write(struct.pack(">i", len(frame)) + frame)
                answer = await _frame(far)
            elif kind == _HANDSHAKE:
                mechanism = body[2:].decode()
                answer += _offer(mechanism)
            elif kind == _AUTHENTICATE:
                told = exchange.answer(mechanism, body[4:])
                answer += _outcome(told, version)
                admitted = False if told is None else exchange.done or None
            else:
                return False
            writer.write(struct.pack(">i", len(answer)) + answer)
        return admitted


def _offer(wanted: str) -> bytes:
    offered = ["PLAIN", *_HASHES]
    code = 0 if wanted in offered else _WRONG_MECHANISM
    return struct.pack(">hi", code, len(offered)) + b"".join(_short(n.encode()) for n in offered)


def _outcome(told: bytes | None, version: int) -> bytes:
    if told is None:
        answer = struct.pack(">h", _WRONG_PASSWORD) + _short(b"Authentication failed")
    else:
        answer = struct.pack(">hh", 0, -1)
    answer += struct.pack(">i", len(told or b"")) + (told or b"")
    # From version 1 on it says for how long; 0 is for ever.
    return answer + (struct.pack(">q", 0) if version else b"")


_HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}


class _Exchange:
    """The broker's side of finding out who asks."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users
        self._said = b""
        self._user = ""
        self.done = False

    def answer(self, mechanism: str, message: bytes) -> bytes | None:
        """What the client is told; `None` where it may not come in."""
        if mechanism == "PLAIN":
            _, user, password = message.decode().split("\0")
            self.done = True
            return b"" if self._users.get(user) == password else None
        if not self._said:
            return self._first(message)
        return self._last(_HASHES[mechanism], message)

    def _first(self, message: bytes) -> bytes:
        bare = message.removeprefix(b"n,,")
        self._user = dict(part.split("=", 1) for part in bare.decode().split(","))["n"]
        nonce = bare.partition(b",r=")[2] + base64.b64encode(os.urandom(9))
        self._salt = os.urandom(16)
        answer = b"r=%b,s=%b,i=%d" % (nonce, base64.b64encode(self._salt), _ROUNDS)
        self._said = bare + b"," + answer
        return answer

    def _last(self, name: str, message: bytes) -> bytes | None:
        self.done = True
        without, _, proof = message.rpartition(b",p=")
        said = self._said + b"," + without
        password = self._users.get(self._user, os.urandom(8).hex()).encode()
        salted = hashlib.pbkdf2_hmac(name, password, self._salt, _ROUNDS)
        key = hmac.digest(salted, b"Client Key", name)
        signature = hmac.digest(hashlib.new(name, key).digest(), said, name)
        if bytes(a ^ b for a, b in zip(key, signature, strict=True)) != base64.b64decode(proof):
            return None
        server = hmac.digest(hmac.digest(salted, b"Server Key", name), said, name)
        return b"v=" + base64.b64encode(server)


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(length)


def _short(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


def _place(port: int) -> bytes:
    """A broker's host and port, as older answers write them."""
    return _short(b"127.0.0.1") + struct.pack(">i", port)
