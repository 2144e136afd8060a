"""Read PromQL: which metrics an expression uses, and with which labels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import promql_parser as parser

VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$__interval": "1m"}
"""What Grafana puts in before it asks."""


class Use(NamedTuple):
    """A metric, and the labels that an expression picks or groups it by."""

    name: str
    labels: frozenset[str]


def filled(expression: str) -> str:
    """Put values in for Grafana's own variables."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def blocks(text: str) -> list[str]:
    """Return the PromQL blocks of a Markdown page."""
    return re.findall(r"```promql\n(.*?)\n```", text, flags=re.DOTALL)


def uses(expression: str) -> list[Use]:
    """Return every use of a metric; labels that it is grouped or matched by belong to it."""
    return list(_uses(parser.parse(filled(expression)), frozenset()))


def grouping(expression: str) -> list[str]:
    """Return the labels that a recorded series has: those that its aggregations keep."""
    return sorted({label for use in uses(expression) for label in _kept(use, expression)})


def _kept(use: Use, expression: str) -> set[str]:
    found = re.findall(r"by \(([^)]*)\)", expression)
    by = {label.strip() for group in found for label in group.split(",")}
    return (by & use.labels) - {"le"}


def _uses(node: Any, around: frozenset[str]) -> Iterator[Use]:
    match node:
        case parser.VectorSelector():
            own = {matcher.name for matcher in node.matchers.matchers}
            yield Use(node.name, frozenset(own) | around)
        case parser.MatrixSelector():
            yield from _uses(node.vector_selector, around)
        case parser.AggregateExpr():
            # The outermost labels must be there in all that is below.
            yield from _uses(node.expr, around | _labels(node.modifier))
            if node.param is not None:
                yield from _uses(node.param, around)
        case parser.BinaryExpr():
            matching = node.modifier.matching if node.modifier is not None else None
            extra = around | _labels(matching)
            yield from _uses(node.lhs, extra)
            yield from _uses(node.rhs, extra)
        case parser.Call():
            # What absent() or scalar() or vector() makes has no labels to ask for.
            inner = frozenset() if node.func.name in {"scalar", "vector"} else around
            for argument in node.args:
                yield from _uses(argument, inner)
        case parser.ParenExpr() | parser.UnaryExpr() | parser.SubqueryExpr():
            yield from _uses(node.expr, around)
        case _:
            return


def _labels(modifier: Any) -> frozenset[str]:
    if modifier is None or "Exclude" in str(modifier.type):
        return frozenset()
    return frozenset(modifier.labels)
