"""The tables of `coppice.toml`, one class for each; `coppice.settings` puts them into one tree.

Every field says its unit, its default and why the default is what it is. Defaults are safe and
embedded: nothing leaves the machine until a field says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self, TypeAlias, get_args

import pydantic
from pydantic import Field

SectionName: TypeAlias = Literal[
    "metrics",
    "slices",
    "fairness",
    "exemplars",
    "ablation",
    "attribution",
    "robustness",
    "privacy",
    "data",
    "labels",
    "provenance",
    "poisoning",
    "cost",
]
"""The deeper measurements of a candidate, in the order in which they are made."""


class Section(pydantic.BaseModel):
    """A table of the file; an unknown key is an error, never silently ignored."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )


class ProjectSettings(Section):
    """What the user brings."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$")
    """The model's name in tags, URLs, metrics and topics: lower case, digits, `-` and `_`."""
    module: str = "project"
    """Importable Python module, looked for beside coppice.toml, with `build_model` and
    `load_data`."""
    task: Literal["binary", "multiclass", "regression"] = "multiclass"
    """What the model predicts."""
    checkpoint: Path | None = None
    """A trained state dict (.safetensors) of the dense model, relative to coppice.toml. Without one
    the dense parent is trained."""
    scale: float = Field(default=1.0, gt=0)
    """Regression only: the absolute error, in units of the target, that counts as wholly wrong."""
    seed: int = 0
    """Seed of every random choice, so that a run can be repeated."""


class TrainSettings(Section):
    """How a dense parent is trained where no checkpoint is given."""

    epochs: int = Field(default=20, ge=1)
    """Passes over the training split."""
    batch_size: int = Field(default=64, ge=2)
    """Rows per step; at least 2, because BatchNorm cannot learn from one."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak of a one-cycle schedule with AdamW."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """AdamW's decoupled weight decay."""
    threads: int = Field(default=1, ge=1)
    """Cores used for training. Beside a busy server more threads than idle cores wait for each
    other and train up to ten times slower; raise it on a machine of its own."""


class GateSettings(Section):
    """Offline acceptance: a candidate that fails one gate is not rolled out."""

    max_score_drop: float = Field(default=0.01, ge=0, le=1)
    """Largest loss of mean score (accuracy) on the holdout against the better of dense parent and
    null control, beyond what chance explains."""
    max_slice_drop: float = Field(default=0.05, ge=0, le=1)
    """The same for every slice of at least `min_slice_rows` rows."""
    min_slice_rows: int = Field(default=30, ge=1)
    """Slices with fewer holdout rows are reported, not gated."""
    min_latency_gain: float = Field(default=1.0, gt=0)
    """Batch-1 latency of the dense parent over the candidate's, each as it is served, by the
    processor's time: what else runs on the machine does not count."""
    min_score: float = Field(default=0.0, ge=0, le=1)
    """Lowest mean score on the holdout, whatever the parent does."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Level of the paired intervals that a drop must exceed to be refused."""
    max_robustness_drop: float = Field(default=0.05, ge=0, le=1)
    """Largest loss of mean score against the dense parent under the attack or corruption where
    the pruning costs most, beyond what chance explains."""
    max_membership_auc_rise: float = Field(default=0.05, ge=0, le=1)
    """Largest rise over the dense parent of how well training rows can be told from others by
    their loss (area under the curve), beyond what chance explains."""
    max_fairness_gap_rise: float = Field(default=0.05, ge=0, le=1)
    """Largest widening, against the dense parent, of the gap in score between the groups of a
    declared sensitive column, beyond what chance explains."""
    max_label_issue_share: float = Field(default=0.1, ge=0, le=1)
    """Largest estimated share of wrongly labelled training rows."""
    max_leaked_share: float = Field(default=0.01, ge=0, le=1)
    """Largest share of holdout rows that are in the training split too; above it the holdout is too
    kind to be trusted."""
    min_independent_label_share: float = Field(default=0.2, ge=0, le=1)
    """Least share of the labelled production rows whose annotator had not seen the prediction;
    below it a model would be trained on its own answers."""
    require: tuple[SectionName, ...] = ()
    """Sections of `[inspect]` that must be measured; one that is not is refused, where otherwise
    its gates are only listed as not judged."""


