"""`coppice monitoring`: what Prometheus, Alertmanager and Grafana need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from coppice_cli import compose, console, options

app = typer.Typer(no_args_is_help=True, help="Set up Prometheus, Alertmanager and Grafana.")


@app.callback()
def _group() -> None:
    """Keep the name of the only command of the group in its place."""


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write into.")],
    folder: options.Project = options.HERE,
    webhook: Annotated[
        str, typer.Option(metavar="URL", help="Where alerts are sent; nowhere by default.")
    ] = "",
    runbooks: Annotated[
        str, typer.Option(metavar="URL", help="Where docs/runbooks is published.")
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Write over files that are there.")
    ] = False,
) -> None:
    """Write rules, dashboards, and configurations that fit this project's ports."""
    from coppice_cli import scraping

    tree = compose.settings_of(folder)
    found = scraping.files(tree, webhook=webhook, runbooks=runbooks)
    written = scraping.write(directory, found, force=force)
    screen = console.out()
    screen.print(f"wrote {len(written)} files into {directory}", soft_wrap=True)
    for setting in scraping.silent(tree):
        screen.print(f"[yellow]not scraped:[/] {setting} is 0; set a port, and export again")
    screen.print("\nNext, each in a terminal of its own:\n")
    for line in _commands(directory):
        screen.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
    screen.print(f"\nGrafana imports the dashboards in {directory / 'dashboards'}.", soft_wrap=True)


def _commands(folder: Path) -> Iterator[str]:
    yield (
        f"prometheus --config.file={folder}/prometheus.yml --storage.tsdb.path={folder}/data "
        "--web.listen-address=127.0.0.1:9090"
    )
    yield (
        f"prometheus-alertmanager --config.file={folder}/alertmanager.yml "
        f"--storage.path={folder}/alertmanager-data --cluster.listen-address= "
        "--web.listen-address=127.0.0.1:9093"
    )
