"""The table `[serve]` of `coppice.toml`."""

from __future__ import annotations

import os
from pathlib import Path

import pydantic
from pydantic import Field

from coppice.sections import Section


class ServeSettings(Section):
    """The inference endpoint."""

    host: str = "127.0.0.1"
    """Address to listen on; loopback until you decide otherwise."""
    port: int = Field(default=3000, ge=1, le=65535)
    """Port of the inference endpoint."""
    grpc_port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the Open Inference Protocol over gRPC, which then runs beside HTTP; off by default.
    Needs `pip install 'coppice[grpc]'`."""
    workers: int = Field(default=1, ge=1)
    """Server processes."""
    threads: int = Field(default=1, ge=0)
    """ONNX Runtime threads per worker: one suits small models best, large ones gain from several;
    0 takes the cores that each worker has to itself."""
    max_body_bytes: int = Field(default=16 * 2**20, ge=1024)
    """Largest request body, bytes (default 16 MiB)."""
    max_pending_bytes: int = Field(default=256 * 2**20, ge=2**20)
    """Most bytes of large bodies (over 64 KiB) that a worker holds at once, read or half read
    (default 256 MiB); beyond it the answer is 429 with Retry-After. More than `max_body_bytes`."""
    max_batch_rows: int = Field(default=64, ge=1)
    """Most rows that are answered in one run of the model. Batches form only from what waits."""
    max_queue: int = Field(default=512, ge=1)
    """Requests that may wait per version; beyond it the answer is 429 with Retry-After."""
    deadline_seconds: float = Field(default=10.0, gt=0)
    """A request that has waited so long is answered with 503; one whose body has not arrived in as
    long, with 408. A client may ask for less with `x-coppice-timeout`."""
    candidate_timeout_seconds: float = Field(default=1.0, gt=0)
    """A candidate that takes longer is abandoned for that request, and stable answers."""
    latency_objective_seconds: float | None = Field(default=None, gt=0)
    """Requests of the canary lane that take longer count as slow; a candidate that is slow more
    often than `evidence.max_slow_rate` is rolled back. Off by default: what is slow depends on the
    machine."""
    crash_guard: int = Field(default=5, ge=1)
    """After so many candidate failures in a row the canary lane is closed on the spot."""
    shadow_queue: int = Field(default=256, ge=1)
    """Mirrored copies that may wait; further ones are dropped and counted, never the primary."""
    allow_forced_lane: bool = False
    """Whether clients may choose the lane with `x-coppice-lane`."""
    routing_file: Path | None = None
    """Where the routing table lies, relative to coppice.toml; by default `routing.json` in the home
    folder. In a pod, the file of a downward API volume, which is empty until there is a table."""
    initial: str = Field(default="", pattern=r"^([^:@\s]+[:@][^:@\s]+)?$")
    """The version that answers as long as there is no routing table: `name:id`, or an alias as in
    `digits@champion`. By default the registry's champion."""
    routing_key_secret: pydantic.SecretStr = pydantic.SecretStr("coppice")
    """Key of the hash that assigns routing keys to lanes and draws the audit sample. Set your own
    through COPPICE_SERVE__ROUTING_KEY_SECRET where clients are not trusted."""

    @property
    def model_threads(self) -> int:
        """Threads of one run of a model; never more than the machine's cores share out."""
        return self.threads or max(1, (os.cpu_count() or 1) // self.workers)
