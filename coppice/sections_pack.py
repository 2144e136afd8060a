"""The table `[pack]` of `coppice.toml`."""

from __future__ import annotations

from typing import Literal, Self

import pydantic
from pydantic import Field

from coppice import artifact
from coppice.sections import Section


class PackSettings(Section):
    """What the graph of a pruned version computes in, and what runs it.

    A dense parent always is a plain graph, because everything else is compared with it.
    """

    precision: Literal["fp32", "bf16", "int8", "auto"] = "fp32"
    """`fp32` answers as the trained model does. `bf16` (with OpenVINO) and `int8` are tried beside
    it and taken only where score and gain hold; `auto` tries both. Not the default, because the
    choice is measured: another machine may choose another graph."""
    engines: tuple[artifact.Engine, ...] = ("onnxruntime",)
    """What may run it. The first is taken unless another is measured to gain; `openvino` needs
    `pip install 'coppice[openvino]'`, here and wherever the version is served."""
    calibration_rows: int = Field(default=512, ge=16)
    """Training rows, evenly spaced, that give an int8 graph its scales; more rarely change them."""
    max_drop: float = Field(default=0.002, ge=0, le=1)
    """Largest loss of mean score on the validation split against full precision that bf16 or int8
    may cost (default 0.2 points). The gates judge on the holdout again what was taken."""
    min_gain: float = Field(default=1.1, ge=1)
    """How many times as fast as the first engine in fp32 anything else must be shown to be, by the
    lower end of its interval; where a machine is too busy to show it, nothing else is taken."""
    batch_rows: int = Field(default=1, ge=1, le=4096)
    """Rows in the batch whose time decides; 1 and 32 are measured and told in any case."""

    @pydantic.field_validator("engines")
    @classmethod
    def _some(cls, engines: tuple[artifact.Engine, ...]) -> tuple[artifact.Engine, ...]:
        if not engines or len(set(engines)) < len(engines):
            message = f"engines must name at least one, each once; got {list(engines)}"
            raise ValueError(message)
        return engines

    @pydantic.model_validator(mode="after")
    def _computable(self) -> Self:
        if self.precision == "bf16" and "openvino" not in self.engines:
            message = 'bf16 needs OpenVINO; add it: engines = ["onnxruntime", "openvino"]'
            raise ValueError(message)
        return self
