"""The README beside an exported file: how to load it, and what goes in and comes out.

The lines of Python in it are a program, which tests run.
"""

from __future__ import annotations

from pathlib import Path

from coppice import artifact

_ONNX = """
import numpy, onnxruntime
session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
answers = dict(zip([o.name for o in session.get_outputs()], session.run(None, {rows})))
"""

_PT2 = """
import numpy, torch
program = torch.export.load("{file}").module()
answers = dict(zip({outputs}, program(*map(torch.from_numpy, {rows}.values()))))
"""

_OPENVINO = """
import numpy, openvino
compiled = openvino.compile_model("{file}", "CPU", {{"INFERENCE_PRECISION_HINT": "{hint}"}})
answers = {{o.any_name: value for o, value in compiled({rows}).items()}}
"""

_TEMPLATES = {".onnx": _ONNX, ".pt2": _PT2, ".xml": _OPENVINO}

_TEXT = """# {name} {precision}

`{file}` is the version `{tag}`, checked to answer as it does. Loaded in three lines:

```python
{program}
```

Inputs, any number of rows: {inputs}.
`answers["scores"]` are {scores}; they need no softmax.{more}
"""


def beside(file: Path) -> Path:
    """Return where the README of an exported file lies.

    >>> beside(Path("out/digits-fp32.onnx")).as_posix()
    'out/digits-fp32.onnx.README.md'
    """
    return file.with_name(f"{file.name}.README.md")


def write(
    file: Path,
    manifest: artifact.Manifest,
    *,
    tag: str,
    precision: artifact.Precision,
    outputs: tuple[str, ...],
) -> None:
    """Write the README of an exported file beside it.

    Parameters
    ----------
    outputs
        Names of what the file gives, in its order.
    """
    program = _TEMPLATES[file.suffix].format(
        file=file.name,
        rows=_example(manifest),
        outputs=list(outputs),
        hint={"fp32": "f32", "int8": "f32", "bf16": "bf16"}[precision],
    )
    text = _TEXT.format(
        name=manifest.name,
        precision=precision,
        file=file.name,
        tag=tag,
        program=program.strip(),
        inputs="; ".join(_input(manifest, spec) for spec in manifest.inputs),
        scores=_scores(manifest),
        more=_more(file, outputs),
    )
    beside(file).write_text(text, encoding="utf-8")


def _example(manifest: artifact.Manifest) -> str:
    """Return the program's rows: one of zeros for each input, or of the least code it may hold."""
    arrays = [
        f'"{spec.name}": numpy.full({(1, *spec.shape)}, {_plain(manifest, spec)}, "{spec.dtype}")'
        if spec.name in manifest.codes
        else f'"{spec.name}": numpy.zeros({(1, *spec.shape)}, "{spec.dtype}")'
        for spec in manifest.inputs
    ]
    return "{" + ", ".join(arrays) + "}"


def _plain(manifest: artifact.Manifest, spec: artifact.TensorSpec) -> int:
    return max(0, *manifest.codes[spec.name].low)


def _input(manifest: artifact.Manifest, spec: artifact.TensorSpec) -> str:
    shape = f"`{spec.name}` {spec.dtype} [rows{''.join(f', {size}' for size in spec.shape)}]"
    known = manifest.codes.get(spec.name)
    if known is None:
        return shape
    low, high = (
        str(ends[0]) if len(ends) == 1 else str(list(ends)) for ends in (known.low, known.high)
    )
    return f"{shape}, codes from {low} to {high} (nothing here checks them)"


def _scores(manifest: artifact.Manifest) -> str:
    if not manifest.classes:
        return "the values [rows]"
    return f"the probabilities [rows, {len(manifest.classes)}] of {', '.join(manifest.classes)}"


def _more(file: Path, outputs: tuple[str, ...]) -> str:
    parts = []
    if len(outputs) > 1:
        parts.append(' `answers["embedding"]` is what the last layer read.')
    if file.suffix == ".xml":
        parts.append(f" Its weights are in `{file.stem}.bin`, which must lie beside it.")
    return "".join(parts)
