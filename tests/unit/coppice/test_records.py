from __future__ import annotations

import re
import typing

import hypothesis
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays

from coppice import errors, records

VERSION = "digits:0123456789ab"

FULL: list[records.Record] = [
    records.Prediction(
        request_id="r",
        model="digits",
        version=VERSION,
        lane="canary",
        propensity=0.1,
        key_hash="h",
        slices={"pen": "ink"},
        inputs={"image": records.Tensor.of(np.zeros((1, 8, 8), dtype=np.float32))},
        features=records.Tensor.of(np.ones((1, 3), dtype=np.float32)),
        outputs={"scores": records.Tensor.of(np.ones((1, 2), dtype=np.float32))},
        latency_seconds=0.01,
        generation=3,
        error="e",
        fallback="timeout",
        fallback_version="digits:b",
    ),
    records.Feedback(
        request_id="r",
        model="digits",
        labels=(1, 2.5, "cat"),
        labelled_at=1.0,
        source="human",
        annotator_hash="a",
        saw_prediction=True,
    ),
    records.Shadow(
        request_id="r",
        model="digits",
        version=VERSION,
        role="parent",
        against="digits:b",
        outputs={"scores": records.Tensor.of(np.ones((1, 2), dtype=np.float32))},
        agrees=(True, False),
        latency_seconds=0.1,
        error="e",
    ),
    records.Measurement(
        model="digits", version=VERSION, name="accuracy", value=0.5, slice="pen=ink", count=3,
        low=0.1, high=0.9,
    ),
    records.Verdict(
        model="digits", version=VERSION, scope="champion", kind="decay", reason="why",
        cause="world", against="digits:b", slice="pen=ink", evidence={"e": 21.0},
        counts={"pairs": 3}, label_coverage=0.5,
    ),
    records.Candidate(
        model="digits", version=VERSION, parent="digits:p", status="refused", reason="manual",
        refusals=("latency",), figures={"score": 0.9},
    ),
    records.Retraining(
        model="digits", status="held", cause="pruning", reason="budget", trigger="id",
        version=VERSION,
    ),
    records.Rollout(
        model="digits", stage="canary", champion="digits:a", candidate=VERSION,
        previous="digits:c", weight=0.1, step=1, generation=4, paused=True, outcome="advanced",
        reason="evidence", actor="ada", since=5.0,
    ),
    records.Command(model="digits", action="abort", actor="ada", reason="no"),
]  # fmt: skip

MINIMAL: list[records.Record] = [
    records.Prediction(
        request_id="r", model="m", version="m:1", lane="stable", propensity=1.0, key_hash="h",
        latency_seconds=0.0,
    ),
    records.Feedback(request_id="r", model="m", labels=(0,), labelled_at=0.0),
    records.Shadow(request_id="r", model="m", version="m:1", role="candidate", against="m:2"),
    records.Measurement(model="m", version="m:1", name="accuracy", value=0.5),
    records.Verdict(
        model="m", version="m:1", scope="candidate", kind="undecided", reason="no data"
    ),
    records.Candidate(model="m", version="m:1", parent="m:2", status="accepted", reason="manual"),
    records.Retraining(model="m", status="started", cause="manual", reason="asked"),
    records.Rollout(model="m", stage="idle", champion="m:1", outcome="promoted", reason="first"),
    records.Command(model="m", action="pause", actor="ada"),
]  # fmt: skip


