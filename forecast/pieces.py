"""Reading a long history in pieces side by side, each after a warm-up, instead of in one sequential pass.

One pass is exact; pieces are not, because the state of a piece has seen its warm-up only. They pay where one series
is long and the hardware is wide. The features themselves are scanned exactly over the whole history; only the net's
state starts anew. How far off the result is gets measured, not assumed: on the first series, against the exact pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecast import reader
from forecast.forecasts import Forecasts
from forecast.model import Model
from pipelines.errors import UsageError
from pipelines.folds import at_least
from pipelines.panel import Panel
from pipelines.prepared import Prepared

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Pieces:
    """``count`` pieces of the origins of every series, each read from ``warm`` rows before its first origin."""

    count: int
    warm: int = 256

    def __post_init__(self) -> None:
        at_least(2, pieces=self.count)
        at_least(0, warm=self.warm)


def forecast_in_pieces(model: Model, panel: Panel, rows: Index, pieces: Pieces) -> tuple[Forecasts, float]:
    """Forecasts at ``rows [M]`` (ascending) and their largest deviation from the exact pass.

    The deviation is that of the point forecasts of the first series with origins, in mean one-step changes of
    that series.

    Raises:
        UsageError: the model reads windows, which have no state that pieces could cut, or forecasts recursively.
    """
    if model.config.data.strategy == "recursive":
        raise UsageError("a recursive forecast needs the exact state at every origin.", hint="Leave pieces out.")
    if model.lookback is not None:
        raise UsageError("a model that reads windows has no pass to cut in pieces.", hint="Leave pieces out.")
    prepared = model.pipeline.transform(panel)
    owner = np.searchsorted(panel.offsets, rows, side="right") - 1
    at = prepared.offsets[owner] + rows - panel.offsets[owner]
    cut, place = _cut(prepared, at, owner, pieces)
    out, _ = reader.read(model.network, cut, place, None)
    series = model.pipeline.positions(panel.ids)[owner]
    found = model.natural(rows, out, prepared.anchor[at], prepared.scale[at], series, model.to_fit(panel, rows))
    first = owner == owner[0]
    exact = model.forecast_rows(panel.select([panel.ids[owner[0]]]), rows[first] - panel.offsets[owner[0]])
    y = panel.column("y")[panel.offsets[owner[0]] : panel.offsets[owner[0] + 1]]
    step = float(np.nanmean(np.abs(np.diff(y)))) or 1.0
    return found, float(np.abs(found.point[first] - exact.point).max()) / step


def _cut(prepared: Prepared, at: Index, owner: Index, pieces: Pieces) -> tuple[Prepared, Index]:
    """The pieces laid out as series of their own, and where the origins ``at`` are among them."""
    horizon, context = len(prepared.unit), prepared.context
    spans: list[tuple[int, int, int]] = []  # series, first row read, row behind the last origin
    place = np.empty(len(at), np.int64)
    offset = 0
    for series in np.unique(owner):
        mine = np.flatnonzero(owner == series)
        for part in np.array_split(mine, min(pieces.count, len(mine))):
            begin = max(int(prepared.offsets[series]), int(at[part[0]]) - pieces.warm)
            spans.append((int(series), begin, int(at[part[-1]]) + 1))
            place[part] = offset + at[part] - begin
            offset += spans[-1][2] - begin + horizon
    lengths = np.array([stop - begin for _, begin, stop in spans], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths + horizon)])[:-1].astype(np.int64)
    rows = np.concatenate([np.arange(begin, stop + horizon) for _, begin, stop in spans])
    level = np.concatenate([
        np.arange(begin + s * context, stop + horizon + (s + 1) * context) for s, begin, stop in spans
    ])  # fmt: skip
    which = np.array([series for series, _, _ in spans])
    whole = replace(
        prepared, x=prepared.x[rows], future=prepared.future[rows], static=prepared.static[which],
        level=prepared.level[np.minimum(level, len(prepared.level) - 1)], anchor=prepared.anchor[rows],
        scale=prepared.scale[rows], observed=prepared.observed[rows], offsets=offsets, lengths=lengths,
        state={name: part[which] for name, part in prepared.state.items()},
    )  # fmt: skip
    return whole, place
