"""Three spans in time order, train, stop and holdout, and what "auto" in a configuration becomes.

Spans are cut by time stamp over the whole panel, so that no series tells another about its future. Training
targets lie in the train span only; early stopping reads the stop span; the holdout span is scored once, by
weights that saw neither it nor anything after it.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecast.config import Config
from forecast.family import FAMILY
from forecast.sections import UNLOCATED
from pipelines.errors import TooShortError, UsageError
from pipelines.features import Hold, Mean
from pipelines.panel import Panel
from pipelines.spec import PipelineSpec
from pipelines.where import plural, shown

Index = NDArray[np.int64]
SHORT = 4  # values; a segment of fewer is hardly one
LEAST_TRAIN = 20  # rows; below this a net has nothing to learn from


@dataclass(frozen=True)
class Spans:
    """Last stamps of the train and stop spans and of the data; the positions they have in every series ``[S]``."""

    train_end: pd.Timestamp
    stop_end: pd.Timestamp
    end: pd.Timestamp
    train: Index  # [S] rows of the series at or before train_end
    stop: Index  # [S] rows at or before stop_end

    def to_json(self) -> dict[str, str]:
        return {"train_end": str(self.train_end), "stop_end": str(self.stop_end), "end": str(self.end)}


Moment: TypeAlias = pd.Timestamp | np.datetime64 | date | str  # what may name a stamp of a panel


def moment(given: Moment, name: str) -> pd.Timestamp:
    """``given``, the argument ``name``, as a stamp on the clock of a panel's ``ds``.

    Raises:
        UsageError: it is no date, or has a time zone.
    """
    stamp = pd.NaT
    if isinstance(given, date | np.datetime64 | str):
        with contextlib.suppress(ValueError):
            stamp = pd.Timestamp(given)
    if stamp is pd.NaT or stamp.tzinfo is not None:
        raise UsageError(
            f"{name} got {given!r}, expected a moment without a time zone.",
            hint="Give a stamp as panel.ds has them, such as panel.ds[-100] or '2020-01-31'.",
        )
    return stamp


def cut_spans(panel: Panel, config: Config, until: Moment | None = None) -> Spans:
    """Cut the panel's time into the three spans of ``config.data``, by stamps at which some series has a value.

    Stamps without any (nights of an exchange, a long outage) count for nothing, so no span can be empty.

    Args:
        until: the holdout span is what lies behind this stamp, whatever ``data.holdout`` says; where the other
            two spans are cut then depends on rows up to it alone.

    Raises:
        TooShortError: a span would be too short to train, stop or score on.
        UsageError: ``until`` is no moment.
    """
    data = config.data
    stamps = np.unique(panel.ds[~np.isnan(panel.column("y"))])
    last = stamps[-1]
    stop_share, holdout_share = data.stop, data.holdout
    if until is not None:
        stamps = stamps[stamps <= moment(until, "until").to_datetime64()]
        stop_share, holdout_share = data.stop / (1 - data.holdout), 0.0
    total = len(stamps)
    train, stop, _ = _lengths(total, data.horizon, stop_share, holdout_share)
    if train < _least_train(data.horizon):
        raise _too_short(panel.source, total, data.horizon, stop_share, holdout_share)
    train_end, stop_end = stamps[train - 1], stamps[train + stop - 1]
    return Spans(
        pd.Timestamp(train_end),
        pd.Timestamp(stop_end),
        pd.Timestamp(last),
        _rows_until(panel, train_end),
        _rows_until(panel, stop_end),
    )


def _lengths(total: int, horizon: int, stop_share: float, holdout_share: float) -> tuple[int, int, int]:
    """Stamps of the train, stop and holdout spans of ``total``; too few to train on may be less than none."""
    stop = max(round(stop_share * total), horizon)
    holdout = max(round(holdout_share * total), horizon) if holdout_share else 0
    return total - stop - holdout, stop, holdout


def _least_train(horizon: int) -> int:
    return max(LEAST_TRAIN, horizon + 2)


def _too_short(name: str, total: int, horizon: int, stop_share: float, holdout_share: float) -> TooShortError:
    """The refusal of too few stamps: how many would do, and the longest horizon that these allow, if any."""

    def do(count: int, steps: int) -> bool:
        return _lengths(count, steps, stop_share, holdout_share)[0] >= _least_train(steps)

    need = next(count for count in itertools.count(total + 1) if do(count, horizon))
    _, stop, holdout = _lengths(need, horizon, stop_share, holdout_share)
    shorter = next((steps for steps in range(horizon - 1, 0, -1) if do(total, steps)), None)
    held = f" and {holdout} held out" if holdout else ""
    more = "more history (in a backtest a larger window too)"
    return TooShortError(
        f"{name}: {total} time stamps with a value; horizon {horizon} needs {need:,} or more: "
        f"{_least_train(horizon)} to train on, {stop} for early stopping{held}.",
        hint=f"Use {more}." if shorter is None else f"Use --horizon {shorter} or shorter, or {more}.",
    )


def spans_behind(panel: Panel, known: Mapping[str, str], horizon: int) -> Spans:
    """The spans of a model trained earlier, as they lie in ``panel``: the holdout is what comes behind its stop span.

    Args:
        known: the model's own spans, ``Spans.to_json`` of its fit.

    Raises:
        TooShortError: ``panel`` has too few rows behind the model's stop span to score, or too few before its end to
            choose a baseline by.
    """
    train_end, stop_end = pd.Timestamp(known["train_end"]), pd.Timestamp(known["stop_end"])
    train, stop = (_rows_until(panel, stamp.to_datetime64()) for stamp in (train_end, stop_end))
    whole = panel.lengths - horizon > np.maximum(stop - 1, 0)
    last = panel.ds[~np.isnan(panel.column("y"))].max(initial=panel.ds.min())
    if not whole.any() or last <= stop_end.to_datetime64():
        steps = "a value" if horizon == 1 else f"the {horizon} values of a horizon"
        raise TooShortError(
            f"nothing to score by: the model learned and stopped by rows up to {shown(stop_end)}, and the panel, which "
            f"ends at {shown(panel.end)}, has no series with {steps} behind that.",
            hint="Give the same series with later rows, or fit with a holdout: data.holdout=0.15, or until= an earlier "
            "stamp.",
        )
    if not (np.minimum(stop, panel.lengths) - np.maximum(train - 1, 0) > 1).any():
        raise TooShortError(
            f"the panel begins at {shown(panel.start)}; the baseline to beat is chosen on rows of the model's stop "
            f"span, which ends at {shown(stop_end)}.",
            hint="Give the whole history, with the rows to score at its end.",
        )
    return Spans(train_end, stop_end, pd.Timestamp(last), train, stop)


def _rows_until(panel: Panel, stamp: np.datetime64) -> Index:
    before = np.concatenate([[0], np.cumsum(panel.ds <= stamp)])
    counts: Index = before[panel.offsets[1:]] - before[panel.offsets[:-1]]
    return counts


def settle(config: Config, panel: Panel, until: Moment | None = None) -> Config:
    """``config`` with every ``"auto"`` settled from the data; a settled one comes back unchanged.

    Assumptions, named: what :func:`looks_like_prices` is ``price``, all else is ``sensor``. Prices: log
    returns from the last close, in units of volatility, no skip. Sensors: values relative to the last value or to
    a causal mean of about a season (see :func:`_nearer`), with a linear skip over two weeks (fourteen seasons), at
    most 512 values and a tenth of the training rows. Truncated BPTT: 64 steps, at most an eighth of the training
    rows; as many lanes as leave eight updates a pass, up to 32. One thread where ``lanes * hidden`` is at most 2,048,
    else as many as torch likes.
    """
    data, model, train = config.data, config.model, config.train
    if panel.roles and not FAMILY[model.core].covariates:
        raise UsageError(
            f"{model.core} reads the target alone; it has no place for {', '.join(map(repr, panel.roles))}.",
            hint="Leave the covariates out, or use another model, such as lstm or cnn.",
        )
    spans = cut_spans(panel, config, until)
    kind = data.kind
    if kind == "auto":
        kind = "price" if looks_like_prices(panel.up_to(spans.train_end)) else "sensor"
    price = kind == "price"
    rows, longest = int(spans.train.sum()), int(spans.train.max())
    season = data.season or panel.grid.season
    mode: str = data.mode
    if mode == "auto":
        mode = "stream" if FAMILY[model.core].streams and not model.bidirectional else "window"
    k1 = min(64, max(8, longest // 8)) if data.k1 == "auto" else data.k1
    if data.k1 == "auto" and data.k2 != "auto":
        k1 = min(k1, data.k2) if isinstance(data.k2, int) else k1
    k2 = k1 if data.k2 == "auto" else data.k2
    lanes = data.lanes
    if lanes == "auto":
        lanes = 32 if mode == "window" else int(np.clip(2 ** np.floor(np.log2(max(1, rows / (8 * k1)))), 1, 32))
    if mode == "stream" and lanes > rows:
        raise UsageError(
            f"data.lanes is {lanes:,}, and there are {plural(rows, 'training row')} to share among lanes.",
            hint=f"Set data.lanes to auto, or to at most {rows:,}: every lane is a part of the rows.",
        )
    skip = model.skip
    if skip == "auto":
        values = 0 if price or model.head in UNLOCATED else min(14 * max(season, 1), 512, longest // 10)
        skip = 0 if values < 8 else values
    updates_a_pass = max(1, rows // (lanes * (k1 if mode == "stream" else 1)))
    epochs = int(np.clip(round(train.updates / updates_a_pass), 2, 1000)) if train.epochs == "auto" else train.epochs
    settled: dict[str, Any] = {
        "data.kind": kind,
        "data.mode": mode,
        "data.k1": k1,
        "data.k2": k2,
        "data.lanes": lanes,
        "data.season": season,
        "data.log": price if data.log == "auto" else data.log,
        "data.anchor": data.anchor if data.anchor != "auto" else "last" if price else _nearer(panel, spans, config),
        "data.scale": ("volatility" if price else "one") if data.scale == "auto" else data.scale,
        "data.unit": ("step" if price else "all") if data.unit == "auto" else data.unit,
        "model.head": (FAMILY[model.core].heads or ("quantile",))[0] if model.head == "auto" else model.head,
        "model.skip": skip,
        "model.segment": segment_of(config) if model.core == "segrnn" else model.segment,
        "train.epochs": epochs,
        "train.threads": threads_for(train.threads, lanes, model.hidden),
        "train.patience": 8 if train.patience == "auto" else train.patience,
    }
    return config.override(**settled)


def segment_of(config: Config) -> int:
    """Values of a segment: what was said, or the largest number up to 48 that divides lookback and horizon.

    At most half of the lookback, so that there is something to recur over.
    """
    data = config.data
    return _common(data.lookback, data.horizon) if config.model.segment is None else config.model.segment


def _common(lookback: int, horizon: int) -> int:
    both = math.gcd(lookback, horizon)
    return max(w for w in range(1, _longest_segment(lookback) + 1) if both % w == 0)


def _longest_segment(lookback: int) -> int:
    return max(1, min(48, lookback // 2))


def segment_notes(asked: Config) -> list[str]:
    """One sentence where the segment that nobody named is shorter than ``SHORT`` values, though it need not be."""
    lookback, horizon = asked.data.lookback, asked.data.horizon
    segment = segment_of(asked)
    if asked.model.core != "segrnn" or asked.model.segment is not None or segment >= SHORT:
        return []
    ways = []
    for flag, at in (("lookback", lookback), ("horizon", horizon)):
        for near in (at + gap for size in range(1, 49) for gap in (size, -size) if at > -gap):
            found = _common(near, horizon) if flag == "lookback" else _common(lookback, near)
            if found >= SHORT:
                ways.append(f"--{flag} {near} (segments of {found})")
                break
    remedy = f" A fit with {' or '.join(ways)} would have longer ones." if ways else ""
    return [
        f"segrnn reads segments of {'one value' if segment == 1 else f'{segment} values'}: no larger number up to "
        f"{_longest_segment(lookback)} divides both data.lookback = {lookback} and data.horizon = {horizon}, and "
        f"longer segments are what it is for.{remedy}"
    ]


def _nearer(panel: Panel, spans: Spans, config: Config) -> Literal["last", "mean"]:
    """The mean, unless the last value lay clearly nearer to the next values the net forecasts, in the training rows.

    Clearly: a fifth less squared distance, over at most 50 series. A series that wanders is best measured from
    where it is, above all a few steps ahead; one that swings around a level from that level.
    """
    season = config.data.season or panel.grid.season
    window = config.data.short or max(season, 5)
    y = panel.column("y")
    total = np.zeros(2)
    for low, count in list(zip(panel.offsets[:-1], spans.train, strict=True))[:50]:
        held, _ = (
            Hold().scan(y[None, low : low + count], Hold().init(y[None, low])) if count else (np.zeros((1, 0)), {})
        )
        spread = held.std() if held.size else 0.0
        if held.shape[1] <= config.data.reach or spread == 0:
            continue
        mean, _ = Mean(window).scan(held, Mean(window).init(held[:, 0]))
        for h in np.unique(np.linspace(1, config.data.reach, 13).astype(int)):
            gaps = [held[0, h:] - anchor[0, :-h] for anchor in (held, mean)]
            total += [float(np.mean(gap**2)) / spread**2 for gap in gaps]
    return "last" if total[0] < 0.8 * total[1] else "mean"


PRICE_NAMES = frozenset({"open", "high", "low", "close", "adj close", "adjclose", "adj_close", "price", "last"})


def looks_like_prices(panel: Panel) -> bool:
    """Exchange sessions, a source that says so or a target with the name of a price; and only positive values.

    Not where the source says ``sensor``: the caller said so, or a value somewhere in the file is not positive.
    """
    if panel.meta.get("kind") == "sensor":
        return False
    named = panel.target.strip().casefold() in PRICE_NAMES
    prices = named or panel.grid.calendar is not None or panel.meta.get("kind") == "price"
    return prices and not bool(np.any(panel.column("y") <= 0))


def _settled(value: str) -> Any:
    if value == "auto":
        raise UsageError("the configuration still says 'auto'.", hint="Settle it first (forecast.spans.settle).")
    return value


def pipeline_spec(config: Config) -> PipelineSpec:
    """The pipeline a settled configuration asks for."""
    data = config.data
    skip = int(config.model.skip)
    return PipelineSpec(
        horizon=data.reach, log=bool(data.log), anchor=_settled(data.anchor), scale=_settled(data.scale),
        unit=_settled(data.unit), features=data.features,
        scaler=data.scaler, season=data.season, short=data.short, long=data.long,
        volatility=data.volatility, calendar=data.calendar,
        context=max(0, skip - 1), clip=data.clip, place=FAMILY[config.model.core].place,
    )  # fmt: skip


def threads_for(asked: int | None, lanes: int, hidden: int) -> int | None:
    """The threads asked for; one for a net with at most 2,048 values a step, else ``None``: as many as torch likes.

    A step of a small net is too short to be shared: threads would wait for each other, above all on a busy machine.
    """
    return 1 if asked is None and lanes * hidden <= 2048 else asked
