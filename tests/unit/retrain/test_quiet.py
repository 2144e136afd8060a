from __future__ import annotations

import logging
import warnings

import pytest

from retrain.quiet import quiet


def test_nothing_is_said_inside_the_block_but_errors(caplog: pytest.LogCaptureFixture) -> None:
    talker = logging.getLogger("retrain.test.talker")
    with quiet("retrain.test.talker"):
        warnings.warn("advice", stacklevel=1)
        talker.warning("advice")
        talker.error("an error")
    assert caplog.messages == ["an error"]


def test_loggers_and_warnings_are_as_before_even_after_an_error() -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), list(warnings.filters))

    def fail() -> None:
        with quiet(""):
            logging.getLogger().addHandler(logging.NullHandler())
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert (root.level, root.handlers, warnings.filters) == before
