"""Batches: stateful lanes for truncated BPTT (:func:`streams`) and stateless windows (:func:`windows`).

A *plan* (:mod:`pipelines.plans`) says which rows each lane reads next. :func:`gather` turns a step of it
into a :class:`Batch` by slicing resident arrays; it works on numpy arrays here and on torch tensors on any
device in :mod:`forecast.data`, so that data flows one way only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import TooShortError, UsageError
from pipelines.panel import Panel
from pipelines.plans import Chunk, Index, Mask, pieces_of, plan_streams
from pipelines.prepared import Prepared
from pipelines.where import plural


@dataclass(frozen=True)
class Batch:
    """What one training step reads. ``B`` lanes, ``K`` steps, ``H`` steps ahead; arrays of numpy or torch.

    Where the plan marks windows, ``K`` is 1 in everything but ``x``: only the last step is an origin.
    """

    x: Any  # [B, K, F]
    future: Any  # [B, K, H, Ff] view
    static: Any  # [B, Fs]
    level: Any  # [B, context + K]
    y: Any  # [B, K, H] view of standardised values
    anchor: Any  # [B, K]
    scale: Any  # [B, K]
    mask: Any  # [B, K, H] True where a target is observed, inside the span and counted here
    reset: Any  # [B]
    stride: int
    counted: Any = None  # [B, K] steps that exist and that no chunk before counted, whatever their targets


@dataclass(frozen=True)
class Resident:
    """The arrays batches are cut from; numpy or torch, on any device. ``target_ok`` marks rows that may be targets."""

    x: Any
    future: Any
    static: Any
    level: Any
    anchor: Any
    scale: Any
    origin_ok: Any  # [N] rows that may be origins
    target_ok: Any  # [N]
    context: int
    horizon: int
    unfold: Callable[[Any, int, int], Any]  # (array, size, axis): view, axis M -> M - size + 1 and a last axis of size
    arange: Callable[[int], Any]


def resident(prepared: Prepared, target_ok: Mask | None = None) -> Resident:
    """Numpy arrays of ``prepared``; ``target_ok [N]`` marks rows that may be targets (all observed ones by default)."""
    allowed = prepared.observed if target_ok is None else prepared.observed & target_ok
    return Resident(
        x=prepared.x, future=prepared.future, static=prepared.static, level=prepared.level,
        anchor=prepared.anchor.astype(np.float32), scale=prepared.scale.astype(np.float32),
        origin_ok=prepared.observed, target_ok=allowed, context=prepared.context, horizon=len(prepared.unit),
        unfold=_unfold, arange=np.arange,
    )  # fmt: skip


def gather(source: Resident, chunk: Chunk) -> Batch:
    """Cut one batch out of the resident arrays. ``chunk`` holds arrays of the same library as ``source``.

    Rows are read as windows of a view, so there is one index per lane and not one per row; only a chunk that
    reaches over the end of the arrays needs an index per row, to stay inside. With a chunk of ``[G, B]`` every array
    has a leading axis ``G``, which :func:`split` takes apart: for small batches the calls cost more than the copies.
    """
    horizon, context, total = source.horizon, source.context, len(source.x)
    inside = chunk.last is not None and chunk.last + chunk.size + horizon <= total

    def take(array: Any, start: Any, size: int) -> Any:
        if inside:
            windows = source.unfold(array, size, 0)
            return windows[start] if array.ndim == 1 else windows.swapaxes(1, 2)[start]
        return array[(start[..., None] + source.arange(size)).clip(0, len(array) - 1)]

    x = take(source.x, chunk.start, chunk.size)
    begin, count = chunk.start, chunk.size
    steps = source.arange(count)
    if chunk.last_only:
        begin, count, steps = chunk.start + (chunk.size - 1), 1, steps[-1:]
    valid = (steps >= chunk.counted_from[..., None]) & (steps < chunk.valid[..., None])
    values = take(source.level, begin + context * chunk.series, context + count + horizon)
    target_ok = source.unfold(take(source.target_ok, begin + 1, count + horizon - 1), horizon, -1)
    origin_ok = take(source.origin_ok, begin, count) & valid
    ahead = take(source.future, begin + 1, count + horizon - 1)
    return Batch(
        x=x, future=source.unfold(ahead, horizon, -2).swapaxes(-1, -2), static=source.static[chunk.series],
        level=values[..., : context + count], y=source.unfold(values[..., context + 1 :], horizon, -1),
        anchor=take(source.anchor, begin, count), scale=take(source.scale, begin, count),
        mask=target_ok & origin_ok[..., None], reset=chunk.reset, stride=chunk.stride, counted=valid,
    )  # fmt: skip


def split(batch: Batch) -> Iterator[Batch]:
    """The ``G`` batches of one that :func:`gather` made from a chunk of ``[G, B]``; views."""
    parts = {name: values for name, values in vars(batch).items() if name != "stride"}
    for i in range(len(batch.x)):
        yield Batch(stride=batch.stride, **{name: values[i] for name, values in parts.items()})


def _unfold(array: NDArray[Any], size: int, axis: int) -> NDArray[Any]:
    return np.lib.stride_tricks.sliding_window_view(array, size, axis=axis)


def streams(
    prepared: Prepared,
    lanes: int = 16,
    k1: int = 64,
    k2: int | None = None,
    *,
    until: Index | int | None = None,
    first: int | None = None,
) -> Iterator[Batch]:
    """One epoch of stateful numpy batches over rows before position ``until`` of every series.

    Targets at or beyond ``until`` are masked. ``first`` moves the chunk borders (see
    :func:`pipelines.plans.plan_streams`).
    """
    source = resident(prepared, rows_before(prepared, until))
    for chunk in plan_streams(pieces_of(prepared, 0, until), lanes, k1, k2, first):
        yield gather(source, chunk)


def rows_before(prepared: Prepared, until: Index | int | None) -> Mask:
    """``[N]`` True for rows whose position in their series is before ``until`` (scalar or ``[S]``)."""
    stop = prepared.lengths if until is None else np.broadcast_to(np.asarray(until), prepared.lengths.shape)
    series = np.searchsorted(prepared.offsets, np.arange(len(prepared.x)), side="right") - 1
    out: Mask = np.arange(len(prepared.x)) - prepared.offsets[series] < stop[series]
    return out


@dataclass(frozen=True)
class Windows:
    """Windows in natural units, ready for scikit-learn: ``regressor.fit(w.flat, w.y)``.

    ``X [M, lookback, C]`` (the target first, then the past covariates), ``y [M, horizon]``, ``origins [M]``
    (time stamp of the newest row in ``X``), ``unique_id [M]``.
    """

    X: NDArray[np.float64]
    y: NDArray[np.float64]
    origins: NDArray[np.datetime64]
    unique_id: NDArray[np.str_]
    columns: tuple[str, ...]

    @property
    def flat(self) -> NDArray[np.float64]:
        """``[M, lookback * C]``"""
        return self.X.reshape(len(self.X), -1)

    def __len__(self) -> int:
        return len(self.X)

    def __repr__(self) -> str:
        if not len(self):
            return "Windows: none"
        first, last = (pd.Timestamp(stamp) for stamp in (self.origins.min(), self.origins.max()))
        return f"Windows: X {self.X.shape} ({', '.join(self.columns)}), y {self.y.shape}, origins {first} to {last}"


def windows(panel: Panel, lookback: int, horizon: int = 1, *, stride: int = 1) -> Windows:
    """All complete windows of ``panel`` whose inputs and targets are observed, in natural units.

    Args:
        lookback: rows read, the origin's included.
        horizon: rows ahead that are the target.
        stride: rows between origins.

    Raises:
        UsageError: an argument is below 1.
        TooShortError: no series has ``lookback + horizon`` rows.
    """
    if min(lookback, horizon, stride) < 1:
        raise UsageError(
            f"lookback={lookback}, horizon={horizon}, stride={stride}: each must be at least 1.", hint="Use 1 or more."
        )
    if int(panel.lengths.max()) < lookback + horizon:
        raise TooShortError(
            f"the longest series has {plural(int(panel.lengths.max()), 'row')}, lookback {lookback} and horizon "
            f"{horizon} need {lookback + horizon}.",
            hint="Use a shorter lookback or horizon.",
        )
    names = ("y", *panel.covariates("past"))
    table = np.stack([panel.column(name) for name in names], axis=1)
    inputs, targets, origins, owners = [], [], [], []
    for name, low, high in zip(panel.ids, panel.offsets[:-1], panel.offsets[1:], strict=True):
        if high - low < lookback + horizon:
            continue
        x = _unfold(table[low : high - horizon][None], lookback, 1)[0].swapaxes(-1, -2)[::stride]
        y = _unfold(table[None, low + lookback : high, 0], horizon, 1)[0][::stride]
        stamps = panel.ds[low + lookback - 1 : high - horizon][::stride]
        keep = ~(np.isnan(x).any(axis=(1, 2)) | np.isnan(y).any(axis=1))
        inputs.append(x[keep])
        targets.append(y[keep])
        origins.append(stamps[keep])
        owners.append(np.full(int(keep.sum()), name))
    return Windows(
        np.concatenate(inputs), np.concatenate(targets), np.concatenate(origins), np.concatenate(owners), names
    )
