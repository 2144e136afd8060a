"""One version in memory: loaded out of the registry, verified, warmed and checked.

Whatever fails on the way is an error before the version takes its first request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from coppice import artifact, errors, labels, runtime
from coppice.registry import base
from service import batcher, recorder

TOLERANCE = 1e-3
"""Largest difference of a row's scores answered alone and in a batch."""


class Version:
    """One version in memory: its runtime, and the batcher that answers for it."""

    def __init__(self, loaded: runtime.Runtime, answering: batcher.Batcher) -> None:
        self.tag = loaded.tag
        self.manifest = loaded.manifest
        self.runtime = loaded
        self.batcher = answering
        self.task: labels.Task = loaded.manifest.task
        self.closed = False

    def close(self) -> None:
        """Take no more requests; what waits is still answered."""
        self.closed = True
        self.batcher.close()


class Load(Protocol):
    """Brings a version into memory, ready to answer."""

    def __call__(self, tag: str) -> Version:
        """Return the version of this tag.

        Raises
        ------
        CoppiceError
            It cannot be loaded, or does not answer as it should.
        """
        ...


def as_it_is(predict: batcher.Predict) -> batcher.Predict:
    """Put nothing around a model."""
    return predict


class Loader:
    """Loads versions out of the registry: verified, warmed and checked.

    Parameters
    ----------
    registry
        Where versions are.
    limits
        The bounds of each version's batcher.
    threads
        ONNX Runtime threads per version.
    loop
        The event loop that awaits answers.
    metrics
        Counts batches.
    observe
        Put around each version's model.
    """

    def __init__(
        self,
        registry: base.Registry,
        *,
        limits: batcher.Limits,
        threads: int,
        loop: asyncio.AbstractEventLoop,
        metrics: recorder.Recorder,
        observe: Callable[[batcher.Predict], batcher.Predict] = as_it_is,
    ) -> None:
        self._registry = registry
        self._limits = limits
        self._threads = threads
        self._loop = loop
        self._metrics = metrics
        self._observe = observe

    def __call__(self, tag: str) -> Version:
        """Load, warm and check a version."""
        loaded = runtime.Runtime(self._registry.path(tag), threads=self._threads, expected_tag=tag)
        loaded.warm_up()
        check_parity(loaded)
        answering = batcher.Batcher(
            self._observe(loaded.predict),
            limits=self._limits,
            loop=self._loop,
            metrics=self._metrics,
        )
        return Version(loaded, answering)


def check_parity(loaded: runtime.Runtime, rows: int = 4, seed: int = 0) -> None:
    """Check that a row gets one answer, alone or in a batch.

    The runtime itself checks shape and finiteness of each answer.

    Raises
    ------
    ArtifactError
        It gets two.
    """
    probe = _probe(loaded.manifest, rows, seed)
    together = loaded.predict(probe).scores
    alone = [
        loaded.predict({name: array[row : row + 1] for name, array in probe.items()}).scores
        for row in range(rows)
    ]
    if not np.allclose(np.concatenate(alone), together, rtol=TOLERANCE, atol=TOLERANCE):
        message = f"{loaded.tag} answers a row differently alone and in a batch; pack it again"
        raise errors.ArtifactError(message)


def _probe(manifest: artifact.Manifest, rows: int, seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {
        # Small numbers are inside of nearly every input's range, and valid as indices.
        spec.name: draw.integers(0, 2, size=(rows, *spec.shape)).astype(spec.dtype)
        for spec in manifest.inputs
    }
