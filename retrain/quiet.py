"""Silence for libraries that talk about themselves while they work for us."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Keep warnings, and what loggers say below an error, from the terminal inside the block.

    Parameters
    ----------
    names
        Of the loggers; the root logger's is empty.
    """
    talkers = [logging.getLogger(name) for name in names]
    before = [(talker.level, list(talker.handlers)) for talker in talkers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for talker in talkers:
            talker.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for talker, (level, handlers) in zip(talkers, before, strict=True):
                talker.setLevel(level)
                # Its first word to a root logger without a handler would give it one, for good.
                talker.handlers[:] = handlers
