"""What the registry says of versions, read once each: manifests, references, loaded models.

A version never changes, so what was read of it stays true; only a version that is not there (yet)
is looked for again.
"""

from __future__ import annotations

import numpy as np

from coppice import artifact, errors, runtime, settings
from coppice.registry import base as registry_base
from monitoring import drift, intake

LEAST_REFERENCE = 20
"""A reference of fewer rows cannot calibrate a detector; drift is then not watched."""

LOADED = 4
"""Models kept in memory for replay: champion, previous, parent, and one to change over."""


class Versions:
    """Look versions up.

    Parameters
    ----------
    registry
        Where they are.
    tree
        The project's settings.
    """

    def __init__(self, registry: registry_base.Registry, tree: settings.Settings) -> None:
        self._registry = registry
        self._settings = tree
        self._manifests: dict[str, artifact.Manifest] = {}
        self._runtimes: dict[str, runtime.Runtime] = {}
        self._drifts: dict[str, drift.Drift | None] = {}

    def manifest(self, version: str) -> artifact.Manifest:
        """Return a version's manifest.

        Raises
        ------
        UnknownVersion
            It is not in the registry.
        ArtifactError
            Its manifest cannot be read.
        """
        found = self._manifests.get(version)
        if found is None:
            found = artifact.read_manifest(self._registry.path(version))
            self._manifests[version] = found
        return found

    def runtime(self, version: str) -> runtime.Runtime:
        """Load a version, verified, to replay requests through it.

        Raises
        ------
        UnknownVersion
            It is not in the registry.
        ArtifactError
            It cannot be loaded, or was altered.
        """
        found = self._runtimes.pop(version, None)
        if found is None:
            found = runtime.Runtime(self._registry.path(version), expected_tag=version)
        self._runtimes[version] = found
        if len(self._runtimes) > LOADED:
            del self._runtimes[next(iter(self._runtimes))]
        return found

    def look(self, version: str, features: intake.FeatureRows) -> drift.DriftLook | None:
        """Compare a full window of features with a version's reference.

        The detector is calibrated on first use, which takes seconds.

        Returns
        -------
        DriftLook or None
            `None` where the version has no reference, or one of other features.
        """
        if version not in self._drifts:
            self._drifts[version] = self._calibrate(version)
            while len(self._drifts) > LOADED:
                del self._drifts[next(iter(self._drifts))]
        detector = self._drifts[version]
        names = self.manifest(version).features
        if detector is None or features.shape[1] != len(names):
            return None
        return detector.look(features)

    def _calibrate(self, version: str) -> drift.Drift | None:
        names = self.manifest(version).features
        tensors = artifact.load_tensors(self._registry.path(version), artifact.REFERENCE)
        features = tensors.get("features")
        if features is None or features.ndim != 2 or len(features) < LEAST_REFERENCE or not names:
            return None
        if features.shape[1] != len(names):
            message = f"{version}: its reference does not have its features; pack it again"
            raise errors.ArtifactCorrupt(message)
        return drift.Drift.calibrate(
            features.astype(np.float64),
            names,
            self._settings.drift,
            seed=self._settings.project.seed,
        )
