"""Metrics: error functions of arrays first, then their aggregation over a result frame.

A result frame has the columns ``unique_id, ds, cutoff, y`` and, for every model, ``<model>`` and
optionally ``<model>-lo-90, <model>-hi-90`` (any level). Rows whose truth is missing cannot be scored. A
forecast that is missing where the truth is known counts: it is reported in ``missing`` and makes the
scores it belongs to NaN, unless ``missing="skip"`` asks for the scores of what is there. Direction and coverage do
not see differences that a net of float32 does not mean (:mod:`forecast.ties`).

Averages are those of utilsforecast where it has them, fed so that its gaps do not show: it skips missing
forecasts, and its MASE of a constant series is infinite where ours is undefined (NaN).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecast import ties
from pipelines.errors import UsageError, did_you_mean
from pipelines.panel import Panel

Floats = NDArray[np.float64]
By = Literal["unique_id", "step"]

METRICS = ("mae", "rmse", "mase", "rmsse", "smape", "pinball", "crps", "direction")
"""Columns of :func:`score` besides those of every interval level."""

_NO_CUTOFF = "(no cutoff column)"  # utilsforecast would group by it


# -- error functions: NaN in, NaN out ----------------------------------------------------------
def absolute(y: Floats, forecast: Floats) -> Floats:
    """``|y - f|``, in units of y."""
    error: Floats = np.abs(y - forecast)
    return error


def squared(y: Floats, forecast: Floats) -> Floats:
    """``(y - f)^2``."""
    error: Floats = (y - forecast) ** 2
    return error


def pinball(y: Floats, quantile: Floats, q: float) -> Floats:
    """Pinball (quantile) loss at ``q`` in (0, 1), in units of y."""
    gap = y - quantile
    loss: Floats = np.where(np.isnan(gap), np.nan, np.maximum(q * gap, (q - 1) * gap))
    return loss


def quantile_weights(levels: Sequence[float]) -> Floats:
    """``[Q]`` share of the unit interval that each of the ascending quantile ``levels`` stands for; sums to 1.

    Cells meet half-way between neighbours, the outer ones reach to 0 and 1.
    """
    q = np.asarray(levels, np.float64)
    edges = np.concatenate([[0.0], (q[1:] + q[:-1]) / 2, [1.0]])
    weights: Floats = np.diff(edges)
    return weights


def crps(y: Floats, quantiles: Floats, levels: Sequence[float]) -> Floats:
    """Continuous ranked probability score from quantiles, in units of y: twice the integral of the pinball loss.

    Args:
        y: ``[...]``.
        quantiles: ``[..., Q]``, one per level, ascending. A single median gives the absolute error.
        levels: ``[Q]`` in (0, 1), ascending.

    Source: Gneiting & Raftery 2007, section 4.2; the integral by cells (:func:`quantile_weights`).
    """
    weights = quantile_weights(levels)
    parts = [2 * w * pinball(y, quantiles[..., i], q) for i, (q, w) in enumerate(zip(levels, weights, strict=True))]
    total: Floats = np.sum(parts, axis=0)
    return total


def direction(y: Floats, forecast: Floats, last: Floats, size: Floats | float | None = None) -> Floats:
    """1 where forecast and truth lie on the same side of ``last``, 0 where not, 0.5 for a forecast equal to ``last``.

    NaN where the truth did not move (no direction to be right about) or anything is missing. The naive
    forecast scores 0.5: a coin toss. ``size``: see :func:`forecast.ties.change`; by default that of the arrays.
    """
    size = ties.size_of(y, last) if size is None else size
    moved, said = np.sign(ties.change(y, last)), np.sign(ties.change(forecast, last, size))
    hit = np.where(said == 0, 0.5, (said == moved).astype(np.float64))
    out: Floats = np.where((moved == 0) | np.isnan(moved) | np.isnan(said), np.nan, hit)
    return out


CERTAIN = 1e-6
"""Probabilities nearer than this to 0 or 1 count as this: one that says never and is wrong has no infinite loss."""


def log_loss(up: Floats, chance: Floats) -> Floats:
    """``-log`` of the probability ``chance`` gave to what happened (``up``: 1 or 0), in nats; a coin has 0.693."""
    said = np.clip(chance, CERTAIN, 1 - CERTAIN)
    loss: Floats = -np.where(np.isnan(up), np.nan, np.log(np.where(up > 0, said, 1 - said)))
    return loss


def brier(up: Floats, chance: Floats) -> Floats:
    """``(chance - up)^2`` (Brier 1950); a coin has 0.25."""
    return squared(up, chance)


def went_up(y: Floats, last: Floats) -> Floats:
    """1 where the truth lies above ``last``, 0 where it lies below or did not move, NaN where either is missing."""
    moved = ties.change(y, last)
    up: Floats = np.where(np.isnan(moved), np.nan, (moved > 0).astype(np.float64))
    return up


def chance(model: str) -> str:
    """The column of the probability that a value lies above the last one: ``"LSTM-up"``."""
    return f"{model}-up"


# -- what errors are measured against ----------------------------------------------------------
def naive_scale(train: Panel, season: int | None = None) -> pd.DataFrame:
    """Per series the in-sample error of the seasonal naive forecast: columns ``unique_id, mae, rmse``.

    The denominators of MASE and RMSSE (Hyndman & Koehler 2006). A series without two observed rows a season apart is
    measured by the naive forecast (season 1). Undefined, so NaN, where that makes no error.

    Args:
        train: training rows only.
        season: steps; 1 compares neighbours, ``None`` takes the grid's season.
    """
    season = train.grid.season if season is None else season
    if season < 1:
        raise UsageError(f"season is {season}, it must be at least 1.", hint="1 compares with the value before.")
    y, rows = train.column("y"), []
    for low, high in zip(train.offsets[:-1], train.offsets[1:], strict=True):
        change = _changes(y[low:high], season)
        change = change if len(change) else _changes(y[low:high], 1)
        flat = not len(change) or not np.any(change)
        rows.append((np.nan, np.nan) if flat else (np.abs(change).mean(), np.sqrt((change**2).mean())))
    table = np.array(rows, np.float64)
    return pd.DataFrame({"unique_id": list(train.ids), "mae": table[:, 0], "rmse": table[:, 1]})


def _changes(y: Floats, lag: int) -> Floats:
    change: Floats = y[lag:] - y[: max(len(y) - lag, 0)]
    return change[~np.isnan(change)]


# -- result frames -----------------------------------------------------------------------------
def levels(frame: pd.DataFrame, model: str) -> tuple[float, ...]:
    """Interval levels in percent that ``frame`` holds for ``model``, ascending."""
    pattern = re.compile(re.escape(model) + r"-lo-(\d+(?:\.\d+)?)")
    found = [match[1] for name in frame.columns if (match := pattern.fullmatch(str(name)))]
    return tuple(sorted(float(level) for level in found if f"{model}-hi-{level}" in frame.columns))


def interval(model: str, level: float) -> tuple[str, str]:
    """Names of the two columns of an interval: ``("LSTM-lo-90", "LSTM-hi-90")``."""
    return f"{model}-lo-{level:g}", f"{model}-hi-{level:g}"


def quantiles(frame: pd.DataFrame, model: str) -> dict[float, str]:
    """Quantile level in (0, 1) to column, ascending: the interval ends, and the forecast itself as the median."""
    found = {0.5: model}
    for level in levels(frame, model):
        low, high = interval(model, level)
        found[round(0.5 - level / 200, 12)] = low
        found[round(0.5 + level / 200, 12)] = high
    return dict(sorted(found.items()))


def models_of(frame: pd.DataFrame) -> list[str]:
    """Names of the models in a result frame: its columns besides keys, ``last``, ``step``, interval ends, chances."""
    keys = {"unique_id", "ds", "cutoff", "y", "last", "step"}
    if tellers(frame):
        keys.add("usual")
    ends = re.compile(r".+-(lo|hi)-\d+(\.\d+)?")
    keys |= {chance(str(name)) for name in frame.columns}
    return [str(name) for name in frame.columns if name not in keys and not ends.fullmatch(str(name))]


def tellers(frame: pd.DataFrame) -> list[str]:
    """The models of a result frame that give a probability of going up."""
    return [str(name) for name in frame.columns if chance(str(name)) in frame.columns]


def steps(frame: pd.DataFrame) -> NDArray[np.int64]:
    """``[N]`` step ahead of every row, from 1: the column ``step`` if there, else the rank within its cutoff.

    Assumption of the rank: the frame holds every step of a cutoff from the first one on.
    """
    if "step" in frame.columns:
        return frame["step"].to_numpy(np.int64)  # type: ignore[no-any-return]
    rank = frame.groupby(["unique_id", "cutoff"], observed=True, sort=False)["ds"].rank(method="first")
    return rank.to_numpy(np.int64)  # type: ignore[no-any-return]


def score(
    frame: pd.DataFrame,
    models: Sequence[str] | None = None,
    *,
    by: Sequence[By] = (),
    scale: pd.DataFrame | None = None,
    missing: Literal["nan", "skip"] = "nan",
) -> pd.DataFrame:
    """All scores of a result frame, one row per group and model.

    Args:
        frame: result frame; a column ``last`` (last value observed at the cutoff) adds ``direction``.
        models: columns to score, all by default.
        by: ``()`` pools everything; ``["step"]`` per step ahead, ``["unique_id"]`` per series, or both.
        scale: of :func:`naive_scale`; without it MASE and RMSSE are left NaN.
        missing: ``"nan"`` or ``"skip"``, see the module's docstring.

    Returns:
        Columns of ``by``, then ``model, n`` (rows with a known truth), ``missing`` (forecasts missing among
        them), ``mae, rmse`` (units of y), ``mase, rmsse, smape`` (0 to 1: half of the M4 competition's), ``pinball``
        (mean over the quantiles held), ``crps`` (equals the MAE for a model without intervals), ``direction`` (share),
        ``coverage_<level>`` (share), ``width_<level>`` (mean in units of y, infinite if any interval is),
        ``infinite_<level>`` (share of intervals without bound), ``log_loss, brier`` of the probability of going up
        (only where a model gives one; NaN where it left one out),
        ``unscaled`` (series without a MASE because they are constant; MASE pools the others).
    """
    models = check(frame, models, by, missing)
    known = _known(frame)
    keys, group = _groups(known, by)
    tables, size = [], ties.by_series(known)
    for model in models:
        counts, values = _score_one(known, group, model, scale, size)
        if missing == "nan":
            values = values.mask(counts["missing"] > 0)
            if "log_loss" in values:
                values[["log_loss", "brier"]] = values[["log_loss", "brier"]].mask(_untold(known, group, model))
        tables.append(pd.concat([counts, values], axis=1).rename_axis("group").reset_index().assign(model=model))
    out = keys.merge(pd.concat(tables), on="group", validate="one_to_many")
    rank = {model: position for position, model in enumerate(models)}
    out = out.assign(_rank=out["model"].map(rank)).sort_values(["group", "_rank"], kind="stable")
    first = [*by, "model", "n", "missing"]
    rest = [name for name in out.columns if name not in (*first, "group", "_rank", "unscaled")]
    return out[[*first, *rest, "unscaled"]].reset_index(drop=True)


def calibration(frame: pd.DataFrame, model: str, *, by: Sequence[By] = ()) -> pd.DataFrame:
    """How often the truth fell at or below each quantile the model holds.

    This is the distribution function of the probability integral transform (PIT) at the levels held: for a
    calibrated model ``observed`` equals ``quantile`` (Gneiting, Balabdaoui & Raftery 2007).

    Returns:
        Columns of ``by``, then ``quantile`` (level in (0, 1)), ``observed`` (share), ``n`` (rows it is a share of).
    """
    check(frame, [model], by)
    known = _known(frame)
    keys, group = _groups(known, by)
    tables, y, size = [], known["y"].to_numpy(np.float64), ties.by_series(known)
    for q, column in quantiles(known, model).items():
        there = known[column].notna()
        over = pd.Series(ties.change(y, known[column].to_numpy(np.float64), size))
        below = (over <= 0)[there].groupby(group[there.to_numpy()])
        table = pd.DataFrame({"observed": below.mean(), "n": below.size()}).rename_axis("group").reset_index()
        tables.append(table.assign(quantile=q))
    out = keys.merge(pd.concat(tables), on="group").sort_values(["group", "quantile"], kind="stable")
    return out[[*by, "quantile", "observed", "n"]].reset_index(drop=True)


def check(
    frame: pd.DataFrame, models: Sequence[str] | None = None, by: Sequence[str] = (), missing: str = "nan"
) -> list[str]:
    """The models to score: those named, all of the frame by default.

    Raises:
        UsageError: not a result frame, an unknown model, or an option that is none.
    """
    lacking = [name for name in ("unique_id", "ds", "cutoff", "y") if name not in frame.columns]
    if lacking:
        raise UsageError(f"the result frame lacks column {lacking[0]!r}.", hint="It needs unique_id, ds, cutoff and y.")
    chosen = models_of(frame) if models is None else list(models)
    for name in chosen:
        if name not in frame.columns:
            known = models_of(frame)
            raise UsageError(
                f"the result frame has no model {name!r}.{did_you_mean(name, known)}",
                hint=f"It has {', '.join(known) or 'none'}.",
            )
    if not chosen:
        raise UsageError("there is no model to score.", hint="Give the frame a column of forecasts.")
    if missing not in ("nan", "skip"):
        raise UsageError(f"missing={missing!r} is neither 'nan' nor 'skip'.", hint="'nan' is the strict one.")
    unknown = [name for name in by if name not in ("unique_id", "step")]
    if unknown:
        raise UsageError(
            f"cannot score by {unknown[0]!r}.", hint="Score by 'step', by 'unique_id', by both or neither."
        )
    return chosen


def _known(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with a known truth, each with its step: counted while all rows of a cutoff are there."""
    return frame.assign(step=steps(frame))[frame["y"].notna()].reset_index(drop=True)


def _untold(known: pd.DataFrame, group: NDArray[np.int64], model: str) -> pd.Series:
    """By group: whether ``model`` left out the chance of a move that is known."""
    said = known[chance(model)].isna() if chance(model) in known else pd.Series(True, index=known.index)
    return (said & known["last"].notna()).groupby(group).any()


def _groups(known: pd.DataFrame, by: Sequence[By]) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """The keys of every group with its number, in the order of the keys; and ``[N]`` the group of every row."""
    if not len(known):
        raise UsageError("no row of the result frame has a known truth.", hint="Score rows whose y is there.")
    columns = {name: steps(known) if name == "step" else known["unique_id"].astype(str).to_numpy() for name in by}
    keys = pd.DataFrame(columns, index=known.index)
    group = keys.groupby(list(by), sort=True).ngroup() if by else pd.Series(0, index=known.index)
    keys = keys.assign(group=group).drop_duplicates("group").sort_values("group")
    return keys.reset_index(drop=True), group.to_numpy(np.int64)


def _score_one(
    known: pd.DataFrame, group: NDArray[np.int64], model: str, scale: pd.DataFrame | None, size: Floats
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Counts and scores of one model, indexed by group; ``size`` of :func:`forecast.ties.by_series`."""
    from utilsforecast import losses

    held = quantiles(known, model)
    table = pd.DataFrame({"g": group, "y": known["y"].to_numpy(np.float64)})
    for q, column in held.items():
        table[f"q{q}"] = known[column].to_numpy(np.float64)
    gone = table[[f"q{q}" for q in held]].isna().any(axis=1)
    counts = pd.DataFrame({"n": table.groupby("g").size(), "missing": gone.groupby(group).sum()})

    there = table[~gone].reset_index(drop=True)
    key = {"id_col": "g", "cutoff_col": _NO_CUTOFF}

    def mean(values: Iterable[float]) -> pd.Series:
        return pd.Series(values, dtype="float64").groupby(there["g"]).mean()

    out = pd.DataFrame(index=counts.index)
    point = there.rename(columns={"q0.5": "f"})
    for name, loss in (("mae", losses.mae), ("rmse", losses.rmse), ("smape", losses.smape)):
        out[name] = loss(point, ["f"], **key).set_index("g")["f"]
    each = pd.DataFrame(
        {q: losses.quantile_loss(there, {"f": f"q{q}"}, q=q, **key).set_index("g")["f"] for q in held},
        index=counts.index,
    )
    out["pinball"] = each.mean(axis=1, skipna=False)
    out["crps"] = 2 * (each * quantile_weights(list(held))).sum(axis=1, skipna=False)

    error = np.abs(there["y"].to_numpy() - there["q0.5"].to_numpy())
    kept = known.loc[~gone.to_numpy()]
    unit = _units(kept, scale)
    y, size = there["y"].to_numpy(), size[~gone.to_numpy()]
    out["mase"] = mean(error / unit[:, 0])
    out["rmsse"] = np.sqrt(mean((error / unit[:, 1]) ** 2))
    out["direction"] = np.nan
    if "last" in known:
        out["direction"] = mean(direction(y, there["q0.5"].to_numpy(), kept["last"].to_numpy(np.float64), size))
    for level in levels(known, model):
        low, high = (there[f"q{round(0.5 + sign * level / 200, 12)}"].to_numpy() for sign in (-1, 1))
        inside = (ties.change(y, low, size) >= 0) & (ties.change(y, high, size) <= 0)
        out[f"coverage_{level:g}"] = mean(inside)
        out[f"width_{level:g}"] = mean(high - low)
        out[f"infinite_{level:g}"] = mean(np.isinf(high - low))
    if tellers(known) and "last" in known:
        column = chance(model)
        said = kept[column].to_numpy(np.float64) if column in known else np.full(len(kept), np.nan)
        up = went_up(y, kept["last"].to_numpy(np.float64))
        out["log_loss"], out["brier"] = mean(log_loss(up, said)), mean(brier(up, said))
    out["unscaled"] = np.nan
    if scale is not None:
        lost = kept["unique_id"].astype(str).where(np.isnan(unit[:, 0]))
        out["unscaled"] = lost.groupby(there["g"].to_numpy()).nunique()
    return counts, out[[*METRICS, *[name for name in out if name not in METRICS]]]


def _units(rows: pd.DataFrame, scale: pd.DataFrame | None) -> Floats:
    """``[N, 2]`` denominators of MASE and RMSSE for every row; NaN where undefined."""
    if scale is None:
        return np.full((len(rows), 2), np.nan)
    by_id = scale.set_index(scale["unique_id"].astype(str))[["mae", "rmse"]]
    found: Floats = by_id.reindex(rows["unique_id"].astype(str)).to_numpy(np.float64)
    return np.where(found > 0, found, np.nan)
