"""Disturbed panels: the same past with another future, for the audit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.panel import Panel

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

FLAVOURS: tuple[str, ...] = ("noise", "a random walk", "missing values", "nothing")
"""White noise around the past's mean; a walk of large steps from the last value; NaN; no rows at all."""


def disturbed(panel: Panel, cutoff: pd.Timestamp, flavour: str, rng: np.random.Generator) -> Panel:
    """``panel`` with the target and the past covariates of all series after ``cutoff`` replaced.

    A column that is positive throughout a series stays positive there, so that logarithms stay defined.
    """
    if flavour == "nothing":
        return panel.up_to(cutoff)
    columns: dict[str, Any] = {}
    later = panel.ds > cutoff.to_datetime64()
    for name in ("y", *panel.covariates("past")):
        values = panel.column(name).copy()
        for low, high in zip(panel.offsets[:-1], panel.offsets[1:], strict=True):
            part, change = values[low:high], later[low:high]
            if change.any():
                part[change] = _other(part, change, flavour, rng)
        columns[name] = values
    return replace(panel, frame=panel.frame.assign(**columns))


def _other(part: Floats, change: NDArray[np.bool_], flavour: str, rng: np.random.Generator) -> Floats:
    """New values for ``part[change]``."""
    count = int(change.sum())
    if flavour == "missing values":
        return np.full(count, np.nan)
    known = part[~np.isnan(part)]
    positive = bool(len(known)) and bool((known > 0).all())
    scaled = np.log(known) if positive else known
    past = part[~change]
    past = past[~np.isnan(past)]
    past = np.log(past) if positive else past
    if len(past) < 2:  # the series begins later: whatever it held, now it holds something else
        past = scaled if len(scaled) > 1 else np.array([0.0, 1.0])
    spread = max(float(past.std()), float(np.abs(np.diff(past)).mean()), 1e-3 * max(1.0, abs(float(past.mean()))))
    if positive:
        spread = min(spread, 2.0)
    if flavour == "noise":
        out = past.mean() + 2 * spread * rng.standard_normal(count)
    else:
        steps = 5 * float(np.abs(np.diff(past)).mean() or spread) * rng.standard_normal(count)
        out = past[-1] + np.cumsum(steps)
    made: Floats = np.exp(np.clip(out, -300, 300)) if positive else out
    return made


def with_hole(panel: Panel, cutoff: pd.Timestamp, rows: int = 2) -> Panel:
    """``panel`` with the last ``rows`` targets up to ``cutoff`` missing in every series, bait for a back-fill."""
    values = panel.column("y").copy()
    for low, high in zip(panel.offsets[:-1], panel.offsets[1:], strict=True):
        end = int(low + np.searchsorted(panel.ds[low:high], cutoff.to_datetime64(), side="right"))
        if end - low > 2 * rows:
            values[end - rows : end] = np.nan
    return replace(panel, frame=panel.frame.assign(y=values))


def place(panel: Panel, other: Panel, rows: Rows) -> Rows:
    """Where ``rows`` of ``panel`` are in ``other``, which has the same series or fewer, cut off later."""
    owner = np.searchsorted(panel.offsets, rows, side="right") - 1
    position = {name: i for i, name in enumerate(other.ids)}
    begin = np.array([other.offsets[position[panel.ids[i]]] for i in owner], np.int64)
    return (begin + rows - panel.offsets[owner]).astype(np.int64)
