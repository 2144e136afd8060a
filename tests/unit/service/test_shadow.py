"""Mirrored copies: what is stored of them, and what is dropped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from prometheus_client import registry

from coppice import clock, records, runtime
from coppice.testing import MemoryLog
from service import batcher, outbox, recorder, shadow, versions
from tests.support import artifacts, serving


class Setting:
    """A Shadows on its own, with a log that is filled at once."""

    def __init__(self, *, queue: int = 100, busy: Callable[[], bool] = lambda: False) -> None:
        self.log = MemoryLog()
        self.metrics = registry.CollectorRegistry()
        metrics = recorder.Recorder(self.metrics)
        time = clock.SystemClock()
        self.outbox = outbox.Outbox(
            self.log, loop=asyncio.get_running_loop(), metrics=metrics, time=time, limit=1000
        )
        self.shadows = shadow.Shadows(
            self.outbox,
            limits=batcher.Limits(rows=8, queue=queue),
            busy=busy,
            source="test",
            metrics=metrics,
            time=time,
        )

    def counted(self, outcome: str, role: str = "candidate") -> float:
        labels = {"role": role, "outcome": outcome}
        return self.metrics.get_sample_value("coppice_shadows_total", labels) or 0.0

    def failed(self) -> bool:
        failures = self.metrics.get_sample_value
        return failures("coppice_turn_failures_total", {"loop": "shadow"}) == 1.0

    def stored(self) -> list[records.Shadow]:
        return serving.stored(self.log, records.Shadow)

    def close(self) -> None:
        self.shadows.close(10.0)
        self.outbox.close(10.0)


def run(
    steps: Callable[[Setting], Coroutine[Any, Any, None]], **options: Any
) -> tuple[Setting, list[records.Shadow]]:
    """Run steps against shadows, close them, and return what was stored."""
    found: list[Setting] = []

    async def main() -> None:
        found.append(Setting(**options))
        try:
            async with asyncio.timeout(30.0):
                await steps(found[0])
        finally:
            found[0].close()

    asyncio.run(main())
    return found[0], found[0].stored()


class Gated:
    """A runtime that waits while its gate is shut, and counts its runs."""

    def __init__(self, inner: runtime.Runtime) -> None:
        self.inner = inner
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.sizes: list[int] = []

    def scores(self, inputs: batcher.Inputs) -> runtime.Floats:
        self.entered.set()
        self.gate.wait(30.0)
        self.sizes.append(len(inputs["x"]))
        return self.inner.scores(inputs)


class Idle:
    """A batcher that nobody asks."""

    def close(self) -> None: ...


def version(
    folder: Path, pack: Callable[..., str] = artifacts.linear_classifier
) -> versions.Version:
    pack(folder)
    loaded = versions.Version(runtime.Runtime(folder), cast("batcher.Batcher", Idle()))
    loaded.runtime = cast("runtime.Runtime", Gated(loaded.runtime))
    return loaded


def gated(loaded: versions.Version) -> Gated:
    return cast("Gated", loaded.runtime)


def copy(
    name: str, other: versions.Version | None, x: npt.ArrayLike, scores: npt.ArrayLike
) -> shadow.Copy:
    inputs = {"x": np.atleast_2d(np.asarray(x, dtype=np.float32))}
    return shadow.Copy(
        request_id=name,
        inputs=inputs,
        rows=len(inputs["x"]),
        tag=other.tag if other else "tiny:gone",
        version=other,
        role="candidate",
        against="tiny:1",
        scores=np.atleast_2d(np.asarray(scores, dtype=np.float32)),
    )


YES, NO = [0.1, 0.9], [0.9, 0.1]
"""What the client got."""
UP, DOWN = [1.0] * 4, [-1.0] * 4
"""Rows that the tiny classifier answers with "yes" and "no"."""


def test_a_copy_is_answered_and_compared_row_by_row(tmp_path: Path) -> None:
    other = version(tmp_path)

    async def steps(setting: Setting) -> None:
        setting.shadows.offer(copy("r1", other, [UP, DOWN, UP], [YES, YES, YES]))
        await serving.until(lambda: len(setting.stored()) == 1)

    _, (found,) = run(steps)
    assert (found.request_id, found.version, found.against) == ("r1", other.tag, "tiny:1")
    assert found.agrees == (True, False, True)
    assert found.outputs["scores"].shape == (3, 2)
    assert (found.role, found.error) == ("candidate", None)


def test_values_agree_within_a_tenth_of_the_scale(tmp_path: Path) -> None:
    other = version(tmp_path, artifacts.linear_regressor)
    own = other.runtime.scores({"x": np.ones((3, 4), dtype=np.float32)})
    tenth = 0.1 * other.manifest.scale

    async def steps(setting: Setting) -> None:
        given = own + np.array([0.0, 0.9 * tenth, 1.1 * tenth], dtype=np.float32)
        asked = copy("r1", other, [UP] * 3, [YES])
        setting.shadows.offer(asked._replace(scores=given))
        await serving.until(lambda: len(setting.stored()) == 1)

    _, (found,) = run(steps)
    assert found.agrees == (True, True, False)


def test_copies_that_gathered_run_together_and_get_their_own_rows(tmp_path: Path) -> None:
    other = version(tmp_path)
    gated(other).gate.clear()

    async def steps(setting: Setting) -> None:
        setting.shadows.offer(copy("r0", other, UP, YES))
        await serving.until(gated(other).entered.is_set)
        setting.shadows.offer(copy("r1", other, [UP, DOWN], [YES, NO]))
        setting.shadows.offer(copy("r2", other, DOWN, YES))
        gated(other).gate.set()
        await serving.until(lambda: len(setting.stored()) == 3)

    _, found = run(steps)
    assert [(s.request_id, s.agrees) for s in found] == [
        ("r0", (True,)),
        ("r1", (True, True)),
        ("r2", (False,)),
    ]
    assert gated(other).sizes == [1, 3]


def test_copies_beyond_the_queue_are_dropped_and_counted(tmp_path: Path) -> None:
    other = version(tmp_path)
    gated(other).gate.clear()

    async def steps(setting: Setting) -> None:
        setting.shadows.offer(copy("r0", other, UP, YES))
        await serving.until(gated(other).entered.is_set)
        for number in range(5):
            setting.shadows.offer(copy(f"r{number + 1}", other, UP, YES))
        assert setting.counted("dropped") == 3.0
        gated(other).gate.set()
        await serving.until(lambda: len(setting.stored()) == 3)

    _, found = run(steps, queue=2)
    assert [s.request_id for s in found] == ["r0", "r1", "r2"]


def test_a_shadow_that_fails_is_a_shadow_with_its_error(tmp_path: Path) -> None:
    other = version(tmp_path, artifacts.failing_classifier)

    async def steps(setting: Setting) -> None:
        setting.shadows.offer(copy("r1", other, UP, YES))
        await serving.until(lambda: len(setting.stored()) == 1)

    setting, (found,) = run(steps)
    assert found.error is not None
    assert (found.outputs, found.agrees) == ({}, ())
    assert setting.counted("failed") == 1.0


def test_copies_that_the_version_can_answer_are_not_blamed_for_another(tmp_path: Path) -> None:
    # This one fails on rows whose first number is above zero.
    other = version(tmp_path, artifacts.failing_classifier)
    gated(other).gate.clear()

    async def steps(setting: Setting) -> None:
        setting.shadows.offer(copy("r0", other, DOWN, NO))
        await serving.until(gated(other).entered.is_set)
        setting.shadows.offer(copy("r1", other, DOWN, NO))
        setting.shadows.offer(copy("r2", other, UP, YES))
        gated(other).gate.set()
        await serving.until(lambda: len(setting.stored()) == 3)

    _, found = run(steps)
    assert [s.error is None for s in found] == [True, True, False]


def test_a_version_that_could_not_be_loaded_is_a_failed_shadow() -> None:
    async def steps(setting: Setting) -> None:
        setting.shadows.offer(copy("r1", None, UP, YES))
        await serving.until(lambda: len(setting.stored()) == 1)

    _, (found,) = run(steps)
    assert found.version == "tiny:gone"
    assert "could not be loaded" in str(found.error)


def test_a_version_that_takes_other_inputs_is_a_failed_shadow(tmp_path: Path) -> None:
    other = version(tmp_path)

    async def steps(setting: Setting) -> None:
        setting.shadows.offer(copy("r1", other, [1.0, 2.0], YES))
        await serving.until(lambda: len(setting.stored()) == 1)

    _, (found,) = run(steps)
    assert "expected ['rows', 4]" in str(found.error)


def test_a_version_with_other_classes_is_a_failed_shadow(tmp_path: Path) -> None:
    other = version(tmp_path)

    async def steps(setting: Setting) -> None:
        setting.shadows.offer(copy("r1", other, UP, [0.1, 0.2, 0.7]))
        await serving.until(lambda: len(setting.stored()) == 1)

    _, (found,) = run(steps)
    assert found.error == "answers (1, 2), not (1, 3)"


def test_a_closed_version_answers_no_more_copies(tmp_path: Path) -> None:
    other = version(tmp_path)
    other.close()

    async def steps(setting: Setting) -> None:
        setting.shadows.offer(copy("r1", other, UP, YES))
        await serving.until(lambda: setting.counted("dropped") == 1.0)

    _, found = run(steps)
    assert found == []


def test_while_clients_wait_shadows_wait_a_moment_and_then_run_all_the_same(
    tmp_path: Path,
) -> None:
    other = version(tmp_path)
    asked: list[bool] = []

    def busy() -> bool:
        asked.append(True)
        return True

    async def steps(setting: Setting) -> None:
        setting.shadows.offer(copy("r1", other, UP, YES))
        await serving.until(lambda: len(setting.stored()) == 1)

    run(steps, busy=busy)
    assert len(asked) > 1


def test_at_the_end_what_waits_is_dropped_and_counted(tmp_path: Path) -> None:
    other = version(tmp_path)
    gated(other).gate.clear()

    async def steps(setting: Setting) -> None:
        setting.shadows.offer(copy("r0", other, UP, YES))
        await serving.until(gated(other).entered.is_set)
        setting.shadows.offer(copy("r1", other, UP, YES))
        asyncio.get_running_loop().call_later(0.1, gated(other).gate.set)
        await asyncio.to_thread(setting.shadows.close, 10.0)
        setting.shadows.offer(copy("r2", other, UP, YES))
        assert setting.counted("dropped") == 2.0

    _, found = run(steps)
    assert [s.request_id for s in found] == ["r0"]


def test_an_unforeseen_error_does_not_end_the_thread(tmp_path: Path) -> None:
    other = version(tmp_path)
    broken = copy("r0", other, UP, YES)._replace(inputs=cast("batcher.Inputs", None))

    async def steps(setting: Setting) -> None:
        setting.shadows.offer(broken)
        await serving.until(setting.failed)
        setting.shadows.offer(copy("r1", other, UP, YES))
        await serving.until(lambda: len(setting.stored()) == 1)

    setting, _ = run(steps)
    assert setting.failed()
