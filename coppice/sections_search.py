"""The table `[search]` of `coppice.toml`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from coppice.sections import Section


class SearchSettings(Section):
    """How `coppice search` chooses blocks and widths: by what is left costs, within a budget."""

    target: Literal["latency", "size", "memory", "macs"] = "latency"
    """What is to become less: time of a batch, bytes of the graph, bytes that serving it takes, or
    multiply-accumulates. Time is the default, because the others do not say it."""
    blocks: bool = True
    """Whether whole blocks may be left out before widths are chosen."""
    max_drop: float = Field(default=0.005, ge=0, le=1)
    """Largest loss of mean score on the validation split against the null control that is expected
    after the recipe's whole recovery (default half a point); a forecast, with an interval."""
    max_slice_drop: float = Field(default=0.05, ge=0, le=1)
    """Largest loss of any slice of at least `gates.min_slice_rows` validation rows that is shown
    (the lower end of its interval) and expected to be left."""
    batch_rows: int = Field(default=1, ge=1, le=4096)
    """Rows in the batch that is timed, or whose memory is measured."""
    structures: int = Field(default=120, ge=3)
    """Most structures that are built and measured; each takes seconds, once on each machine."""
    sensitivity_rows: int = Field(default=1000, ge=1)
    """Validation rows that each point of the sensitivity sweep scores, at most."""
    probe_epochs: int = Field(default=2, ge=1)
    """Passes of fine-tuning of each probe, and of the null control that it is compared with. Too
    few make every width look too narrow."""
    probe_rows: int = Field(default=10_000, ge=2)
    """Training rows that a probe learns from, at most; a quarter of them in a race. Fewer make the
    search faster, and what is expected of the whole recovery less sure."""
    minutes: float | None = Field(default=None, gt=0)
    """After which nothing new is begun (default no limit); another run goes on where it ended."""
