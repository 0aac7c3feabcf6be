"""Data for forecasting: load tickers and files, check them, window them, cut them into folds.

    >>> import pipelines as pl
    >>> panel = pl.load("^GSPC", source="sample", start="2010-01-01")
    >>> pl.windows(panel, lookback=60, horizon=5)
    Windows: X (2200, 60, 1) (y), y (2200, 5), origins 2010-03-30 00:00:00 to 2018-12-21 00:00:00

Importing this package loads no torch; a name is looked up when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.batches import Batch as Batch
    from pipelines.batches import Windows as Windows
    from pipelines.batches import streams as streams
    from pipelines.batches import windows as windows
    from pipelines.clean import from_frame as from_frame
    from pipelines.errors import ToolkitError as ToolkitError
    from pipelines.folds import Fold as Fold
    from pipelines.folds import WalkForwardSplit as WalkForwardSplit
    from pipelines.folds import walk_forward as walk_forward
    from pipelines.grid import Grid as Grid
    from pipelines.panel import Panel as Panel
    from pipelines.pipeline import Pipeline as Pipeline
    from pipelines.sources.files import read_csv as read_csv
    from pipelines.sources.files import read_parquet as read_parquet
    from pipelines.spec import PipelineSpec as PipelineSpec
    from pipelines.tickers import load as load

_WHERE = {
    "Batch": "pipelines.batches",
    "Fold": "pipelines.folds",
    "Grid": "pipelines.grid",
    "Panel": "pipelines.panel",
    "Pipeline": "pipelines.pipeline",
    "PipelineSpec": "pipelines.spec",
    "ToolkitError": "pipelines.errors",
    "WalkForwardSplit": "pipelines.folds",
    "Windows": "pipelines.batches",
    "from_frame": "pipelines.clean",
    "load": "pipelines.tickers",
    "read_csv": "pipelines.sources.files",
    "read_parquet": "pipelines.sources.files",
    "streams": "pipelines.batches",
    "walk_forward": "pipelines.folds",
    "windows": "pipelines.batches",
}
__all__ = [
    "Batch",
    "Fold",
    "Grid",
    "Panel",
    "Pipeline",
    "PipelineSpec",
    "ToolkitError",
    "WalkForwardSplit",
    "Windows",
    "from_frame",
    "load",
    "read_csv",
    "read_parquet",
    "streams",
    "walk_forward",
    "windows",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'pipelines' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
