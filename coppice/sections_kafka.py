"""The table `[kafka]` of `coppice.toml`: the cluster that joins the logs of several machines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

import pydantic
from pydantic import Field

from coppice.sections import Section

_ADDRESS = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")


class KafkaSettings(Section):
    """The Kafka cluster, used where `events.backend` is `kafka`."""

    servers: str = ""
    """`host:port` of the brokers that are asked first, separated by commas."""
    prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,100}$")
    """Before the name of every topic, for example `eu.`, where projects share a cluster."""
    client_id: str = Field(default="coppice", pattern=r"^[A-Za-z0-9._-]{1,100}$")
    """Name under which the brokers' logs and quotas know our clients."""
    api_version: str = Field(default="2.3", pattern=r"^\d{1,2}\.\d{1,2}(\.\d{1,2})?$")
    """Protocol that is spoken; brokers from this version on understand it. Never found out by
    asking, because that blocks, and fails on some brokers."""
    deadline_seconds: float = Field(default=30.0, ge=1)
    """Longest wait for the acknowledgement of a batch, or for the records of a read. A process that
    misses it ends, to be started again with a fresh client."""
    partitions: int = Field(default=6, ge=1, le=1000)
    """Partitions of each topic that `coppice log topics --create` makes: at most so many monitors
    share the work. Events about one request share a partition, so it cannot grow later."""
    replication: int = Field(default=3, ge=1, le=10)
    """Copies of each topic that `coppice log topics --create` makes."""
    min_insync: int = Field(default=2, ge=1, le=10)
    """Copies that must be there for a write to be acknowledged: with 2 of 3, an acknowledged event
    survives the loss of any one broker."""
    tls: bool = False
    """Whether connections are encrypted and the brokers' certificates are checked."""
    tls_ca_file: Path | None = None
    """Certificates (PEM) of who signs the brokers' certificates, relative to coppice.toml; by
    default whom the system trusts."""
    tls_cert_file: Path | None = None
    """Our own certificate (PEM), where the brokers ask for one."""
    tls_key_file: Path | None = None
    """The key (PEM, without a passphrase) of our own certificate."""
    tls_check_hostname: bool = True
    """Whether a broker's certificate must bear its host name. Turn it off for tests only."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    """How the brokers check who we are; not at all by default."""
    sasl_username: str = ""
    """User name for SASL."""
    sasl_password: pydantic.SecretStr = pydantic.SecretStr("")
    """Password for SASL. Set it as COPPICE_KAFKA__SASL_PASSWORD, rather than in the file."""
    relay_metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of the relay's own /metrics at `metrics.host`; 0 does not serve them."""
    follow_metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of the follower's own /metrics at `metrics.host`; 0 does not serve them."""

    @pydantic.field_validator("servers")
    @classmethod
    def _are_addresses(cls, servers: str) -> str:
        for part in filter(None, (part.strip() for part in servers.split(","))):
            if not _ADDRESS.fullmatch(part):
                message = f"{part!r} is no `host:port`; separate several by commas"
                raise ValueError(message)
        return servers

    @property
    def addresses(self) -> tuple[str, ...]:
        """The servers, one by one."""
        return tuple(part.strip() for part in self.servers.split(",") if part.strip())

    @pydantic.model_validator(mode="after")
    def _fit_together(self) -> Self:
        own = (self.tls_cert_file, self.tls_key_file)
        named = any((self.tls_ca_file, *own))
        if named and not self.tls:
            message = "tls_ca_file, tls_cert_file and tls_key_file need tls = true"
            raise ValueError(message)
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            message = "tls_cert_file and tls_key_file belong together; set both or neither"
            raise ValueError(message)
        password = self.sasl_password.get_secret_value()
        if self.sasl_mechanism is None and (self.sasl_username or password):
            message = "sasl_username and sasl_password need a sasl_mechanism, such as SCRAM-SHA-512"
            raise ValueError(message)
        if self.sasl_mechanism is not None and not (self.sasl_username and password):
            message = f"sasl_mechanism {self.sasl_mechanism} needs sasl_username and sasl_password"
            raise ValueError(message)
        if self.min_insync > self.replication:
            message = (
                f"min_insync ({self.min_insync}) must not exceed replication ({self.replication}): "
                "nothing could ever be acknowledged"
            )
            raise ValueError(message)
        return self
