"""Result frames: forecasts beside the truth in the layout of the Nixtla tools.

Columns ``unique_id, ds, cutoff, step, last, y, <model>, <model>-lo-90, <model>-hi-90, ...``; one row per origin and
step ahead whose stamp is in the panel. ``last`` is the last observed value at the origin, which is what
direction is measured against. Where a model tells the probability of going up (``<model>-up``), ``usual`` holds what
it is compared with: :func:`base_rate`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecast import metrics
from forecast.baselines import last_seen
from pipelines.panel import Panel

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def origins_between(panel: Panel, first: Index, last: Index) -> Index:
    """Rows of ``panel.frame`` at positions ``[first, last)`` of every series (``[S]`` each), ascending."""
    low = panel.offsets[:-1] + np.clip(first, 0, panel.lengths)
    high = panel.offsets[:-1] + np.clip(last, 0, panel.lengths)
    parts = [np.arange(a, b) for a, b in zip(low, high, strict=True)]
    return np.concatenate(parts).astype(np.int64)


def result_frame(panel: Panel, rows: Index, columns: Mapping[str, Array]) -> pd.DataFrame:
    """Forecasts ``columns[name] [M, H]`` at the origins ``rows [M]`` beside the truth, in natural units.

    Steps that lie beyond the end of a series are left out; a missing truth or forecast stays NaN.
    """
    horizon = next(iter(columns.values())).shape[1]
    owner = np.searchsorted(panel.offsets, rows, side="right") - 1
    target = rows[:, None] + np.arange(1, horizon + 1)
    inside = target < panel.offsets[owner + 1][:, None]
    at, step = np.nonzero(inside)
    hit = target[inside]
    y = panel.column("y")
    seen = last_seen(panel)[rows]
    last = np.where(seen >= 0, y[np.maximum(seen, 0)], np.nan)
    ids = np.asarray(panel.ids, dtype=object)
    frame: dict[str, object] = {
        "unique_id": pd.Categorical.from_codes(owner[at], categories=pd.Index(ids)),
        "ds": panel.ds[hit],
        "cutoff": panel.ds[rows[at]],
        "step": step + 1,
        "last": last[at],
        "y": y[hit],
    }
    if any(metrics.chance(name) in columns for name in columns):
        frame["usual"] = base_rate(panel, rows, horizon)[at, step]
    frame.update({name: values[at, step] for name, values in columns.items()})
    return pd.DataFrame(frame)


def base_rate(panel: Panel, rows: Index, horizon: int) -> Array:
    """``[M, H]`` how often a series has gone up so far: the share of its ``h``-step changes known at the origin.

    By Laplace's rule of succession, ``(ups + 1) / (changes + 2)``, so that it is a half before anything is known. Only
    changes whose end lies at or before the origin count; a change of zero is not up.
    """
    y, seen = panel.column("y"), last_seen(panel)
    last = np.where(seen >= 0, y[np.maximum(seen, 0)], np.nan)
    first = panel.offsets[np.searchsorted(panel.offsets, np.arange(len(y)), side="right") - 1]
    out = np.empty((len(rows), horizon))
    for h in range(1, horizon + 1):
        change = np.full(len(y), np.nan)
        change[h:] = y[h:] - last[:-h] if h < len(y) else np.nan
        change[np.arange(len(y)) - first < h] = np.nan  # the origin belongs to the series before
        ups, known = (np.concatenate([[0], np.cumsum(flag)]) for flag in (change > 0, ~np.isnan(change)))
        count = known[rows + 1] - known[first[rows]]
        out[:, h - 1] = (ups[rows + 1] - ups[first[rows]] + 1) / (count + 2)
    return out
