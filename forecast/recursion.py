"""Recursive forecasts: the net says one step, and reads it as if it had been observed, until all steps are said.

Many origins are rolled forward side by side: one pass over the history keeps where the net and the pipeline stand at
each of them, then every step ahead is one row for all. What comes out is measured from the origin, as a direct forecast
is: the change from the anchor there, in units of the scale there, so that intervals are calibrated and inverted alike.

Assumptions, named: what is fed back is the point forecast (the median); past covariates are held at their last value
(:mod:`pipelines.onward`). Bounds of a step are those of the net at that step, which knows nothing of the doubt of the
steps before; calibration on recursive forecasts widens them (``forecast.train``).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast import reader
from forecast.nn.network import Network
from forecast.reader import Standing
from pipelines.features import State
from pipelines.onward import Ahead, strides
from pipelines.panel import Panel
from pipelines.pipeline import Pipeline
from pipelines.prepared import Prepared

Array = NDArray[np.float64]
Index = NDArray[np.int64]
SIDE_BY_SIDE = 4096  # origins that are rolled forward together


def roll(
    network: Network, pipeline: Pipeline, standing: Standing, series: Index, ahead: Ahead, lookback: int | None
) -> Array:
    """``[M, H, width of the head]`` in the net's units at the origins, for the ``H`` rows of ``ahead``.

    Args:
        network: forecasts one step ahead.
        standing: where ``M`` origins stand; it is not changed.
        series: ``[M]`` their series in the fitted order.
        lookback: rows per window; ``None`` for a stream.
    """
    middle, unit = network.head.quantiles.index(0.5), float(pipeline.fitted.unit[0])
    anchor, scale, steps = standing.anchor[:, None], standing.scale[:, None], ahead.calendar.shape[1]
    static = standing.static.numpy()
    out = np.empty((len(series), steps, network.head.width))
    for step in range(steps):
        said = reader.forecast(network, standing)[:, 0].astype(np.float64)
        z = standing.anchor[:, None] + said * standing.scale[:, None] * unit
        out[:, step] = (z - anchor) / (scale * unit)
        if step + 1 < steps:
            prepared = pipeline.onward(ahead, step, z[:, middle], static, standing.scans, series)
            standing = reader.advance(network, standing, prepared, lookback)
    return out


def at_rows(
    network: Network, pipeline: Pipeline, panel: Panel, prepared: Prepared, rows: Index, horizon: int,
    lookback: int | None,
) -> Array:  # fmt: skip
    """``[M, H, width of the head]`` at the origins ``rows [M]`` of ``panel``, by blocks of ``SIDE_BY_SIDE``.

    NaN at an origin in front of the first whole window.

    Args:
        prepared: what the pipeline makes of ``panel``.
    """
    owner = np.searchsorted(panel.offsets, rows, side="right") - 1
    enough = rows - panel.offsets[owner] + 1 >= (lookback or 1)
    out = np.full((len(rows), horizon, network.head.width), np.nan)
    distinct, back = np.unique(rows[enough], return_inverse=True)
    fitted = pipeline.positions(panel.ids)
    said = np.empty((len(distinct), *out.shape[1:]))
    for low in range(0, len(distinct), SIDE_BY_SIDE):
        block = distinct[low : low + SIDE_BY_SIDE]
        series = np.searchsorted(panel.offsets, block, side="right") - 1
        scans, ahead = pipeline.states_at(panel, block), pipeline.ahead_inside(panel, block, horizon)
        standing = stand_at(network, prepared, scans, series, block - panel.offsets[series], lookback)
        said[low : low + SIDE_BY_SIDE] = roll(network, pipeline, standing, fitted[series], ahead, lookback)
    out[enough] = said[back]
    return out


@torch.no_grad()
def stand_at(
    network: Network, prepared: Prepared, scans: State, series: Index, position: Index, lookback: int | None
) -> Standing:
    """Where the net stands behind rows ``position [M]`` of ``series [M]`` of ``prepared``.

    Args:
        scans: the pipeline's state there (:meth:`pipelines.Pipeline.states_at`).
    """
    at = prepared.offsets[series] + position
    x, static = torch.from_numpy(prepared.x), torch.from_numpy(prepared.static)
    if lookback is None:
        recent = torch.zeros(len(at), 0, x.shape[1], dtype=torch.float32)
        features, core = _walk(network, prepared, x, static, series, position)
    else:  # where there are fewer rows the first is repeated in front; such an origin has no forecast
        rows = np.maximum(at[:, None] - lookback + 1 + np.arange(lookback), prepared.offsets[series][:, None])
        recent, core = x[torch.from_numpy(rows)], ()
        features = reader.window_features(network, recent, static[torch.from_numpy(series)])
    return Standing(
        core=core,
        features=features,
        recent=recent,
        scans=scans,
        level=torch.tensor(scans["context/tail"], dtype=torch.float32),
        anchor=prepared.anchor[at],
        scale=prepared.scale[at],
        ahead=torch.tensor(prepared.future[at[:, None] + 1 + np.arange(len(prepared.unit))]),
        static=static[torch.from_numpy(series)],
    )


def _walk(
    network: Network, prepared: Prepared, x: Tensor, static: Tensor, series: Index, position: Index
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Features ``[M, D]`` and the core's state ``[M, ...]`` of a stream, read from origin to origin."""
    now = network.initial(len(prepared.lengths))
    kept = tuple(part.new_zeros(len(series), *part.shape[1:]) for part in now)
    features = torch.zeros(len(series), network.core.out_features, dtype=torch.float32)
    for origins, first, count in strides(series, position):
        which = torch.from_numpy(series[origins])
        rows = (prepared.offsets[series[origins]] + first)[:, None] + np.arange(count)
        steps, after = network.run(x[torch.from_numpy(rows)], static[which], tuple(part[which] for part in now))
        into = torch.from_numpy(origins)
        features[into] = steps[:, -1]
        for mine, held, theirs in zip(now, kept, after, strict=True):
            mine[which] = held[into] = theirs
    return features, kept
