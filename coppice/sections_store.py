"""The table `[store]` of `coppice.toml`: where state lives, and where versions are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import pydantic
from pydantic import Field

from coppice.sections import Section


class StoreSettings(Section):
    """Where state lives, and where versions are kept."""

    home: Path = Path(".coppice")
    """Folder of all local state, relative to coppice.toml: log, registry, routing table."""
    registry: Literal["bento", "folder", "s3"] = "bento"
    """Where versions and aliases are kept: `bento` in BentoML's model store in the home folder,
    `folder` in a folder that several machines share, `s3` in a bucket of any S3-compatible
    store."""
    folder: Path | None = None
    """With `folder`: the shared folder, relative to coppice.toml."""
    bucket: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$")
    """With `s3`: the bucket; it must exist."""
    prefix: str = Field(default="", pattern=r"^([A-Za-z0-9._=-]+(/[A-Za-z0-9._=-]+)*)?$")
    """With `s3`: what every key begins with, for a bucket that holds other things, too."""
    endpoint: str = Field(default="", pattern=r"^(https?://[A-Za-z0-9._\[\]:-]+)?$")
    """With `s3`: address of the store, such as `https://minio.internal:9000`; by default Amazon's
    in the region. Credentials come from the standard variables, files and services only, never
    from here."""
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{1,40}$")
    """With `s3`: region that requests are signed for; most other stores take any."""
    ca_file: Path | None = None
    """With `s3`: certificates (PEM) of who signs the store's certificate, relative to coppice.toml;
    by default whom the system trusts."""
    timeout_seconds: float = Field(default=20.0, gt=0)
    """With `s3`: longest silence of the store before a request is sent again."""
    cache_bytes: int = Field(default=20_000_000_000, ge=0)
    """With `s3`: most bytes of versions kept on this machine; what was not used for longest goes
    first, and nothing that was used within the last hour."""

    @pydantic.model_validator(mode="after")
    def _name_the_place(self) -> Self:
        needed = {"folder": self.folder, "s3": self.bucket}
        field = {"folder": "folder", "s3": "bucket"}.get(self.registry)
        if field and not needed[self.registry]:
            message = f'store.registry is "{self.registry}", but store.{field} is empty; set it'
            raise ValueError(message)
        return self
