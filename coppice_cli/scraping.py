"""What Prometheus, Alertmanager and Grafana need for one project, as files.

Rules and dashboards are those of `monitoring`, unchanged but for the address of the runbooks; who
is scraped follows from the ports in coppice.toml.
"""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from coppice import errors
from coppice_cli import doors

if TYPE_CHECKING:
    from coppice import settings

RUNBOOKS = "docs/runbooks/"
"""Where the pages are, as the rules name them."""

ALERTMANAGER = "127.0.0.1:9093"


@dataclasses.dataclass(frozen=True)
class Target:
    """A process that shows metrics."""

    job: str
    setting: str
    """The setting that holds its port."""
    host: str
    port: int
    """0 where it does not show any."""

    @property
    def address(self) -> str:
        """Host and port, as this machine reaches them.

        >>> Target("coppice-service", "serve.port", "0.0.0.0", 3000).address
        '127.0.0.1:3000'
        """
        return doors.url(self.host, self.port).removeprefix("http://")


def targets(tree: settings.Settings) -> tuple[Target, ...]:
    """Return every process of the loop, also those that show no metrics yet."""
    host = tree.metrics.host
    found = (
        Target("coppice-service", "serve.port", tree.serve.host, tree.serve.port),
        Target("coppice-monitor", "monitor.port", tree.monitor.host, tree.monitor.port),
        Target("coppice-retrain", "retrain.metrics_port", host, tree.retrain.metrics_port),
        Target("coppice-rollout", "rollout.metrics_port", host, tree.rollout.metrics_port),
    )
    if tree.events.backend != "kafka":
        return found
    kafka = tree.kafka
    joining = (
        Target("coppice-relay", "kafka.relay_metrics_port", host, kafka.relay_metrics_port),
        Target("coppice-follow", "kafka.follow_metrics_port", host, kafka.follow_metrics_port),
    )
    return (*found, *joining)


def silent(tree: settings.Settings) -> list[str]:
    """Name the settings of the ports that are off, so that nothing can be scraped there."""
    return [target.setting for target in targets(tree) if not target.port]


def files(
    tree: settings.Settings,
    *,
    webhook: str = "",
    runbooks: str = "",
    alertmanager: str = ALERTMANAGER,
) -> dict[str, str]:
    """Return the text of every file, by its path in the folder.

    Parameters
    ----------
    tree
        Ports and the model's name.
    webhook
        Where alerts are sent; nowhere without one.
    runbooks
        Address of the folder with the runbook pages; as in the sources without one.
    alertmanager
        Host and port of the Alertmanager.
    """
    model = tree.project.name
    place = f"{runbooks.rstrip('/')}/" if runbooks else RUNBOOKS
    found = {
        "prometheus.yml": _fill(
            "prometheus.yml.txt", model=model, alertmanager=alertmanager, jobs=_jobs(tree)
        ),
        "alertmanager.yml": _fill("alertmanager.yml.txt", model=model, **_receiver(webhook)),
    }
    for name, text in _shipped("monitoring.rules", ".yaml"):
        found[f"rules/{name}"] = text.replace(f"runbook_url: {RUNBOOKS}", f"runbook_url: {place}")
    for name, text in _shipped("monitoring.dashboards", ".json"):
        found[f"dashboards/{name}"] = text
    return found


def write(folder: Path, found: dict[str, str], *, force: bool = False) -> list[Path]:
    """Write files into a folder and return their paths.

    Raises
    ------
    ProjectError
        One of them is there already and `force` is off, or the folder cannot be written.
    """
    taken = [name for name in found if (folder / name).exists()]
    if taken and not force:
        message = f"{folder / taken[0]} is there already; `--force` writes over it"
        raise errors.ProjectError(message)
    written = []
    try:
        for name, text in found.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    except OSError as cause:
        message = f"cannot write to {folder}: {cause}"
        raise errors.ProjectError(message) from cause
    return written


def _jobs(tree: settings.Settings) -> str:
    lines = []
    for target in targets(tree):
        if target.port:
            lines += [
                f"  - job_name: {target.job}",
                "    honor_labels: true",
                "    static_configs:",
                f'      - targets: ["{target.address}"]',
                f'        labels: {{ model: "{tree.project.name}" }}',
            ]
    return "\n".join(lines)


def _receiver(webhook: str) -> dict[str, str]:
    if not webhook:
        return {"receiver": "nowhere", "receivers": ""}
    lines = ["  - name: webhook", "    webhook_configs:", f'      - url: "{webhook}"']
    return {"receiver": "webhook", "receivers": "\n".join(lines)}


def _fill(template: str, **values: str) -> str:
    text = resources.files("coppice_cli").joinpath("templates", template).read_text("utf-8")
    return string.Template(text).substitute(values).rstrip() + "\n"


def _shipped(package: str, ending: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(resources.files(package).iterdir(), key=lambda each: each.name):
        if entry.name.endswith(ending):
            yield entry.name, entry.read_text("utf-8")
