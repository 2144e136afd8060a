from __future__ import annotations

import pytest

from coppice import errors
from coppice.eventlog import base


def test_the_start_lies_behind_no_event() -> None:
    assert base.decode_position(base.START) == 0


def test_a_position_is_a_number_in_digits() -> None:
    assert base.decode_position("42") == 42


@pytest.mark.parametrize("position", ["-1", "+1", " 1", "1e3", "end", "²", "9" * 19])
def test_anything_else_is_refused(position: str) -> None:
    with pytest.raises(errors.EventLogError, match="begin again at the start"):
        base.decode_position(position)
