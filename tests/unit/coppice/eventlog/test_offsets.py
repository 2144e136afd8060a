from __future__ import annotations

import pytest

from coppice import errors
from coppice.eventlog import base, offsets


def test_offsets_come_back_as_they_were() -> None:
    found = {"b": {"0": 3, "1": 9}, "a": {"2": 1}}

    assert offsets.decode(offsets.encode(found)) == found


def test_the_same_offsets_are_the_same_position() -> None:
    one = offsets.encode({"b": {"1": 2, "0": 1}, "a": {"0": 5}})
    other = offsets.encode({"a": {"0": 5, "7": 0}, "b": {"0": 1, "1": 2}, "c": {"0": 0}})

    assert one == other == '{"a":{"0":5},"b":{"0":1,"1":2}}'


def test_no_offsets_are_the_start() -> None:
    assert offsets.encode({"a": {"0": 0}}) == base.START
    assert offsets.decode(base.START) == {}


@pytest.mark.parametrize("position", ["7", "[]", "x", '{"a":1}'])
def test_a_position_of_another_log_is_refused(position: str) -> None:
    with pytest.raises(errors.EventLogError, match="is not a position"):
        offsets.decode(position)


class TestRewound:
    def test_every_partition_goes_back_but_not_before_its_begin(self) -> None:
        end = offsets.encode({"a": {"0": 9, "1": 2}, "b": {"0": 5}})

        assert offsets.rewound(end, 5) == offsets.encode({"a": {"0": 4}})

    def test_the_start_stays_the_start(self) -> None:
        assert offsets.rewound(base.START, 5) == base.START


class TestReaches:
    END = offsets.encode({"a": {"0": 2, "1": 2}})

    @pytest.mark.parametrize(
        ("position", "reached"),
        [
            ({"a": {"0": 2, "1": 2}}, True),
            ({"a": {"0": 9, "1": 2}, "b": {"0": 1}}, True),
            ({"a": {"0": 9, "1": 1}}, False),
            ({"a": {"0": 9}}, False),
            ({}, False),
        ],
    )
    def test_every_partition_must_have_got_there(
        self, position: offsets.Offsets, *, reached: bool
    ) -> None:
        assert offsets.reaches(offsets.encode(position), self.END) is reached
