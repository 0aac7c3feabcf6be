"""What every peer's runner shares: data, constants, one JSON line. Needs numpy and pandas only."""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

BEGAN = time.perf_counter()
warnings.filterwarnings("ignore")

import logging  # noqa: E402
import sys  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import daily, etth1, hourly  # noqa: E402

for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "darts", "neuralforecast"):
    logging.getLogger(name).setLevel(logging.ERROR)
THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))
HORIZON, LOOKBACK, BATCH, LAYERS, HIDDEN, DROPOUT, LR = 24, 64, 64, 2, 64, 0.2, 1e-3
ORIGINS = 2000


def series(name: str) -> tuple[np.ndarray[Any, Any], str]:
    """``([S, T], frequency)`` of ``daily``, ``hourly`` (100 series) or ``etth1`` (7 channels)."""
    if name == "daily":
        return daily(5000)[None].astype(np.float32), "D"
    if name == "hourly":
        return hourly(100, 2000).astype(np.float32), "h"
    table = etth1()
    if table is None:
        raise SystemExit("ETTh1 is not in ../shared/data")
    return table.astype(np.float32), "h"


def frame(values: np.ndarray[Any, Any], freq: str) -> pd.DataFrame:
    count, points = values.shape
    stamps = pd.date_range("2005-01-01", periods=points, freq=freq)
    names = np.repeat([f"s{i:03d}" for i in range(count)], points)
    return pd.DataFrame({"unique_id": names, "ds": np.tile(stamps, count), "y": values.reshape(-1)})


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", required=True, choices=["train", "backtest", "job", "accuracy"])
    parser.add_argument("--data", default="daily")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--variant", default="", help="another form of the peer's net: recurrent, rin")
    return parser.parse_args()


def clock(callback: type) -> Any:
    """A Lightning callback that stamps the end of every training batch."""

    class Clock(callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.stamps: list[float] = []

        def on_train_start(self, *a: Any, **k: Any) -> None:
            self.start = time.perf_counter()

        def on_train_batch_end(self, *a: Any, **k: Any) -> None:
            self.stamps.append(time.perf_counter())

        def on_train_end(self, *a: Any, **k: Any) -> None:
            self.end = time.perf_counter()

        def __deepcopy__(self, memo: Any) -> Any:
            return self

    return Clock()


def emit(peer: str, task: argparse.Namespace, **values: Any) -> None:
    names = ("torch", "neuralforecast", "darts", "pytorch-lightning", "numpy", "pandas")
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    record = {"peer": peer, "task": task.task, "data": task.data, "seed": task.seed, "threads": THREADS,
              "versions": versions, **values}  # fmt: skip
    print("BENCHJSON " + json.dumps(record), flush=True)
