"""Who may ask the controller for something: whoever knows the token, or is on this machine."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping

from coppice import errors, settings


class Key:
    """Check the bearer token of a request that wants something done.

    The file is read anew each time, so that a token that was replaced counts at once.

    Parameters
    ----------
    tree
        The settings.
    """

    def __init__(self, tree: settings.Settings) -> None:
        rollout = tree.rollout
        self._host = rollout.host
        self._token = rollout.token.get_secret_value()
        self._file = None if rollout.token_file is None else tree.root / rollout.token_file

    def check(self, headers: Mapping[str, str]) -> None:
        """Let a request pass, or refuse it.

        Raises
        ------
        Unauthorized
            The token is missing or wrong.
        Forbidden
            There is no token, and others than this machine could ask; or a web page asks.
        """
        expected = self._expected()
        if expected:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            same = hmac.compare_digest(given.strip().encode(), expected.encode())
            if scheme.lower() != "bearer" or not same:
                raise errors.Unauthorized
            return
        if self._file is not None or not is_loopback(self._host):
            message = (
                f"rollout.host is {self._host}, so others can ask too: set rollout.token, or "
                "rollout.token_file to a file that holds one"
            )
            raise errors.Forbidden(message)
        if "origin" in headers:
            message = "a page in a browser may not steer a rollout; set rollout.token"
            raise errors.Forbidden(message)

    def _expected(self) -> str:
        if self._file is None:
            return self._token
        try:
            return self._file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            # Whoever cannot be known is refused; the path is no secret, but is nobody's business.
            return ""


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
