"""Upload one version in a process that a test can kill.

Usage: python s3_uploader.py ENDPOINT PREFIX FOLDER
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support import s3

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        s3.Place(sys.argv[1], sys.argv[2]).registry(Path(folder)).add(Path(sys.argv[3]))
