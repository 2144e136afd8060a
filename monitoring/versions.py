"""What the registry says of versions, read once each: manifests, references, loaded models.

A version never changes, so what was read of it stays true; only a version that is not there (yet)
is looked for again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from coppice import artifact, runtime, settings
from coppice.registry import base as registry_base
from monitoring import drift, knowledge, watch

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
        self._watches: dict[str, watch.Watch] = {}
        self._windows: dict[str, knowledge.FeatureRows] = {}

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

    def look(self, version: str, features: knowledge.FeatureRows) -> drift.DriftLook | None:
        """Compare a full window of features with a version's reference.

        The detector is calibrated on first use, which takes seconds.

        Returns
        -------
        DriftLook or None
            `None` where the version has no reference, or one of other features.
        """
        found = self._watch(version).look(features)
        if found is not None:
            self._windows[version] = features
            while len(self._windows) > LOADED:
                del self._windows[next(iter(self._windows))]
        return found

    def beside(
        self,
        version: str,
        features: knowledge.FeatureRows,
        look: drift.DriftLook,
        seen: Mapping[str, int],
    ) -> watch.Beside:
        """Say what else a window shows whose drift is known; `seen` are requests by slice."""
        return self._watch(version).beside(features, look, seen)

    def slice_look(
        self, version: str, name: str, features: knowledge.FeatureRows
    ) -> drift.DriftLook | None:
        """Compare a slice's window with its rows of the reference; `None` where it has none."""
        return self._watch(version).slice_look(name, features)

    def label_look(self, version: str, targets: Sequence[float]) -> drift.DriftLook | None:
        """Compare a window of labels with the reference's targets; `None` where it has none."""
        return self._watch(version).label_look(np.asarray(targets, dtype=np.float64))

    def picture(self, version: str) -> tuple[drift.Drift, knowledge.FeatureRows] | None:
        """Return the detector and the last window it looked at; `None` before the first."""
        detector, window = self._watch(version).detector, self._windows.get(version)
        return (detector, window) if detector is not None and window is not None else None

    def _watch(self, version: str) -> watch.Watch:
        if version not in self._watches:
            folder = self._registry.path(version)
            self._watches[version] = watch.Watch.of(
                self.manifest(version),
                artifact.load_tensors(folder, artifact.REFERENCE),
                artifact.load_tensors(folder, artifact.MONITORING),
                self._settings,
            )
            while len(self._watches) > LOADED:
                del self._watches[next(iter(self._watches))]
        return self._watches[version]
