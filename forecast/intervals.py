"""Conformal intervals in a backtest: what each model's intervals start from, and which fold they belong to.

Split intervals belong to a fold: their scores come from forecasts before its cutoff, by a fit that had not seen
those truths (nets: the span for early stopping; other fitted models: a second fit that leaves the calibration rows
out). Rolling and adaptive ones start from the first fold's scores and go on learning from truths as they become
known. Baselines get them too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecast import conformal, frames
from forecast.baselines import Forecaster
from forecast.cuts import Cut
from forecast.folds_run import FoldResult, early_origins
from pipelines.panel import Panel

Floats = NDArray[np.float64]
Method = Literal["split", "rolling", "adaptive"]
Early = tuple[NDArray[np.int64], Floats]


def early_of(results: Sequence[Sequence[FoldResult]], cuts: Sequence[Cut]) -> list[Early]:
    """Per cut, the origins before its cutoff and the mean of the seeds' forecasts there."""
    return [
        (results[0][i].early_rows, np.mean([seed[i].early_point for seed in results], axis=0)) for i in range(len(cuts))
    ]


def early_of_baseline(panel: Panel, one: Forecaster, cuts: Sequence[Cut], count: int, horizon: int) -> list[Early]:
    """The same for a baseline that learns nothing."""
    out = []
    for cut in cuts:
        train = cut.fold.train(panel)
        rows = early_origins(train, panel, None, count, horizon)
        out.append((rows, one.predict(panel, rows, horizon)))
    return out


def with_intervals(
    panel: Panel, frame: pd.DataFrame, early: Mapping[str, list[Early]], cuts: Sequence[Cut], method: Method, level: int
) -> pd.DataFrame:
    """``frame`` with conformal intervals of every model in ``early``.

    Raises:
        UsageError: split intervals are asked for and a fold has no forecasts before its cutoff.
    """
    for name, parts in early.items():
        if method == "split":
            pieces = []
            for cut, (rows, point) in zip(cuts, parts, strict=True):
                mine = frame[frame["cutoff"].isin(cut.origins)]
                pieces.append(_one(panel, mine, name, rows, point, method, level))
            frame = pd.concat(pieces).loc[frame.index]
        else:
            frame = _one(panel, frame, name, *parts[0], method, level)
    return frame


def _one(
    panel: Panel, frame: pd.DataFrame, name: str, rows: NDArray[np.int64], point: Floats, method: Method, level: int
) -> pd.DataFrame:
    before = frames.result_frame(panel, rows, {name: point}) if len(rows) else None
    return conformal.conformalize(frame, [name], method=method, level=level, calibration=before)