class InspectSettings(Section):
    """The deeper measurements of a candidate, made before its gates judge."""

    sections: tuple[SectionName, ...] = get_args(SectionName)
    """What is measured, by default everything; an empty list measures nothing beyond scores,
    slices and latency."""
    skip: tuple[SectionName, ...] = ()
    """Sections to leave out, for those who want all but a few."""
    budget_seconds: float = Field(default=300.0, gt=0)
    """No section begins later than this; those that then remain are `not measured`. A section that
    runs is never cut off."""
    draws: int = Field(default=1000, ge=100)
    """Resamples behind an interval that has no formula; fewer where the rows are very many."""
    sensitive: tuple[str, ...] = ()
    """Slice families, such as `sex`, between whose groups answers should not differ unduly; none
    are guessed."""
    found_slice_rows: int = Field(default=20, ge=10)
    """Smallest subset of the holdout that the search for the worst ones may name."""
    exemplars: int = Field(default=20, ge=0)
    """Rows shown of those that the pruning harms most; 0 keeps rows out of card and report, where
    data must not leave their place."""
    exemplar_seeds: int = Field(default=0, ge=0, le=100)
    """Prunings, and as many null controls, trained anew with other seeds to tell what pruning as
    such harms from one run's luck; each costs a fine-tuning. 0 compares the one pair there is."""

    section_gigamacs: float = Field(default=400.0, gt=0)
    """Billions of multiply-accumulates that each of ablation, attribution and robustness may spend:
    larger networks are asked on fewer rows, never below 64. Not seconds, so that the same candidate
    gets the same figures on every machine."""
    picture_attacks: tuple[pydantic.PositiveFloat, ...] = (0.01, 0.03)
    """Budgets of the attacks on pictures: the furthest that a pixel may move, as a share of the
    range that its channel spans in training. 0.03 is about 8 of 255 grey levels, the usual one."""
    table_attacks: tuple[pydantic.PositiveFloat, ...] = (0.1, 0.3)
    """Budgets of the attacks on tables: the furthest that a value may move, in standard deviations
    of its column. Codes (columns of at most 10 different whole numbers) are never moved."""
    attack_steps: int = Field(default=10, ge=1, le=1000)
    """Steps of the stronger attack; further ones rarely find more."""
    inversion: bool = False
    """Try to draw from the models alone a typical picture of each class; off, because it is slow
    and says something only of pictures that show the same person or thing."""
    label_folds: int = Field(default=0, ge=0, le=20)
    """Networks trained anew, each without a part of the training rows, to find wrong labels among
    them: surer than the cross-validated linear classifier that 0 asks, but each costs a training.
    1 would leave nothing to train on and is refused."""
    price_per_core_hour: float = Field(default=0.0, ge=0)
    """What one core costs in an hour, in any currency, for the price of a million predictions; 0
    names no price, because none can be guessed."""

    @pydantic.field_validator("label_folds")
    @classmethod
    def _trainable(cls, folds: int) -> int:
        if folds == 1:
            message = "label_folds must be 0, or at least 2"
            raise ValueError(message)
        return folds


