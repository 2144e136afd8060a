"""What a request costs a monitor, by part: what members of a group share, and what one must do.

Run it as `make bench-monitors` (a few seconds). CPU times of one process over requests with a
mirrored answer each and a label for every other, inputs of 4 KiB and 25 features; reading from the
log or from Kafka is not in them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from coppice import artifact, records, settings
from monitoring import drift, facts, fold, intake, knowledge, shard, state, watch

MODEL, STABLE, CANDIDATE = "tiny", "tiny:aaaaaaaaaaaa", "tiny:bbbbbbbbbbbb"
REQUESTS = 8000
BATCH = 500
ROUNDS = 5
S = TypeVar("S")
T = TypeVar("T")


class Known:
    """Knows every version, and has no reference: drift is not what is measured."""

    def manifest(self, version: str) -> artifact.Manifest:
        """Return the same for every version."""
        del version
        return artifact.Manifest(
            name=MODEL,
            task="multiclass",
            classes=tuple("abcdefghij"),
            inputs=(artifact.TensorSpec("x", "float32", (8, 128)),),
            accepted=0.9,
            accepted_rows=1000,
            created_at=0.0,
        )

    def look(self, version: str, features: knowledge.FeatureRows) -> None:
        """Return nothing: there is no reference."""

    def beside(
        self,
        version: str,
        features: knowledge.FeatureRows,
        look: drift.DriftLook,
        seen: Mapping[str, int],
    ) -> watch.Beside:
        """Return nothing found."""
        del version, features, look, seen
        return watch.Beside()

    def slice_look(self, version: str, name: str, features: knowledge.FeatureRows) -> None:
        """Return nothing: there is no reference."""

    def label_look(self, version: str, targets: Sequence[float]) -> None:
        """Return nothing: there is no reference."""


def events(count: int) -> list[records.Event]:
    """Make requests that are answered twice, and half of them labelled."""
    random = np.random.default_rng(0)
    pack = records.Tensor.of
    found: list[tuple[float, records.Record]] = [(1.0, _started())]
    for number in range(count):
        name, now = records.uuid7(), 2.0 + 0.001 * number
        scores = random.random((1, 10), dtype=np.float32)
        # One in twenty gets another answer.
        other = random.random((1, 10), dtype=np.float32) if number % 20 == 0 else scores
        found.append((now, _prediction(name, scores, random)))
        mirrored = records.Shadow(
            request_id=name,
            model=MODEL,
            version=CANDIDATE,
            role="candidate",
            against=STABLE,
            outputs={"scores": pack(other)},
            agrees=(True,),
        )
        found.append((now + 0.0003, mirrored))
        if number % 2:
            given = (int(scores.argmax()),)
            label = records.Feedback(request_id=name, model=MODEL, labels=given, labelled_at=now)
            found.append((now + 0.0006, label))
    return [records.seal(record, source="bench", now=now) for now, record in found]


def _started() -> records.Rollout:
    return records.Rollout(
        model=MODEL,
        stage="shadow",
        champion=STABLE,
        candidate=CANDIDATE,
        outcome="started",
        reason="",
    )


def _prediction(
    name: str, scores: npt.NDArray[np.float32], random: np.random.Generator
) -> records.Prediction:
    pack = records.Tensor.of
    return records.Prediction(
        request_id=name,
        model=MODEL,
        version=STABLE,
        lane="stable",
        propensity=1.0,
        key_hash="k",
        slices={"pen": "ink"},
        inputs={"x": pack(random.random((1, 8, 128), dtype=np.float32))},
        features=pack(random.random((1, 25), dtype=np.float32)),
        outputs={"scores": pack(scores)},
        latency_seconds=0.001,
    )


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the microseconds of CPU a request, and what was made."""
    began = time.process_time()
    made = work()
    return (time.process_time() - began) / REQUESTS * 1e6, made


def each(take: Callable[[S], None], given: list[S]) -> None:
    """Let everything be taken in."""
    for item in given:
        take(item)


def once(found: list[records.Event], tree: settings.Settings) -> dict[str, float]:
    """Measure every part once."""
    alone = intake.Intake(state.State.empty(tree), tree, Known())
    known = state.State.empty(tree)
    scorings = knowledge.Scorings(Known())
    part = shard.Shard(known.requests, {}, tree, scorings)
    whole = fold.Fold(known, tree, Known(), scorings)
    single, _ = timed(lambda: each(alone.take, found))
    sharded, told = timed(lambda: [fact for fact in map(part.take, found) if fact is not None])
    starts = range(0, len(told), BATCH)
    encoding, sent = timed(lambda: [facts.encode(told[at : at + BATCH]) for at in starts])
    decoding, got = timed(lambda: [fact for batch in sent for fact in facts.decode(batch)])
    folding, _ = timed(lambda: each(whole.take, got))
    return {
        "single": single,
        "shard": sharded,
        "encode": encoding,
        "decode": decoding,
        "fold": folding,
        "bytes": sum(map(len, sent)) / REQUESTS,
    }


def main() -> None:
    """Print the least of some rounds."""
    found = events(REQUESTS)
    with tempfile.TemporaryDirectory() as folder:
        tree = settings.Settings(root=Path(folder), project={"name": MODEL, "task": "multiclass"})
        rounds = [once(found, tree) for _ in range(ROUNDS)]
    best = {name: min(measured[name] for measured in rounds) for name in rounds[0]}
    shared = best["shard"] + best["encode"]
    judging = best["decode"] + best["fold"]
    event_bytes = sum(len(event.data) for event in found) / REQUESTS
    lines = [
        f"a single monitor     {best['single']:6.1f} us a request",
        f"  a member           {shared:6.1f} us, of which encoding {best['encode']:.1f}",
        f"  the one that judges{judging:6.1f} us, of which decoding {best['decode']:.1f}",
        f"  judging is {judging / best['single']:.0%} of a single monitor's time",
        f"  facts are {best['bytes']:.0f} bytes a request, its events {event_bytes:.0f}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
