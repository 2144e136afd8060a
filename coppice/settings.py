"""All settings: one frozen tree, read from `coppice.toml`, then from `COPPICE_` variables.

The tables are described in `coppice.sections`. Their fields are set from the environment with two
underscores: `COPPICE_SERVE__PORT=8080` is `[serve] port = 8080`.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Self

import pydantic
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from coppice import errors, typos
from coppice.sections import (
    DecaySettings,
    DriftSettings,
    EvidenceSettings,
    GateSettings,
    InspectSettings,
    MetricsSettings,
    MonitorSettings,
    ProjectSettings,
    RetrainSettings,
    RolloutSettings,
    Section,
    TrainSettings,
)
from coppice.sections_cluster import ClusterSettings
from coppice.sections_events import EventSettings
from coppice.sections_kafka import KafkaSettings
from coppice.sections_pack import PackSettings
from coppice.sections_prune import PruneSettings, StepSettings
from coppice.sections_search import SearchSettings
from coppice.sections_serve import ServeSettings
from coppice.sections_store import StoreSettings

__all__ = [
    "FILE",
    "ClusterSettings",
    "DecaySettings",
    "DriftSettings",
    "EventSettings",
    "EvidenceSettings",
    "GateSettings",
    "InspectSettings",
    "KafkaSettings",
    "MetricsSettings",
    "MonitorSettings",
    "PackSettings",
    "ProjectSettings",
    "PruneSettings",
    "RetrainSettings",
    "RolloutSettings",
    "SearchSettings",
    "Section",
    "ServeSettings",
    "Settings",
    "StepSettings",
    "StoreSettings",
    "TrainSettings",
    "environment_typos",
    "from_tree",
    "load",
]

FILE = "coppice.toml"


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="COPPICE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    root: Path = Path()
    """Folder of coppice.toml; every relative path starts here. Set by `load`, not by the file."""
    project: ProjectSettings
    store: StoreSettings = StoreSettings()
    train: TrainSettings = TrainSettings()
    prune: PruneSettings = PruneSettings()
    pack: PackSettings = PackSettings()
    search: SearchSettings = SearchSettings()
    gates: GateSettings = GateSettings()
    inspect: InspectSettings = InspectSettings()
    serve: ServeSettings = ServeSettings()
    events: EventSettings = EventSettings()
    kafka: KafkaSettings = KafkaSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    drift: DriftSettings = DriftSettings()
    decay: DecaySettings = DecaySettings()
    monitor: MonitorSettings = MonitorSettings()
    metrics: MetricsSettings = MetricsSettings()
    retrain: RetrainSettings = RetrainSettings()
    rollout: RolloutSettings = RolloutSettings()
    cluster: ClusterSettings = ClusterSettings()

    @property
    def home(self) -> Path:
        """Folder of all local state, absolute."""
        return (self.root / self.store.home.expanduser()).resolve()

    @pydantic.model_validator(mode="after")
    def _name_the_cluster(self) -> Self:
        if self.events.backend == "kafka" and not self.kafka.servers:
            message = "events.backend is kafka, but kafka.servers is empty; name the brokers"
            raise ValueError(message)
        return self

    @property
    def log_path(self) -> Path:
        """The SQLite event log that every process but the server works on."""
        return self.home / "events.sqlite"

    @property
    def outbox_path(self) -> Path:
        """The SQLite event log that the server writes: the same, unless Kafka joins the two."""
        return self.home / "outbox.sqlite" if self.events.backend == "kafka" else self.log_path

    @property
    def routing_path(self) -> Path:
        """The routing table."""
        chosen = self.serve.routing_file
        return self.home / "routing.json" if chosen is None else self.root / chosen

    @property
    def registry_path(self) -> Path:
        """This machine's part of the registry: BentoML's home, or a far registry's cache."""
        return self.home / "bentoml"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file."""
        del settings_cls, dotenv_settings, file_secret_settings
        if isinstance(env_settings, EnvSettingsSource):
            # COPPICE_PROJECT is the folder that a server is started in, not the table [project].
            nested = {name: v for name, v in env_settings.env_vars.items() if "__" in name}
            env_settings.env_vars = nested
        return env_settings, init_settings


def load(folder: Path) -> Settings:
    """Read `coppice.toml` in a folder, then the environment over it.

    Raises
    ------
    SettingsError
        The file is missing or not TOML, a key is unknown (the nearest known one is named), or a
        value is not allowed.
    """
    path = folder / FILE
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as cause:
        message = f"there is no {FILE} in {folder.resolve()}; `coppice init {folder}` makes one"
        raise errors.SettingsError(message) from cause
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        message = f"{path} is not valid TOML: {cause}"
        raise errors.SettingsError(message) from cause
    return from_tree(tree, root=folder.resolve(), origin=str(path))


def from_tree(tree: dict[str, Any], *, root: Path, origin: str = FILE) -> Settings:
    """Build the settings from a parsed file; see `load`."""
    # A leading underscore would reach pydantic's own parameters.
    for key in [key for key in tree if key == "root" or key.startswith("_")]:
        message = f"{origin}: {key!r} cannot be set in the file; remove it"
        raise errors.SettingsError(message)
    try:
        return Settings(root=root, **tree)
    except pydantic.ValidationError as cause:
        findings = "\n".join(f"  {typos.explain(error, Settings)}" for error in cause.errors())
        message = f"{origin} (or a COPPICE_ variable) is not valid:\n{findings}"
        raise errors.SettingsError(message) from cause
    except SettingsError as cause:
        message = f"a COPPICE_ variable is not valid: {cause}; write lists as JSON: [0.1, 0.5]"
        raise errors.SettingsError(message) from cause


def environment_typos() -> list[str]:
    """Name every COPPICE_ variable that no setting reads, with the nearest one that exists."""
    return typos.variables(sorted(os.environ), Settings, free="COPPICE_EVENTS__CAPTURE__")
