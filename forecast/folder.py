"""The parts of a run folder beside the weights: where a model stands, the rows it read, versions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from forecast import storage
from forecast.reader import Standing
from pipelines.grid import Grid
from pipelines.panel import Panel


def versions() -> dict[str, str]:
    """Versions of this toolkit and of what decides its numbers."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    out = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("forecast-toolkit", "torch", "numpy", "pandas", "scikit-learn", "pytorch-lightning"):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            out[name] = "not installed"
    return out


def pack(standing: Standing) -> dict[str, torch.Tensor]:
    out = {f"core.{i}": part for i, part in enumerate(standing.core)}
    out |= {f"scans.{name}": torch.from_numpy(part) for name, part in standing.scans.items()}
    out |= {name: getattr(standing, name) for name in ("features", "recent", "level", "ahead", "static")}
    out |= {name: torch.from_numpy(getattr(standing, name)) for name in ("anchor", "scale")}
    return {name: part.contiguous().clone() for name, part in out.items()}


def unpack(stored: dict[str, torch.Tensor]) -> Standing:
    # copies in torch's own memory, aligned as when they were written, so that products round alike
    tensors = {name: part.clone() for name, part in stored.items()}
    core = tuple(tensors[f"core.{i}"] for i in range(sum(name.startswith("core.") for name in tensors)))
    scans = {name.removeprefix("scans."): part.numpy() for name, part in tensors.items() if name.startswith("scans.")}
    parts = {name: tensors[name] for name in ("features", "recent", "level", "ahead", "static")}
    return Standing(core=core, scans=scans, anchor=tensors["anchor"].numpy(), scale=tensors["scale"].numpy(), **parts)


def write_panel(panel: Panel, folder: Path) -> None:
    panel.frame.astype({"unique_id": str}).to_parquet(folder / "data.parquet", index=False)
    if panel.future is not None:
        panel.future.astype({"unique_id": str}).to_parquet(folder / "future.parquet", index=False)
    about = {
        "grid": panel.grid.to_json(), "roles": dict(panel.roles), "target": panel.target, "source": panel.source,
        "notes": list(panel.notes), "meta": dict(panel.meta),
    }  # fmt: skip
    storage.dump_json(folder / "data.json", about)


def read_panel(folder: Path) -> Panel:
    about = storage.load_json(folder / "data.json")
    future = folder / "future.parquet"
    return Panel(
        pd.read_parquet(folder / "data.parquet"), Grid(**about["grid"]), about["roles"],
        future=pd.read_parquet(future) if future.is_file() else None, target=about["target"], source=about["source"],
        notes=tuple(about["notes"]), meta=about["meta"],
    )  # fmt: skip
