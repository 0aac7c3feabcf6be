"""Causal features as scans: each one reads values up to now and keeps a small state.

Every feature is a class with ``init(first) -> state`` and ``scan(values, state) -> (feature, state)``.
``values`` is ``[S, T]``: ``S`` series side by side, ``T`` consecutive steps. Scanning ``T`` steps at once
and scanning the same steps one at a time give the same numbers, which is what makes
``Model.update`` cost O(1) and what makes a leak from the future impossible by construction.
States are dictionaries of float64 arrays whose first axis is the series; they are plain JSON after
``.tolist()``.

Values arrive without holes: :class:`Hold` carries the last observed value over missing ones and
counts the steps since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]
State = dict[str, Array]


class Scan(Protocol):
    """A causal feature. ``init``: ``first [S]``. ``scan``: ``values [S, T] -> [S, T]``."""

    def init(self, first: Array) -> State: ...

    def scan(self, values: Array, state: State) -> tuple[Array, State]: ...


@dataclass(frozen=True)
class Hold:
    """The last observed value, and the steps since it was observed (0 where observed).

    Rows before the first observation hold ``fill``.
    """

    fill: float = 0.0

    def init(self, first: Array) -> State:
        start = np.where(np.isnan(first), self.fill, first)
        return {"last": start, "elapsed": np.zeros_like(start)}

    def scan(self, values: Array, state: State) -> tuple[Array, State]:
        held, _, state = self.scan_elapsed(values, state)
        return held, state

    def scan_elapsed(self, values: Array, state: State) -> tuple[Array, Array, State]:
        """``-> (held [S, T], elapsed [S, T], state)``"""
        seen = ~np.isnan(values)
        if seen.all():
            elapsed = np.zeros_like(values)
            return values, elapsed, {"last": values[:, -1].copy(), "elapsed": elapsed[:, -1].copy()}
        steps = values.shape[1]
        position = np.where(seen, np.arange(steps), -1)
        position = np.maximum.accumulate(position, axis=1)
        held = np.take_along_axis(values, np.maximum(position, 0), axis=1)
        before = position < 0
        held = np.where(before, state["last"][:, None], held)
        since = np.arange(steps) - position
        elapsed = np.where(before, state["elapsed"][:, None] + np.arange(1, steps + 1), since).astype(np.float64)
        return held, elapsed, {"last": held[:, -1].copy(), "elapsed": elapsed[:, -1].copy()}


@dataclass(frozen=True)
class Mean:
    """Exponentially weighted mean: ``m += (value - m) / window``, begun at the first value."""

    window: float

    def init(self, first: Array) -> State:
        return {"mean": np.array(first, np.float64)}

    def scan(self, values: Array, state: State) -> tuple[Array, State]:
        from scipy.signal import lfilter  # half a second to import, and forecasting from a saved run needs no scan

        weight = 1.0 / self.window
        keep = 1.0 - weight
        out, _ = lfilter([weight], [1.0, -keep], values, axis=1, zi=(keep * state["mean"])[:, None])
        return out, {"mean": out[:, -1].copy()}


@dataclass(frozen=True)
class Relative:
    """Value minus its causal mean over ``window`` steps."""

    window: float

    def init(self, first: Array) -> State:
        return Mean(self.window).init(first)

    def scan(self, values: Array, state: State) -> tuple[Array, State]:
        mean, state = Mean(self.window).scan(values, state)
        return values - mean, state


@dataclass(frozen=True)
class Gap:
    """Short causal mean minus long causal mean: where the level has been heading."""

    short: float
    long: float

    def init(self, first: Array) -> State:
        return {"short": np.array(first, np.float64), "long": np.array(first, np.float64)}

    def scan(self, values: Array, state: State) -> tuple[Array, State]:
        short, after_short = Mean(self.short).scan(values, {"mean": state["short"]})
        long, after_long = Mean(self.long).scan(values, {"mean": state["long"]})
        return short - long, {"short": after_short["mean"], "long": after_long["mean"]}


@dataclass(frozen=True)
class Difference:
    """Value minus the value ``lag`` steps before; before that many steps, minus the first value.

    On a logarithm this is the log return over ``lag`` steps.
    """

    lag: int = 1

    def init(self, first: Array) -> State:
        return {"tail": np.repeat(np.asarray(first, np.float64)[:, None], self.lag, axis=1)}

    def scan(self, values: Array, state: State) -> tuple[Array, State]:
        both = np.concatenate([state["tail"], values], axis=1)
        return values - both[:, : values.shape[1]], {"tail": both[:, -self.lag :].copy()}


@dataclass(frozen=True)
class Volatility:
    """Root of the exponentially weighted mean of squared one-step differences (as in RiskMetrics, 1996)."""

    window: float

    def init(self, first: Array, start: Array | float = 1.0) -> State:
        """``start``: the volatility before any step was seen, best a value fitted on training rows."""
        begin = np.broadcast_to(np.asarray(start, np.float64), first.shape)
        return {"last": np.array(first, np.float64), "variance": begin**2}

    def scan(self, values: Array, state: State) -> tuple[Array, State]:
        steps, after = Difference(1).scan(values, {"tail": state["last"][:, None]})
        variance, squared = Mean(self.window).scan(steps**2, {"mean": state["variance"]})
        return np.sqrt(np.maximum(variance, 0.0)), {"last": after["tail"][:, 0], "variance": squared["mean"]}


@dataclass(frozen=True)
class Tail:
    """Not a feature: remembers the last ``size`` values, so that a window over them can go on after a pause."""

    size: int

    def init(self, first: Array) -> State:
        return {"tail": np.repeat(np.asarray(first, np.float64)[:, None], self.size, axis=1)}

    def scan(self, values: Array, state: State) -> tuple[Array, State]:
        both = np.concatenate([state["tail"], values], axis=1)
        return values, {"tail": both[:, both.shape[1] - self.size :].copy()}


def returns(values: Array, lag: int = 1) -> Array:
    """Log returns over ``lag`` steps of positive values ``[..., T]``; NaN for the first ``lag`` steps."""
    logs = np.log(values)
    out = np.full_like(logs, np.nan)
    out[..., lag:] = logs[..., lag:] - logs[..., :-lag]
    return out


def calendar_parts(step_seconds: float) -> tuple[str, ...]:
    """The cycles worth telling a net about at this step: time of day, day of week, time of year."""
    day = 86_400.0
    if step_seconds <= day / 2:
        return ("hour", "weekday")
    if step_seconds < 6 * day:
        return ("weekday", "yearday")
    return ("yearday",) if step_seconds < 200 * day else ()


def calendar(stamps: pd.DatetimeIndex, parts: Sequence[str]) -> Array:
    """``[T, 2 * len(parts)]`` sine and cosine of each cycle at wall-clock ``stamps``."""
    columns: list[Array] = []
    seconds = (stamps.hour * 3600 + stamps.minute * 60 + stamps.second).to_numpy(np.float64)
    phases = {
        "hour": lambda: seconds / 86_400.0,
        "weekday": lambda: stamps.day_of_week.to_numpy(np.float64) / 7.0,
        "yearday": lambda: (stamps.day_of_year.to_numpy(np.float64) - 1.0) / 365.25,
    }
    for part in parts:
        angle = 2 * np.pi * phases[part]()
        columns += [np.sin(angle), np.cos(angle)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(stamps), 0))
