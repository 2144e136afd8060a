"""The dashboard of drift and quality: how well the champion does, and how sure that is."""

from __future__ import annotations

import dataclasses

from monitoring.dashboards import shared
from monitoring.dashboards.panels import Board, Panel, Query

BOARD = Board(
    uid="coppice-quality",
    title="Coppice / Drift and quality",
    text="How well the champion does, how sure that is, and how its world changes.",
    rows=(
        (
            shared.CHAMPION,
            shared.stat(
                "Live score",
                "Mean score over the recent labelled rows, all slices.",
                'max(coppice_accuracy_ratio{model=~"$model",slice="all"})',
                unit="percentunit",
                decimals=1,
            ),
            shared.stat(
                "Labelled",
                "Share of the answered rows whose truth is known.",
                f"max(coppice_label_coverage_ratio{shared.M})",
                unit="percentunit",
                decimals=1,
            ),
            shared.stat(
                "Furthest feature",
                "The largest drift of a feature over its threshold; at 1 a window alarms.",
                f"max(coppice_drift_ratio{shared.M})",
                decimals=2,
                steps=((None, "green"), (0.8, "yellow"), (1.0, "red")),
            ),
            shared.LABELS_WANTED,
            shared.FRESH,
        ),
        (
            Panel(
                title="Live score by slice",
                text="Mean score over the recent labelled rows of each version and slice.",
                queries=(Query(f"coppice_accuracy_ratio{shared.M}", "{{version}} {{slice}}"),),
                unit="percentunit",
                width=12,
                high=1.0,
            ),
            Panel(
                title="Lower bound by slice",
                text="Lower 95% bound of the mean score: far below it where labels are few.",
                queries=(
                    Query(f"coppice_accuracy_lower_bound_ratio{shared.M}", "{{version}} {{slice}}"),
                ),
                unit="percentunit",
                width=12,
                high=1.0,
            ),
        ),
        (
            dataclasses.replace(shared.DRIFT, width=12),
            Panel(
                title="Features now",
                text="Every feature on its way to its own threshold, in the last window.",
                queries=(Query(f"sort_desc(coppice_drift_ratio{shared.M})", "{{feature}}"),),
                kind="bargauge",
                width=12,
                low=0.0,
                steps=((None, "green"), (0.8, "yellow"), (1.0, "red")),
                decimals=2,
            ),
        ),
        (
            Panel(
                title="Drift by kind",
                text="The furthest of the inputs, of the embedding, of the answers and of the "
                "labels, each over its threshold; at 1 a window alarms.",
                queries=(Query(f"coppice_drift_kind_ratio{shared.M}", "{{kind}}"),),
                low=0.0,
                line=1.0,
            ),
            Panel(
                title="Drift by slice",
                text="The furthest feature in the last window of each of the largest slices.",
                queries=(Query(f"coppice_drift_slice_ratio{shared.M}", "{{slice}}"),),
                low=0.0,
                line=1.0,
            ),
            Panel(
                title="Unlike anything in the reference",
                text="Rows of the last window with a value that is missing, new or out of range, "
                "and slices that the reference does not have.",
                queries=(
                    Query(f"coppice_drift_unseen_rows{shared.M} > 0", "{{feature}} {{kind}}"),
                    Query(f"coppice_drift_new_slices{shared.M}", "new slices"),
                ),
                low=0.0,
            ),
        ),
        (
            Panel(
                title="Estimated without labels",
                text="What the last window should score, from the model's own confidence, beside "
                "what labels say. Early warning only, and worth nothing where it is not trusted.",
                queries=(
                    Query(
                        f"coppice_accuracy_estimate_ratio{shared.M}",
                        "estimate (trusted: {{trusted}})",
                    ),
                    Query(
                        'coppice_accuracy_ratio{model=~"$model",slice="all"}',
                        "{{version}} by labels",
                    ),
                ),
                unit="percentunit",
                high=1.0,
            ),
            Panel(
                title="Measures of the task",
                text="The task's own measures over the recent labelled rows, all slices.",
                queries=(
                    Query(
                        'coppice_quality{model=~"$model",slice="all"}', "{{version}} {{measure}}"
                    ),
                ),
            ),
            Panel(
                title="How long labels take",
                text="From the answer to its label, by quantile of the recent ones.",
                queries=(
                    Query(f"coppice_label_delay_seconds{shared.M}", "{{version}} p{{quantile}}"),
                ),
                unit="s",
                low=0.0,
            ),
        ),
        (
            Panel(
                title="Agreement with the dense parent",
                text="Share of the mirrored rows that the dense parent answers alike. Early "
                "warning only: nothing acts on it.",
                queries=(Query(f"coppice_parent_agreement_ratio{shared.M}", "{{version}}"),),
                unit="percentunit",
                high=1.0,
            ),
            Panel(
                title="Label coverage",
                text="Share of the answered rows whose truth is known.",
                queries=(Query(f"coppice_label_coverage_ratio{shared.M}", "{{version}}"),),
                unit="percentunit",
                low=0.0,
                high=1.0,
            ),
            Panel(
                title="What could not be joined",
                text="Repeats, labels that fit nothing, and requests forgotten unlabelled.",
                queries=(
                    Query(
                        "sum by (kind) "
                        f"(rate(coppice_monitor_join_oddities_total{shared.M}[$__rate_interval]))",
                        "{{kind}}",
                    ),
                ),
                unit="reqps",
                low=0.0,
            ),
        ),
    ),
)
