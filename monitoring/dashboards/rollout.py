"""The dashboard of a rollout: what is known of a candidate, and what is needed."""

from __future__ import annotations

import dataclasses

from monitoring.dashboards import shared
from monitoring.dashboards.panels import Board, Panel, Query

BOARD = Board(
    uid="coppice-rollout",
    title="Coppice / Rollout",
    text="The way of a candidate: what is known of it, and what is still needed.",
    rows=(
        (
            shared.STAGE,
            shared.CANDIDATE,
            shared.stat(
                "On the candidate",
                "Share of the keys that the candidate answers.",
                f"coppice_rollout_weight_ratio{shared.M}",
                unit="percentunit",
                decimals=0,
            ),
            shared.stat(
                "Paused",
                "1 while an operator holds the rollout.",
                f"coppice_rollout_paused{shared.M}",
                steps=shared.ANY,
            ),
            shared.LABELS_WANTED,
            shared.stat(
                "Crash guard",
                "1 while the canary lane is shut, because the candidate failed in a row.",
                f"max(coppice_canary_shut{shared.M})",
                steps=shared.ANY,
            ),
        ),
        (
            dataclasses.replace(shared.EVIDENCE, width=12),
            Panel(
                title="Weight of the candidate",
                text="Share of the keys on the candidate, as the backend shows it.",
                queries=(Query(f"coppice_rollout_weight_ratio{shared.M}", "weight"),),
                unit="percentunit",
                width=12,
                low=0.0,
                high=1.0,
            ),
        ),
        (
            Panel(
                title="Latency by version",
                text="99th centile of the time to the committed answer.",
                queries=(
                    Query(
                        shared.quantile(0.99, "coppice_request_seconds", "version"), "{{version}}"
                    ),
                ),
                unit="s",
                low=0.0,
            ),
            Panel(
                title="Mirrored copies",
                text="Copies a second by role and by what became of them; dropped ones only delay.",
                queries=(
                    Query(
                        "sum by (role, outcome) "
                        f"(rate(coppice_shadows_total{shared.M}[$__rate_interval])) > 0",
                        "{{role}} {{outcome}}",
                    ),
                ),
                unit="reqps",
                low=0.0,
            ),
            Panel(
                title="Answered by stable instead",
                text="Requests of the canary lane in which the candidate failed or took too long.",
                queries=(
                    Query(
                        "sum by (version) "
                        f"(rate(coppice_fallbacks_total{shared.M}[$__rate_interval]))",
                        "{{version}}",
                    ),
                ),
                unit="reqps",
                low=0.0,
            ),
        ),
        (
            Panel(
                title="Retraining now",
                text="How far each phase of the running retraining is.",
                queries=(Query(f"coppice_retrain_phase_ratio{shared.M}", "{{phase}}"),),
                unit="percentunit",
                low=0.0,
                high=1.0,
            ),
            Panel(
                title="What waits",
                text="A decay without an answer, and a candidate without its rollout.",
                queries=(
                    Query(f"coppice_retrain_pending{shared.M}", "decay"),
                    Query(f"coppice_rollout_waiting_candidates{shared.M}", "candidate"),
                ),
                low=0.0,
                high=1.0,
            ),
            Panel(
                title="Labelled rows to learn from",
                text="Production rows with a label that the retrainer keeps.",
                queries=(Query(f"coppice_retrain_labelled_rows{shared.M}", "rows"),),
                low=0.0,
            ),
        ),
        (
            Panel(
                title="Steps of the rollout",
                text="Steps carried out in the last hour, by outcome.",
                queries=(
                    Query(
                        "sum by (outcome) "
                        f"(increase(coppice_rollout_decisions_total{shared.M}[1h])) > 0",
                        "{{outcome}}",
                    ),
                ),
                width=12,
                low=0.0,
            ),
            Panel(
                title="Retrainings",
                text="Retrainings of the last hour, by what became of them and why they were made.",
                queries=(
                    Query(
                        "sum by (status, cause) "
                        f"(increase(coppice_retrain_steps_total{shared.M}[1h])) > 0",
                        "{{status}} ({{cause}})",
                    ),
                ),
                width=12,
                low=0.0,
            ),
        ),
    ),
)