class EvidenceSettings(Section):
    """When a candidate is promoted or rolled back."""

    mode: Literal["asked", "natural"] = "asked"
    """`asked`: an audit sample of which only disagreements need labels. `natural`: only labelled
    requests count, assuming that being labelled does not depend on the outcome."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Bound on the probability of ever deciding wrongly: of a wrong promotion, and of a wrong
    rollback for each of its reasons (all requests, the slices together, failures, slowness)."""
    promote_margin: float = Field(default=0.01, ge=0, lt=0.5)
    """Promote once the loss of mean score is shown to be below this."""
    rollback_margin: float | None = Field(default=None, ge=0, lt=0.5)
    """Roll back once the loss is shown to be above this; default: the promote margin."""
    audit_rate: float = Field(default=1.0, gt=0, le=1)
    """Share of the mirrored requests in the audit sample."""
    max_pending: int = Field(default=50, ge=1)
    """Disagreements that may wait for a label; while so many do, no further pair joins the audit
    sample. So labellers are never asked for more than they can give, and a candidate that differs
    everywhere is decided on the labels that come instead of drowning in those that do not."""
    label_patience_seconds: float = Field(default=86_400.0, gt=0)
    """A label that has not come by then no longer keeps others from being asked for."""
    live_rate: float = Field(default=0.02, ge=0, le=1)
    """Share of all requests whose label is asked for whatever the answers, so that live accuracy is
    known; ten times as many are asked for while the cause of a decay is undecided."""
    max_error_rate: float = Field(default=0.01, gt=0, lt=0.5)
    """Share of candidate failures (errors, timeouts) above which it is rolled back."""
    max_slow_rate: float = Field(default=0.05, gt=0, lt=0.5)
    """Share of slow requests above which it is rolled back; see `serve.latency_objective_seconds`.
    Tail latencies scatter more than failures, so more is allowed."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        # Above it, a loss between the two margins could never be decided.
        rollback = self.promote_margin if self.rollback_margin is None else self.rollback_margin
        if rollback > self.promote_margin:
            message = f"rollback_margin {rollback} must not exceed promote_margin"
            raise ValueError(message)
        return self


class DriftSettings(Section):
    """When inputs or answers no longer look like the reference."""

    method: Literal["ks", "wasserstein", "psi", "jensenshannon"] = "ks"
    """Evidently method per column, always explicit."""
    window: int = Field(default=400, ge=50)
    """Predictions per window."""
    false_alarm_rate: float = Field(default=0.01, gt=0, lt=0.5)
    """Probability that a clean window raises an alarm, over all columns together."""
    calibration_windows: int = Field(default=200, ge=50)
    """Clean windows drawn from the reference to find the threshold."""
    sustained: int = Field(default=2, ge=1)
    """Windows in a row that must alarm before drift is declared."""
    slices: int = Field(default=4, ge=0)
    """Slices that get windows of their own, those of the most traffic; 0 watches none apart. They
    share one false-alarm rate, so that more slices see less each."""
    label_window: int = Field(default=200, ge=20)
    """Labels per window in which their distribution is compared with the reference's targets."""


class DecaySettings(Section):
    """When live accuracy is worse than what was accepted."""

    tolerance: float = Field(default=0.05, ge=0, lt=0.5)
    """Loss of mean score against the accepted one that is tolerated."""
    false_alarm_labels: int = Field(default=10_000, ge=100)
    """Average number of labels to a false alarm: the threshold of the e-CUSUM."""
    window: int = Field(default=400, ge=50)
    """Most recent labelled rows that live accuracy and diagnosis look at."""
    min_labels: int = Field(default=60, ge=10)
    """Diagnosis stays undecided below so many labelled rows."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Level of the exact tests of the diagnosis, over all comparisons together (Holm)."""


class MonitorSettings(Section):
    """The monitor process."""

    host: str = "127.0.0.1"
    """Address of its verdict endpoint, label queue and /metrics."""
    port: int = Field(default=3001, ge=1, le=65535)
    """Port of the monitor."""
    poll_seconds: float = Field(default=0.5, gt=0)
    """Pause between two looks at the log."""
    join_limit: int = Field(default=50_000, ge=1000)
    """Predictions that wait for labels in memory; older ones are no longer joined."""
    slice_limit: int = Field(default=20, ge=0)
    """Most slices watched, by traffic; bounds memory and metric labels."""
    reports_kept: int = Field(default=20, ge=0)
    """Most drift reports (HTML, about 4 MB each) that are kept; 0 writes none."""
    report_days: float = Field(default=30.0, gt=0)
    """A drift report older than this is deleted when the next one is written, days."""
    group: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,100}$")
    """Name of the Kafka consumer group of monitors that share the work of one model, each with
    partitions of its own; needs `events.backend = "kafka"`. Empty for a single monitor."""
    group_folder: Path | None = None
    """Where the members leave what the next owner of a partition needs, relative to coppice.toml;
    a folder that all can reach makes a takeover quick. By default in the home folder; without a
    shared one, whoever takes over reads the partition from its oldest record."""
    group_grace_seconds: float = Field(default=2.0, ge=0)
    """How long after it happened an event may reach its topic and still be joined in its place;
    later ones are joined late. Verdicts are so much behind."""
    group_patience_seconds: float = Field(default=60.0, gt=0)
    """Silence after which the one that judges no longer waits for a partition; longer than a
    takeover takes."""


