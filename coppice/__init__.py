"""The kernel: the words and the stores that all planes share.

What may NOT happen here: importing a plane, deciding anything, training, serving, or importing a
heavy library outside its home file (onnxruntime: runtime; bentoml: registry.bento).
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
