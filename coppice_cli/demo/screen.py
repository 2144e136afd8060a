"""What the person sees while the demo runs: the story line by line, and a table at the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rich import console, panel, table, text

from coppice import records
from coppice_cli.demo import follow

STYLES = {
    "healthy": "green",
    "promote": "green",
    "promoted": "green",
    "accepted": "green",
    "finished": "green",
    "decay": "red",
    "drift": "yellow",
    "rollback": "red",
    "rolled-back": "red",
    "refused": "red",
    "forced": "yellow",
    "failed": "red",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one phase went: what it had to show, what happened, and on what evidence."""

    name: str
    expected: str
    happened: str
    evidence: str
    requests: int
    labels: int
    seconds: float
    holds: bool


class Screen:
    """The terminal, through rich: plain when piped, coloured when watched."""

    def __init__(self, terminal: console.Console, *, start: float) -> None:
        self._terminal = terminal
        self._start = start
        self._told: tuple[str, str, str | None] | None = None

    def title(self, name: str, story: str) -> None:
        """Open a phase."""
        self._terminal.print()
        self._terminal.print(panel.Panel(story, title=name, title_align="left", style="bold"))

    def say(self, line: str) -> None:
        """Tell one thing that the demo itself does."""
        self._terminal.print(text.Text(f"      {line}", style="dim"))

    def fact(self, fact: follow.Fact) -> None:
        """Show a decision as it comes out of the log; a verdict that is only renewed is not."""
        word, line = describe(fact.record)
        if not line or self._renewed(fact.record):
            return
        shown = text.Text(f"{fact.at - self._start:5.0f} s  ")
        shown.append(f"{word:<12}", style=STYLES.get(word, "cyan"))
        shown.append(line)
        self._terminal.print(shown)

    def _renewed(self, record: records.Record) -> bool:
        if not isinstance(record, records.Verdict):
            return False
        told = (record.version, record.kind, record.cause)
        renewed, self._told = told == self._told, told
        return renewed

    def summary(self, outcomes: Sequence[Outcome]) -> None:
        """Print the closing table."""
        shown = table.Table(title="What happened", show_lines=True)
        shown.add_column("phase", max_width=16)
        shown.add_column("what happened (expected)")
        for heading in ("requests", "labels", "s"):
            shown.add_column(heading, justify="right")
        shown.add_column("holds")
        for outcome in outcomes:
            told = text.Text(outcome.happened)
            told.append(f"\n({outcome.expected})", style="dim")
            shown.add_row(
                outcome.name,
                told,
                f"{outcome.requests:,}",
                f"{outcome.labels:,}",
                f"{outcome.seconds:.0f}",
                "[green]yes[/]" if outcome.holds else "[red]NO[/]",
            )
        self._terminal.print(shown)
        self._terminal.print("\n[bold]On what evidence[/]")
        for outcome in outcomes:
            line = text.Text(f"{outcome.name}: ", style="bold")
            line.append(outcome.evidence or "none", style="not bold")
            self._terminal.print(line)


def describe(record: records.Record) -> tuple[str, str]:
    """Put a decision into one word and one line; an empty line means: not worth showing."""
    match record:
        case records.Verdict(kind="undecided"):
            return "undecided", ""
        case records.Verdict():
            cause = f" ({record.cause})" if record.cause else ""
            return record.kind, f"{short(record.version)}{cause}: {record.reason}"
        case records.Candidate():
            refusals = f" [{'; '.join(record.refusals)}]" if record.refusals else ""
            return record.status, f"candidate {short(record.version)}, {record.reason}{refusals}"
        case records.Retraining():
            return record.status, f"retraining, cause {record.cause}: {record.reason}"
        case records.Rollout():
            lanes = f"champion {short(record.champion)}"
            if record.candidate:
                lanes += f", candidate {short(record.candidate)} at {record.weight:.0%}"
            return record.outcome, f"[{record.stage}] {lanes}: {record.reason}"
        case records.Command():
            return record.action, f"{record.actor}: {record.reason}"
        case _:
            return "", ""


def short(tag: str) -> str:
    """Abbreviate a tag to its id's first six characters."""
    return tag.rpartition(":")[2][:6]