class MetricsSettings(Section):
    """Where the processes that serve nothing else show their metrics."""

    host: str = "127.0.0.1"
    """Address of the relay's, the follower's, the retrainer's and the controller's own /metrics,
    each at its `metrics_port`; `0.0.0.0` lets a Prometheus elsewhere read them, and whoever else
    can reach the machine."""


class RetrainSettings(Section):
    """When and from what a new candidate is made."""

    enabled: bool = True
    """Whether decay may start a retraining by itself."""
    cooldown_seconds: float = Field(default=3600.0, ge=0)
    """Least time between two retrainings; keeps an unhappy loop from burning the machine."""
    budget_per_day: int = Field(default=4, ge=1)
    """Most retrainings in any 24 hours."""
    min_labels: int = Field(default=200, ge=1)
    """Labelled production rows that must be there before retraining on them."""
    max_production_rows: int = Field(default=20_000, ge=1)
    """Most recent labelled production rows that are used."""
    holdback: float = Field(default=0.25, gt=0, lt=1)
    """Share of the labelled production rows kept out of training to judge the candidate on."""
    milder: float = Field(default=0.5, gt=0, lt=1)
    """Factor on the amount removed when the pruning was the cause of a decay."""
    poll_seconds: float = Field(default=1.0, gt=0)
    """Pause between two looks at the log."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of the retrainer's own /metrics at `metrics.host`; 0 does not serve them."""


class RolloutSettings(Section):
    """How a candidate becomes champion."""

    backend: Literal["local", "argo", "flagger", "gateway", "auto"] = "local"
    """Who moves the traffic: `local` writes the routing table that our router reads; `argo` and
    `flagger` name the version to Argo Rollouts or Flagger, which move the traffic and ask for
    verdicts; `gateway` sets the weights of an HTTPRoute; `auto` is whichever of `argo` and
    `flagger` looks after the workload."""
    auto: bool = True
    """Whether verdicts move a rollout by themselves; otherwise only `coppice rollout` does."""
    mirror: float = Field(default=1.0, gt=0, le=1)
    """Share of the requests mirrored while a candidate is in shadow or canary."""
    parent_mirror: float = Field(default=0.05, ge=0, le=1)
    """Share of the requests that the dense parent sees too."""
    steps: tuple[float, ...] = (0.1, 0.5)
    """Weights of the canary steps, growing; promotion follows the last."""
    step_seconds: float = Field(default=60.0, ge=0)
    """Least time in each canary step."""
    step_requests: int = Field(default=100, ge=0)
    """Least number of requests that the candidate must answer in each canary step."""
    shadow_seconds: float = Field(default=86_400.0, gt=0)
    """A candidate still undecided in shadow after so long is rolled back for want of evidence."""
    watch_seconds: float = Field(default=600.0, ge=0)
    """After promotion the previous champion is kept loaded so long for an instant rollback."""
    poll_seconds: float = Field(default=0.5, gt=0)
    """Pause between two looks at the log."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of the controller's own /metrics at `metrics.host`; 0 does not serve them."""
    host: str = "127.0.0.1"
    """Address of the controller's doors: verdicts, hooks, commands."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port of the controller's doors; 0 does not open them."""
    token: pydantic.SecretStr = pydantic.SecretStr("")
    """What a command must carry as `Authorization: Bearer`. Set it by COPPICE_ROLLOUT__TOKEN or
    `token_file`; without one, commands are taken on loopback alone."""
    token_file: Path | None = None
    """File that holds the token instead, relative to coppice.toml; read anew each time."""
    alerts: Literal["note", "pause", "abort"] = "note"
    """What an alert about the version on trial does when Alertmanager tells of it."""

    @pydantic.field_validator("steps")
    @classmethod
    def _grow(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if list(steps) != sorted(set(steps)) or any(not 0 < step <= 1 for step in steps):
            message = f"steps must grow strictly within (0, 1]; got {list(steps)}"
            raise ValueError(message)
        return steps
