"""The gates' results as pipelines read them: JSON, JUnit XML, and GitHub annotations. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

import msgspec

from retrain import gates


def tree(tag: str, results: Sequence[gates.GateResult]) -> dict[str, Any]:
    """Return the whole verdict as plain values for JSON."""
    return {
        "version": tag,
        "passed": not gates.refusals(results),
        "refused": [result.name for result in results if result.refused],
        "not_judged": list(gates.not_judged(results)),
        "gates": [msgspec.to_builtins(result) for result in results],
    }


def junit(tag: str, results: Sequence[gates.GateResult]) -> str:
    """Return JUnit XML with a case for each gate; one that was not judged is skipped.

    References
    ----------
    The Apache Ant JUnit format as CI servers read it: testsuite, testcase, failure, skipped.
    """
    counts = {
        "tests": str(len(results)),
        "failures": str(sum(result.refused for result in results)),
        "skipped": str(len(gates.not_judged(results))),
        "errors": "0",
    }
    top = ET.Element("testsuites", counts)
    suite = ET.SubElement(top, "testsuite", {"name": f"coppice gate {tag}"} | counts)
    for result in results:
        case = ET.SubElement(
            suite, "testcase", {"classname": f"coppice.gates.{tag}", "name": result.name}
        )
        if result.refused:
            failure = ET.SubElement(case, "failure", {"message": result.sentence})
            failure.text = result.nearest or result.sentence
        elif not result.judged:
            ET.SubElement(case, "skipped", {"message": result.sentence})
    ET.indent(top)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(top, "unicode") + "\n"


def github(tag: str, results: Sequence[gates.GateResult]) -> str:
    """Return workflow commands: an error for each refusal, a warning for what was not judged.

    References
    ----------
    GitHub Actions, workflow commands: `::error title=...::message`, with `%`, line ends, and in
    properties also `:` and `,` written as percent codes.
    """
    lines = [_annotation(tag, result) for result in results if not result.passed]
    if not gates.refusals(results):
        lines.append(f"::notice title={_property(tag)}::no gate refuses this version")
    return "".join(f"{line}\n" for line in lines)


def _annotation(tag: str, result: gates.GateResult) -> str:
    level = "error" if result.refused else "warning"
    text = f"{result.sentence}; {result.nearest}" if result.nearest else result.sentence
    return f"::{level} title={_property(f'{tag} {result.name}')}::{_message(text)}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
