"""Labels that are probably wrong, by confident learning; the one file that knows cleanlab.

A row is suspect where a model that did not learn from it is confidently of another mind, judged
against how confident that model usually is about each class.

References
----------
Northcutt, Jiang, Chuang, Confident learning: Estimating uncertainty in dataset labels, Journal of
Artificial Intelligence Research 70 (2021), 1373-1411.
"""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np

from coppice.labels import Floats
from retrain.evaluate import rows

MISSING = "install coppice[audit]"


def installed() -> bool:
    """Say whether the extra `audit` is there."""
    return importlib.util.find_spec("cleanlab") is not None


def find(targets: rows.Index, probabilities: Floats) -> rows.Index:
    """Return the rows whose labels are probably wrong, the least likely label first.

    Parameters
    ----------
    targets
        Class indices as labelled [rows].
    probabilities
        Of each class [rows, classes], from a model that did not learn from the row.

    Examples
    --------
    >>> sure = np.repeat([[0.9, 0.1], [0.1, 0.9]], 10, axis=0)
    >>> given = np.repeat([0, 1], 10)
    >>> given[3] = 1
    >>> find(given, sure).tolist()
    [3]
    """
    from cleanlab import filter as issues

    present, compact = np.unique(targets, return_inverse=True)
    if len(present) < 2:
        return np.empty(0, np.int64)
    among = probabilities[:, present].astype(np.float64) + 1e-9
    with warnings.catch_warnings():
        # That a class has few rows is told by the section on data.
        warnings.filterwarnings("ignore", message="May not flag all label issues")
        found = issues.find_label_issues(
            compact,
            among / among.sum(axis=1, keepdims=True),
            filter_by="prune_by_noise_rate",
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
        )
    return np.asarray(found, dtype=np.int64)
