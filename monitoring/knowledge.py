"""What the fold must know of versions besides the events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from coppice import artifact
from monitoring import answers, drift, watch

FeatureRows: TypeAlias = npt.NDArray[np.float32]


class Knowledge(Protocol):
    """What is known of versions; the same answer for the same version, always."""

    def manifest(self, version: str) -> artifact.Manifest:
        """Return a version's manifest; raise `CoppiceError` where there is none."""
        ...

    def look(self, version: str, features: FeatureRows) -> drift.DriftLook | None:
        """Compare a window with the version's reference; `None` where that cannot be done."""
        ...

    def beside(
        self, version: str, features: FeatureRows, look: drift.DriftLook, seen: Mapping[str, int]
    ) -> watch.Beside:
        """Say what else a window shows; `seen` are requests by slice."""
        ...

    def slice_look(self, version: str, name: str, features: FeatureRows) -> drift.DriftLook | None:
        """Compare a slice's window with its part of the reference; `None` where it has none."""
        ...

    def label_look(self, version: str, targets: Sequence[float]) -> drift.DriftLook | None:
        """Compare labels with the reference's targets; `None` where it has none."""
        ...


class Scorings:
    """How the answers of each version are read and scored, made once each.

    Parameters
    ----------
    knowledge
        Where manifests come from.
    """

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._made: dict[str, answers.Scoring] = {}

    def of(self, version: str) -> answers.Scoring:
        """Return a version's rules; raise `CoppiceError` where there is no such version."""
        found = self._made.get(version)
        if found is None:
            found = self._made[version] = answers.Scoring.of(self._knowledge.manifest(version))
        return found
