"""Simulated panels for the tests of backtests and audits, and a net small enough to train in a moment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from forecast.config import Config
from pipelines.grid import Grid
from pipelines.panel import Panel

SMALL: dict[str, Any] = {
    "data.kind": "sensor", "data.anchor": "last", "data.calendar": False, "data.k1": 16, "model.core": "gru",
    "model.hidden": 4, "model.skip": 0, "train.epochs": 2, "train.threads": 1,
}  # fmt: skip


def small(**settings: Any) -> Config:
    return Config().override(**{**SMALL, **settings})


def walks(*lengths: int, seed: int = 0, phi: float = 0.5, positive: bool = False) -> Panel:
    """Series ``a, b, ...`` whose steps are AR(1) with coefficient ``phi``; all end on the same day."""
    rng = np.random.default_rng(seed)
    last = pd.Timestamp("2024-12-31")
    frames = []
    for number, length in enumerate(lengths):
        steps = rng.standard_normal(length + 50)
        for t in range(1, len(steps)):
            steps[t] += phi * steps[t - 1]
        y = np.cumsum(steps[50:]) * 10.0**number
        y = 100 * np.exp(0.01 * y / 10.0**number) if positive else y
        stamps = pd.date_range(end=last, periods=length, freq="D")
        frames.append(pd.DataFrame({"unique_id": "abcdefgh"[number], "ds": stamps, "y": y}))
    return Panel(pd.concat(frames), Grid("D"))
