"""How numbers are written for people, by their units."""

from __future__ import annotations

import math

from retrain import gates
from retrain.evaluate import section

_BYTES = ("bytes", "KB", "MB", "GB")


def number(value: float | None, unit: str = "") -> str:
    """Write a value in the unit of its figure.

    >>> number(0.9731, "share"), number(-0.0125, "points"), number(2.314, "times")
    ('97.31%', '-1.25 points', '2.31x')
    >>> number(0.00025, "s"), number(2_400_000, "bytes"), number(1234.0), number(None)
    ('250 us', '2.4 MB', '1,234', '-')
    """
    if value is None or math.isnan(value):
        return "-"
    match unit:
        case "share":
            return f"{100.0 * value:.2f}%"
        case "points":
            return f"{100.0 * value:.2f} points"
        case "times":
            return f"{value:.2f}x"
        case "s":
            return _seconds(value)
        case "bytes":
            return _bytes(value)
        case "":
            return _plain(value)
        case _:
            return f"{_plain(value)} {unit}"


def _plain(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _seconds(value: float) -> str:
    if abs(value) < 1e-3:
        return f"{1e6 * value:.3g} us"
    return f"{1e3 * value:.3g} ms" if abs(value) < 1.0 else f"{value:,.4g} s"


def _bytes(value: float) -> str:
    power = min(int(math.log(max(abs(value), 1.0), 1000)), len(_BYTES) - 1)
    shown = value / 1000**power
    return f"{shown:.0f} bytes" if power == 0 else f"{shown:.1f} {_BYTES[power]}"


def interval(figure: section.Figure) -> str:
    """Write a figure's interval; empty where it has none.

    >>> interval(section.Figure(value=0.5, low=0.4, high=0.6, unit="share"))
    '40.00% to 60.00%'
    """
    if figure.low is None or figure.high is None:
        return ""
    return f"{number(figure.low, figure.unit)} to {number(figure.high, figure.unit)}"


def gate_value(result: gates.GateResult, value: float | None) -> str:
    """Write a gate's figure or threshold: a drop of score is shown as the loss that it is."""
    if value is None:
        return "-"
    # Cards of the first schema leave the unit to the name.
    match result.unit or {"latency": "times", "min score": "share"}.get(result.name, "drop"):
        case "times" | "share" as unit:
            return number(value, unit)
        case "rise":
            return f"{100.0 * value:+.2f} points"
        case _:
            return f"{-100.0 * value:+z.2f} points"  # z: no loss is not written as -0


def cell(value: section.Cell) -> str:
    """Write one cell of a section's table.

    >>> cell(0.123456), cell(7), cell("pen=ink"), cell(None)
    ('0.1235', '7', 'pen=ink', '-')
    """
    match value:
        case None:
            return "-"
        case bool() | str():
            return str(value)
        case int():
            return f"{value:,}"
        case float():
            return number(value)


def name(key: str) -> str:
    """Write the key of a figure as words.

    >>> name("membership_auc_rise")
    'membership AUC rise'
    """
    known = {"auc": "AUC", "auroc": "AUROC", "f1": "F1", "mae": "MAE", "rmse": "RMSE", "r2": "R2"}
    known |= {"fgsm": "FGSM", "pgd": "PGD", "macs": "MACs", "fpr": "FPR", "tpr": "TPR"}
    return " ".join(known.get(word, word) for word in key.split("_"))
