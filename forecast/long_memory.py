"""A series that cannot be forecast without a long memory: a marked value must be given back ``delay`` rows later.

A delayed copy with distractors, the adding problem of Hochreiter and Schmidhuber (1997) with one number in place of
two. Every row has a fresh random ``value``; now and then one is marked. The target is missing but for two rows of
every block: 0 at the origin, ``delay`` rows behind the mark, and the marked value in the row after it. So every
forecast that counts is made ``delay`` rows behind the only row that tells it.

No short cut leads around the memory: the target says nothing before it is due, the linear skip reads the target and
is off, there is neither season nor calendar, and what a causal mean over 1,000 values keeps of one of them is a
thousandth. A block is longer than the delay by a few rows at random, so that the distance between two
marks tells nothing either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import UsageError
from pipelines.grid import Grid
from pipelines.panel import Panel

if TYPE_CHECKING:
    from forecast.model import Model

SPARE = 8  # rows more than needed that a block has at most
SHORTEST, LONGEST = 2, 500


def check_delay(delay: int, flag: str = "") -> None:
    """Refuse a delay the series is not made for; ``flag`` stands before its name.

    Raises:
        UsageError: it is out of range.
    """
    if not SHORTEST <= delay <= LONGEST:
        raise UsageError(
            f"{flag}delay is {delay}, expected {SHORTEST} to {LONGEST} steps.",
            hint="Use 30 for a quick look, 100 for a test.",
        )


def delayed_recall(delay: int = 100, blocks: int = 2000, seed: int = 0) -> Panel:
    """The series: ``blocks`` marks, about ``delay + 6`` hourly rows each; past covariates ``value`` and ``marker``.

    Raises:
        UsageError: ``delay`` or ``blocks`` is out of range.
    """
    check_delay(delay)
    if blocks < 50:
        raise UsageError(f"blocks is {blocks}, expected at least 50.", hint="The default is 2,000.")
    rng = np.random.default_rng(seed)
    sizes = delay + 3 + rng.integers(0, SPARE, blocks)
    marks = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rows = int(sizes.sum())
    value, marker = rng.uniform(-1.0, 1.0, rows), np.zeros(rows)
    marker[marks] = 1.0
    y = np.full(rows, np.nan)
    y[marks + delay] = 0.0
    y[marks + delay + 1] = value[marks]
    stamps = pd.date_range("1900-01-01", periods=rows, freq="h", unit="s")
    frame = pd.DataFrame({"unique_id": "recall", "ds": stamps, "y": y, "value": value, "marker": marker})
    return Panel(frame, Grid("h"), {"value": "past", "marker": "past"})


def recall_settings(delay: int = 100) -> dict[str, Any]:
    """Settings under which the series asks for memory and nothing else, nested as a preset's.

    Updates are ``delay`` steps apart and reach two delays back, so that every target that counts in a chunk has its
    mark in it.

    Raises:
        UsageError: ``delay`` is out of range.
    """
    check_delay(delay)
    return {
        "data": {
            "kind": "sensor", "horizon": 1, "mode": "stream", "anchor": "last", "season": 1, "short": 1000,
            "long": 4000, "calendar": False, "k1": delay, "k2": 2 * delay + SPARE + 2, "lanes": 32,
        },
        "model": {"hidden": 32, "dropout": 0.0, "skip": 0, "head": "point", "loss": "mse"},
        "train": {"updates": 600, "lr": 5e-3, "weight_decay": 0.0, "patience": 1000},
    }  # fmt: skip


def recall_origins(panel: Panel) -> NDArray[np.int64]:
    """``[M]`` rows at which a marked value is due in the next row."""
    seen = ~np.isnan(panel.column("y"))
    return np.flatnonzero(seen[:-1] & seen[1:])


def explained(model: Model, panel: Panel) -> float:
    """Share of the variance of what is due that forecasts of the holdout span explain: 1 is perfect, 0 nothing."""
    rows = recall_origins(panel)
    rows = rows[panel.ds[rows] > np.datetime64(model.facts["spans"]["stop_end"])]
    due = panel.column("y")[rows + 1]
    wrong = due - model.forecast_rows(panel, rows).point[:, 0]
    return float(1.0 - np.mean(wrong**2) / np.var(due))
