"""Chromium without a head: what a page looks like, and what it complains about."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = "NO BROWSER: the page was not rendered here"
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)


def browse(path: Path, profile: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a browser of its own profile, with further options."""
    argv = [str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", *words, path.as_uri()]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=300)


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the page itself had to say; the browser's own worries are not about the page."""
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]
