"""All that watches one version's answers without labels, made of what its artifact holds.

One object for each version, because everything here comes from the same reference: the calibrated
drift detector over all traffic, one of the same columns for each slice that the reference knows,
the ranges, the label-free estimate, and the targets that labels are compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from coppice import artifact, errors, settings
from monitoring import drift, estimate, label_drift, ranges

Tensors: TypeAlias = Mapping[str, npt.NDArray[np.generic]]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]

LEAST_REFERENCE = 20
"""A reference of fewer rows cannot calibrate a detector; drift is then not watched."""
SLICE = "slice."
"""Names of the reference's tensors that mark the rows of a slice begin with this."""


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What else one full window shows, beside its drift; none of it decides anything."""

    violations: ranges.Violations | None = None
    estimate: estimate.Estimate | None = None
    new_slices: dict[str, int] = {}
    """Requests by slice, of slices that the reference has not, though it has others of the kind."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Watch:
    """The detectors of one version; made by `of`."""

    manifest: artifact.Manifest
    chosen: settings.DriftSettings
    detector: drift.Drift | None
    ranges: ranges.Ranges | None
    estimator: estimate.Estimator | None
    targets: Floats
    slices: Mapping[str, drift.Drift] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    """Every slice that the reference has rows of."""

    @classmethod
    def of(
        cls,
        manifest: artifact.Manifest,
        reference: Tensors,
        monitoring: Tensors,
        tree: settings.Settings,
    ) -> Watch:
        """Make the detectors; whatever the artifact lacks is not watched.

        Parameters
        ----------
        manifest
            The version's manifest.
        reference, monitoring
            The tensors of `reference.safetensors` and of `monitoring.safetensors`.
        tree
            The project's settings.

        Raises
        ------
        ArtifactCorrupt
            The reference has other columns than the manifest names.
        """
        features = np.asarray(reference.get("features", np.empty((0, 0))), dtype=np.float64)
        targets = np.asarray(reference.get("targets", np.empty(0)), dtype=np.float64)
        usable = features.ndim == 2 and len(features) >= LEAST_REFERENCE and manifest.features
        if not usable:
            return cls(
                manifest=manifest,
                chosen=tree.drift,
                detector=None,
                ranges=None,
                estimator=None,
                targets=targets,
            )
        if features.shape[1] != len(manifest.features):
            message = f"{manifest.name}: its reference does not have its features; pack it again"
            raise errors.ArtifactCorrupt(message)
        temperature = float(monitoring.get("calibration.temperature", np.ones(1)).flat[0])
        names = manifest.features
        return cls(
            manifest=manifest,
            chosen=tree.drift,
            detector=drift.Drift.calibrate(features, names, tree.drift, seed=tree.project.seed),
            ranges=ranges.Ranges.of(features, names, tree.drift.false_alarm_rate),
            estimator=estimate.Estimator.of(manifest, reference, temperature),
            targets=targets,
            slices=_slices(features, reference, names, tree.drift),
            known=frozenset(n.removeprefix(SLICE) for n in reference if n.startswith(SLICE)),
        )

    def look(self, window: Floats) -> drift.DriftLook | None:
        """Compare a full window of features with the reference; `None` where that cannot be."""
        fits = window.ndim == 2 and window.shape[1] == len(self.manifest.features)
        return self.detector.look(window) if self.detector is not None and fits else None

    def beside(
        self, window: Floats, look: drift.DriftLook, seen: Mapping[str, int] | None = None
    ) -> Beside:
        """Say what else a window shows.

        Parameters
        ----------
        window
            The features [rows, columns].
        look
            How far it drifts.
        seen
            Requests by slice.
        """
        estimated = None
        if self.estimator is not None:
            estimated = self.estimator.look(window, trusted=look.alarmed is False)
        return Beside(
            violations=self.ranges.look(window) if self.ranges is not None else None,
            estimate=estimated,
            new_slices=self._new_slices(seen or {}),
        )

    def slice_look(self, name: str, window: Floats) -> drift.DriftLook | None:
        """Compare a slice's window with the slice's rows of the reference; `None` without any."""
        detector = self.slices.get(name)
        if detector is None or window.shape[1] != len(detector.names):
            return None
        return detector.look(window)

    def label_look(self, targets: Floats) -> drift.DriftLook | None:
        """Compare a window of labels with the reference's targets; `None` without any."""
        if not len(self.targets):
            return None
        rate = self.chosen.false_alarm_rate
        return label_drift.look(self.targets, targets, rate, task=self.manifest.task)

    def _new_slices(self, seen: Mapping[str, int]) -> dict[str, int]:
        kinds = {name.partition("=")[0] for name in self.known}
        return {
            name: count
            for name, count in seen.items()
            if name not in self.known and name.partition("=")[0] in kinds
        }


def _slices(
    features: Floats, reference: Tensors, names: tuple[str, ...], chosen: settings.DriftSettings
) -> dict[str, drift.Drift]:
    masks = {
        name.removeprefix(SLICE): np.asarray(mask).astype(bool)
        for name, mask in reference.items()
        if name.startswith(SLICE) and mask.shape == (len(features),)
    }
    # As many as get windows share the rate, not as many as there are.
    sharers = max(chosen.slices, 1)
    return {
        name: drift.Drift.cautious(features[mask], names, chosen, sharers)
        for name, mask in masks.items()
        if mask.sum() >= LEAST_REFERENCE
    }
