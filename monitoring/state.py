"""Everything that the monitor knows, as one value made of plain ones.

It is a fold over the event log: the same events give the same state, whoever folds them and in
however many steps (but for the rounding of sums). So a checkpoint of it, with the position in the
log, is all that a restarted monitor needs; see `monitoring.checkpoint`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from coppice import records, settings
from monitoring import drift, join, performance, trials, watch, windows

VERSIONS_KEPT = 8
"""Versions whose windows are kept: champion, candidate, previous, parent, and as many that were."""
TRIALS_KEPT = 4
"""Trials kept; a rolled back candidate's last labels may still come."""
LIVE_KEPT = 2000
"""Unlabelled requests of the sample for live accuracy that are kept for the label queue."""


LOOKS_KEPT = 20
"""Drift windows whose outcome is kept; `drift.sustained` is a smaller number."""
EAGER = 10
"""While the cause of a decay is undecided, so many times the usual labels are asked for."""


Looks: TypeAlias = list[drift.DriftLook]
"""What windows showed, the oldest first."""


class Route(msgspec.Struct, frozen=True):
    """Who plays which part, as the latest rollout event (or else the routing table) says."""

    champion: str
    candidate: str | None = None
    previous: str | None = None


class LiveRequest(msgspec.Struct, frozen=True):
    """A request of the sample for live accuracy that waits for its label."""

    draw: float
    """Keyed hash of the request id in [0, 1): the request is asked for at every rate above it."""
    version: str
    seen_at: float


class DriftSeen(msgspec.Struct):
    """What the drift detector found in the windows of the champion."""

    windows: int = 0
    looks: list[drift.DriftLook] = []
    """What the last windows showed, the newest last."""

    @property
    def ratio(self) -> float:
        """How far the farthest feature of the last window is on its way to its threshold."""
        return (self.looks[-1].ratio or 0.0) if self.looks else 0.0

    def take(self, look: drift.DriftLook) -> None:
        """Take in what one full window showed."""
        self.windows += 1
        self.looks = [*self.looks, look][-LOOKS_KEPT:]


class SliceWatch(msgspec.Struct):
    """The features of one slice of the champion's traffic, window after window."""

    features: windows.FeatureWindow
    drift: DriftSeen = msgspec.field(default_factory=DriftSeen)


class Reign(msgspec.Struct):
    """What is known of the champion since it became one."""

    version: str
    since: float
    """Seconds since 1970 UTC."""
    cusum: performance.ECusum
    features: windows.FeatureWindow
    drift: DriftSeen = msgspec.field(default_factory=DriftSeen)
    beside: watch.Beside | None = None
    """What else the last full window showed."""
    slices: dict[str, SliceWatch] = {}
    """The largest slices, chosen by traffic when the first window is full; they stay."""
    targets: list[float] = []
    """Labels of the window that is being filled."""
    label_drift: DriftSeen = msgspec.field(default_factory=DriftSeen)
    answered: int = 0
    """Rows that it answered in this reign."""
    labelled: int = 0
    """Rows of which the truth came to be known in this reign."""
    scores: list[float] = []
    """Newest scores, not yet in `cusum`."""

    def other_looks(self) -> dict[str, Looks]:
        """Return what was found in windows of labels and of slices, by what they are of."""
        found = {"labels": self.label_drift.looks} if self.label_drift.looks else {}
        return found | {f"slice {name}": kept.drift.looks for name, kept in self.slices.items()}

    def alarm(self) -> performance.ECusum:
        """Return the decay alarm with every score in it.

        Scores are taken in together, because that costs hardly more than taking in one.
        """
        if self.scores:
            self.cusum = self.cusum.extend(self.scores)
            self.scores = []
        return self.cusum


class State(msgspec.Struct):
    """The fold; see the module's docstring."""

    requests: join.Join
    slices: windows.Slices
    window_limit: int
    route: Route | None = None
    reign: Reign | None = None
    recent: dict[str, windows.Window] = {}
    """By version, least recently used first."""
    agreement: dict[str, windows.Agreement] = {}
    """With the dense parent, by version."""
    on_trial: list[trials.Trial] = []
    """Oldest first."""
    live: dict[str, LiveRequest] = {}
    """By request id, oldest first."""
    announced: dict[str, records.Verdict] = {}
    """The latest verdict of ours in the log, by scope and version."""
    events: dict[str, int] = {}
    """Events taken in, by type; `undecodable` for those that could not be read."""

    @classmethod
    def empty(cls, tree: settings.Settings) -> State:
        """Return the state before the first event."""
        return cls(
            requests=join.Join(tree.monitor.join_limit),
            slices=windows.Slices(tree.monitor.slice_limit),
            window_limit=tree.decay.window,
        )

    def window(self, version: str) -> windows.Window:
        """Return a version's window, opening it where there is none."""
        found = self.recent.pop(version, None) or windows.Window(self.window_limit)
        self.recent[version] = found
        if len(self.recent) > VERSIONS_KEPT:
            del self.recent[next(iter(self.recent))]
        return found

    def trial(self, pair: join.Pair) -> trials.Trial | None:
        """Return the trial of a pair of versions, where there is one."""
        return next((trial for trial in self.on_trial if trial.pair == pair), None)

    def current_trial(self) -> trials.Trial | None:
        """Return the trial of the candidate that is being rolled out."""
        if self.route is None or self.route.candidate is None:
            return None
        return self.trial(join.Pair(self.route.champion, self.route.candidate))

    def announced_of(self, scope: str, version: str) -> records.Verdict | None:
        """Return the latest verdict of ours about a version."""
        return self.announced.get(f"{scope} {version}")

    def announce(self, verdict: records.Verdict) -> None:
        """Note a verdict that is in the log."""
        self.forget_announcement(verdict.scope, verdict.version)
        self.announced[f"{verdict.scope} {verdict.version}"] = verdict
        if len(self.announced) > 2 * VERSIONS_KEPT:
            del self.announced[next(iter(self.announced))]

    def forget_announcement(self, scope: str, version: str) -> None:
        """Let the next verdict about a version count as its first."""
        self.announced.pop(f"{scope} {version}", None)
