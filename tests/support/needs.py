"""What a test needs that may not be installed; it is skipped loudly without it."""

from __future__ import annotations

import importlib.util

import pytest


def openvino() -> None:
    """Skip the test, or the module, without OpenVINO.

    It is not imported to find out: by itself, without `coppice.openvino`, it would report home.
    """
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("needs the extra `openvino`", allow_module_level=True)
