"""`python -m coppice_cli` is `coppice`."""

from __future__ import annotations

from coppice_cli.main import run

if __name__ == "__main__":
    run()