class TestEvents:
    @pytest.mark.parametrize("record", [*FULL, *MINIMAL], ids=lambda r: type(r).__name__)
    def test_a_record_comes_out_of_its_envelope_as_it_went_in(self, record: records.Record) -> None:
        assert records.unseal(records.seal(record, source="tests", now=1.0)) == record

    def test_every_kind_of_record_has_one_type_name(self) -> None:
        assert set(records.TYPES.values()) == set(typing.get_args(records.Record))
        assert len(records.NAMES) == len(records.TYPES)

    @pytest.mark.parametrize("name", sorted(records.TYPES))
    def test_type_names_carry_entity_and_version(self, name: str) -> None:
        entity = records.TYPES[name].__name__.lower()

        assert name == f"coppice.{entity}.v1"

    @pytest.mark.parametrize(
        ("record", "subject"),
        [(FULL[0], "r"), (FULL[1], "r"), (FULL[2], "r"), (FULL[4], VERSION), (FULL[8], "digits")],
    )
    def test_the_subject_is_the_request_else_the_version_else_the_model(
        self, record: records.Record, subject: str
    ) -> None:
        assert records.seal(record, source="tests", now=1.0).subject == subject

    def test_the_envelope_says_what_and_whence_and_when(self) -> None:
        event = records.seal(MINIMAL[8], source="coppice/cli", now=12.5)

        assert (event.type, event.source, event.time, event.model) == (
            "coppice.command.v1",
            "coppice/cli",
            12.5,
            "m",
        )

    def test_an_unknown_type_names_the_known_ones(self) -> None:
        event = msgspec.structs.replace(
            records.seal(MINIMAL[8], source="tests", now=0.0), type="coppice.future.v9"
        )

        with pytest.raises(errors.UndecodableEvent, match=r"'coppice.future.v9'.*prediction.v1"):
            records.unseal(event)

    @pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"not msgpack"])
    def test_a_payload_that_does_not_decode_names_its_event(self, data: bytes) -> None:
        event = msgspec.structs.replace(
            records.seal(MINIMAL[8], source="tests", now=0.0), data=data
        )

        with pytest.raises(errors.UndecodableEvent, match=event.id):
            records.unseal(event)

    def test_a_field_of_a_newer_version_is_passed_over(self) -> None:
        event = records.seal(MINIMAL[8], source="tests", now=0.0)
        newer = {**msgspec.msgpack.decode(event.data), "mood": "good"}

        read = records.unseal(msgspec.structs.replace(event, data=msgspec.msgpack.encode(newer)))

        assert read == MINIMAL[8]

    def test_a_tensor_that_lies_about_its_size_makes_its_event_undecodable(self) -> None:
        event = records.seal(FULL[0], source="tests", now=0.0)
        payload = msgspec.msgpack.decode(event.data)
        payload["features"]["shape"] = [1000, 1000]

        with pytest.raises(errors.UndecodableEvent, match="12 bytes are no tensor"):
            records.unseal(msgspec.structs.replace(event, data=msgspec.msgpack.encode(payload)))

    def test_records_of_one_kind_do_not_share_their_defaults(self) -> None:
        first, second = (
            records.Measurement(model="m", version="m:1", name="n", value=0.0) for _ in range(2)
        )
        assert first == second
        assert MINIMAL[0].slices is not records.Prediction(  # type: ignore[union-attr]
            request_id="q", model="m", version="m:1", lane="stable", propensity=1.0,
            key_hash="h", latency_seconds=0.0,
        ).slices  # fmt: skip

    def test_records_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            MINIMAL[8].reason = "changed"  # type: ignore[misc, union-attr]


NUMBERS = strategies.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(),
    arrays.unsigned_integer_dtypes(),
    arrays.floating_dtypes(sizes=(16, 32, 64)),
)


class TestTensors:
    @hypothesis.given(
        arrays.arrays(NUMBERS, arrays.array_shapes(min_dims=0, min_side=0, max_side=4))
    )
    def test_any_array_of_numbers_comes_back_equal(self, array: npt.NDArray[np.generic]) -> None:
        tensor = records.Tensor.of(array)

        np.testing.assert_array_equal(tensor.array(), array)
        assert (tensor.dtype, tensor.shape) == (array.dtype.name, array.shape)

    def test_bytes_are_little_endian_whatever_the_array_was(self) -> None:
        big = np.array([1, 256], dtype=">i2")

        assert records.Tensor.of(big).data == b"\x01\x00\x00\x01"

    def test_columns_of_a_larger_array_are_packed_in_row_order(self) -> None:
        array = np.arange(6, dtype=np.int8).reshape(2, 3).T

        assert records.Tensor.of(array).data == bytes([0, 3, 1, 4, 2, 5])

    def test_the_array_is_read_only(self) -> None:
        array = records.Tensor.of(np.zeros(2)).array()

        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0

    @pytest.mark.parametrize("dtype", ["object", "str", "float128", "complex64", "nonsense"])
    def test_a_dtype_that_does_not_travel_is_refused(self, dtype: str) -> None:
        with pytest.raises(ValueError, match="known: bfloat16, bool, int8"):
            records.Tensor(dtype=dtype, shape=(0,), data=b"")

    @pytest.mark.parametrize(
        ("shape", "data"),
        [((2,), b"\0" * 4), ((1,), b"\0" * 8), ((), b""), ((-1, -1), b"\0" * 4), ((0,), b"\0")],
    )
    def test_bytes_that_do_not_fit_the_shape_are_refused(
        self, shape: tuple[int, ...], data: bytes
    ) -> None:
        with pytest.raises(ValueError, match="are no tensor float32"):
            records.Tensor(dtype="float32", shape=shape, data=data)


class TestIds:
    def test_an_id_is_a_uuid_of_version_7(self) -> None:
        # RFC 9562, section 5.7: version nibble 7, variant bits 10.
        pattern = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"

        assert all(re.fullmatch(pattern, records.uuid7()) for _ in range(200))

    def test_ids_do_not_repeat(self) -> None:
        assert len({records.uuid7() for _ in range(10_000)}) == 10_000

    def test_an_id_begins_with_the_milliseconds_since_1970(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The example of RFC 9562, appendix A.6: 0x017F22E279B0 ms is 22 February 2022, 19:22:22.
        monkeypatch.setattr("time.time_ns", lambda: 0x017F22E279B0 * 1_000_000)

        assert records.uuid7().startswith("017f22e2-79b0-7")
