"""Ask an ASGI application in this process, one request at a time, without a network."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from starlette import applications


class Client:
    """Ask like httpx does."""

    def __init__(self, app: applications.Starlette) -> None:
        self._app = app

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Send a GET."""
        return asyncio.run(self._send("GET", path, options))

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Send a POST."""
        return asyncio.run(self._send("POST", path, options))

    async def _send(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path, **options)
