"""Replay: what other versions would have said to the recent labelled requests.

The inputs are read back from the event log, where the server stored them as far as the capture
policy allows; answers come from `coppice.runtime`, the same code that serves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import structlog

from coppice import artifact, errors, labels, records, runtime
from coppice.eventlog import base as eventlog_base
from monitoring import bets, windows
from monitoring.versions import Versions

BATCH_ROWS = 64

_log = structlog.get_logger(__name__)


class Replayed(NamedTuple):
    """Scores on the rows that could be replayed, in the window's order.

    `champion` are the scores of the answers that clients got. A version that could not be replayed
    has an empty array.
    """

    champion: bets.Floats
    others: dict[str, bets.Floats]
    missing: int
    """Rows left out because the log does not hold their inputs."""
    slices: tuple[tuple[str, ...], ...] = ()
    """Slices of each row."""


class Replay:
    """Answer stored requests again.

    Parameters
    ----------
    index
        The event log, by request id.
    versions
        Where the models come from.
    """

    def __init__(self, index: eventlog_base.EventIndex, versions: Versions) -> None:
        self._index = index
        self._versions = versions

    def run(self, window: Sequence[windows.LabelledRow], others: Sequence[str]) -> Replayed:
        """Replay a window of one version's labelled rows through other versions.

        Parameters
        ----------
        window
            The rows, with the scores of the version that answered.
        others
            Tags of the versions to replay through.
        """
        stored = self._stored_inputs(window)
        kept = [row for row in window if row.request_id in stored]
        return Replayed(
            champion=np.array([row.score for row in kept]),
            others={version: self._scores(version, kept, stored) for version in others},
            missing=len(window) - len(kept),
            slices=tuple(row.slices for row in kept),
        )

    def _stored_inputs(
        self, window: Sequence[windows.LabelledRow]
    ) -> dict[str, dict[str, runtime.Array]]:
        found = {}
        for request_id in {row.request_id for row in window}:
            inputs = self._inputs(request_id)
            if inputs:
                found[request_id] = inputs
        return found

    def _inputs(self, request_id: str) -> dict[str, runtime.Array]:
        for event in self._index.find(request_id, records.Prediction):
            record = records.unseal(event)
            if isinstance(record, records.Prediction) and record.error is None:
                return {name: tensor.array() for name, tensor in record.inputs.items()}
        return {}

    def _scores(
        self,
        version: str,
        rows: Sequence[windows.LabelledRow],
        stored: Mapping[str, Mapping[str, runtime.Array]],
    ) -> bets.Floats:
        try:
            model = self._versions.runtime(version)
            batches = [
                _answer(model, rows[start : start + BATCH_ROWS], stored)
                for start in range(0, len(rows), BATCH_ROWS)
            ]
        except (errors.UnknownVersion, errors.ArtifactError, errors.RequestError) as cause:
            _log.warning("replay_failed", version=version, reason=str(cause))
            return np.empty(0)
        return np.concatenate(batches) if batches else np.empty(0)


def _answer(
    model: runtime.Runtime,
    rows: Sequence[windows.LabelledRow],
    stored: Mapping[str, Mapping[str, runtime.Array]],
) -> bets.Floats:
    """Score one batch.

    Raises
    ------
    RequestError
        What is stored are not the inputs that the version takes.
    """
    names = [spec.name for spec in model.manifest.inputs]
    missing = sorted({name for row in rows for name in names if name not in stored[row.request_id]})
    if missing:
        message = f"the log does not hold the inputs {missing}; see `events.capture`"
        raise errors.RequestError(message)
    inputs = {
        name: np.stack([stored[row.request_id][name][row.row] for row in rows]) for name in names
    }
    artifact.check_inputs(model.manifest, inputs)
    answers = model.predict(inputs).scores
    targets = np.array([row.target for row in rows])
    return labels.scores(answers, targets, task=model.manifest.task, scale=model.manifest.scale)
