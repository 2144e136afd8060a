"""Keep the processes of `coppice up` running: start in order, restart with patience, drain at end.

What may NOT happen here: knowing what the processes do. `main` names them; the rest sees programs.
"""

from __future__ import annotations

from coppice_cli.supervise.children import Child, http_ready
from coppice_cli.supervise.life import Patience
from coppice_cli.supervise.lock import Status, read_status
from coppice_cli.supervise.supervisor import Stop, Supervisor, until_signalled
from coppice_cli.supervise.up import main

__all__ = [
    "Child",
    "Patience",
    "Status",
    "Stop",
    "Supervisor",
    "http_ready",
    "main",
    "read_status",
    "until_signalled",
]
