"""Stands for your own training, however you do it: all that Coppice needs is the state dict."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from project import build_model, load_data

EPOCHS = 150


def main() -> None:
    """Train, and write dense.safetensors beside this file."""
    torch.manual_seed(0)
    data = load_data()
    model = build_model().train()
    inputs = {name: torch.from_numpy(values) for name, values in data.train.inputs.items()}
    targets = torch.from_numpy(data.train.targets)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(**inputs), targets, label_smoothing=0.05)
        loss.backward()
        optimizer.step()
    path = Path(__file__).parent / "dense.safetensors"
    safetensors.torch.save_file(model.state_dict(), path)
    print(f"wrote {path}, last loss {loss.item():.4f}")  # noqa: T201 - a script speaks to you


if __name__ == "__main__":
    main()
