"""Write every dashboard into a folder: `python -m monitoring.dashboards DIR`."""

from __future__ import annotations

import sys
from pathlib import Path

from monitoring.dashboards import boards

if __name__ == "__main__":
    boards.write(Path(sys.argv[1]))
