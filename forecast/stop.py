"""The stop span: how its origins are read, the loss there, and how far intervals must be pushed out to cover it.

All series share one loss and one set of intervals, in units of each series' own training rows. A series whose training
rows give no such unit (``Fitted.unscaled``: it begins later, or stood still) would rule both by itself, so it is left
out, unless nothing else can be scored.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.config import Config
from forecast.forecasts import central
from forecast.frames import origins_between
from forecast.model import Model
from forecast.nn.network import Network
from forecast.spans import Spans
from forecast.tensors import device_chunks, tensors_of
from pipelines.batches import Resident, gather, resident, rows_before
from pipelines.errors import TooShortError
from pipelines.panel import Panel
from pipelines.pipeline import LEAST_SCALED, Pipeline
from pipelines.plans import Chunk, Mask, Piece, pieces_of, plan_whole, plan_windows
from pipelines.prepared import Prepared
from pipelines.where import plural, shown, some

Array = NDArray[np.float64]
WARM = 256  # rows read before the stop span to bring the state up to date
ROLLED = 2000  # origins, spread evenly, from which recursive forecasts are calibrated


@dataclass(frozen=True)
class Scored:
    """What is read of the stop span (in chunks), its rows that may be targets ``[N]``, series ``[S]``, ids left out."""

    chunks: list[Chunk]
    rows: Mask
    series: Mask
    left_out: tuple[str, ...]

    def notes(self, spans: Spans) -> list[str]:
        """What somebody should know of the series left out, one sentence."""
        if not self.left_out:
            return []
        it, its = ("it", "its") if len(self.left_out) == 1 else ("them", "their")
        return [
            f"{some(self.left_out)}: fewer than {plural(LEAST_SCALED, 'value')}, or a spread of zero as data.scaler "
            f"measures it, up to {shown(spans.train_end)}, where training ends. Early stopping and interval widths "
            f"leave {it} out; {its} own forecasts and intervals have no scale to go by."
        ]


def scored(prepared: Prepared, pipeline: Pipeline, panel: Panel, config: Config, spans: Spans) -> Scored:
    """What is scored: the series with a scale of their own, or all of them where those have no target.

    Raises:
        TooShortError: no origin has a target in the stop span at all.
    """
    rank = position_in(prepared, spans)
    inside = rows_before(prepared, rank.stop) & ~rows_before(prepared, rank.train)
    ids = np.array(pipeline.fitted.ids, object)
    if len(ids) != len(prepared.lengths):
        ids = ids[spans.stop > 0]
    unscaled = pipeline.fitted.unscaled
    chunks = stop_plan(prepared, rank, config)
    if unscaled:
        own = ~np.isin(ids, list(unscaled))
        owner = np.searchsorted(prepared.offsets, np.arange(len(inside)), side="right") - 1
        scaled = inside & own[owner]
        if _has_target(prepared, scaled, chunks):
            return Scored(chunks, scaled, own, unscaled)
    if not _has_target(prepared, inside, chunks):
        reach, values = config.data.reach, int((prepared.observed & inside).sum())
        first = panel.grid.after(spans.train_end, 1)[0]
        steps = "one step" if reach == 1 else f"1 to {reach} steps"
        raise TooShortError(
            f"the stop span, {shown(first)} to {shown(spans.stop_end)}, has no target to stop by: none of its "
            f"{plural(values, 'value')} has another value {steps} before it.",
            hint="Use a larger stop span (--set data.stop=0.3), or bring the data to a lower frequency, at which "
            "values follow one another (a coarser --freq with --irregular snap).",
        )
    return Scored(chunks, inside, np.ones(len(ids), np.bool_), ())


def _has_target(prepared: Prepared, rows: Mask, chunks: list[Chunk]) -> bool:
    source = resident(prepared, rows)
    return any(gather(source, chunk).mask.any() for chunk in chunks)


def stop_plan(prepared: Prepared, rank: Spans, config: Config) -> list[Chunk]:
    """Chunks that score every origin of the stop span, side by side after ``WARM`` rows of run-up each."""
    if config.data.mode == "window":
        lookback = config.data.lookback
        origins = pieces_of(prepared, np.maximum(rank.train - lookback, 0), rank.stop)
        return plan_windows(origins, lookback, 256, None)
    # parts per series, so that one long series is not one long queue
    parts = max(1, 16 // len(prepared.lengths))
    pieces: list[Piece] = []
    warm: list[int] = []
    for i, offset in enumerate(prepared.offsets):
        edges = np.unique(np.linspace(max(0, rank.train[i] - 1), rank.stop[i], parts + 1).astype(int))
        for low, high in itertools.pairwise(edges):
            begin = max(0, int(low) - WARM)
            pieces.append(Piece(i, int(offset) + begin, int(offset) + int(high)))
            warm.append(int(low) - begin)
    return list(plan_whole(pieces, 256, np.array(warm, np.int64)))


@torch.no_grad()
def stop_loss(network: Network, source: Resident, chunks: list[Chunk]) -> float:
    """Mean loss over all targets the chunks allow; evaluation mode, state carried from chunk to chunk."""
    training = network.training
    network.eval()
    total, count = 0.0, 0
    state = None
    for chunk in chunks:
        batch = gather(source, chunk)
        if state is None or bool(chunk.reset.all()):
            state = network.initial(batch.x.shape[0])
        params, state = network(batch, state)
        allowed = int(batch.mask.sum())
        if allowed:
            total += float(network.loss(params, batch)) * allowed
            count += allowed
    network.train(training)
    return total / count if count else math.nan


def calibrate(
    network: Network, pipeline: Pipeline, prepared: Prepared, panel: Panel, config: Config, spans: Spans, scored: Scored
) -> dict[int, Array]:
    """``{level: [H]}`` conformal correction of the bounds, from the stop span (arXiv 1905.03222).

    See :func:`corrections`. Recursive forecasts are scored as they will be made, every step ahead from the net's own
    forecasts of the steps before.
    """
    levels = [round(100 * (1 - 2 * q)) for q in config.model.quantiles if q < 0.5]
    quantiles = list(network.head.quantiles)
    scores: dict[int, list[Array]] = {level: [] for level in levels}
    widths: dict[int, list[Array]] = {level: [] for level in levels}
    if config.data.strategy == "recursive":
        said = _rolled(Model(config, pipeline, network), panel.up_to(spans.stop_end), spans, scored)
    else:
        said = _direct(network, prepared, scored)
    for values, target in said:
        known = ~np.isnan(target).all(axis=1)
        for level in levels:
            low, high = central(values, quantiles, level)
            scores[level].append(np.maximum(low - target, target - high))
            widths[level].append((high - low)[known])
    return {level: corrections(np.concatenate(scores[level]), np.concatenate(widths[level]), level) for level in levels}


def corrections(scores: Array, widths: Array, level: int) -> Array:
    """``[H]`` how far to push out the bounds of the central interval ``level`` (per cent) at every step ahead.

    With ``n`` scores the correction of a step is the ``ceil((n + 1) level)``-th smallest. Where there are not so many
    (``n`` < 9 at 90 %: the last steps of a short stop span), no score promises ``level``, and the few there are may
    all be low by chance. Such a step is pushed out by the most of: the largest of its own scores, the correction of
    the nearest step with enough scores, as a share of the intervals' mean width, and nothing: it never narrows. This
    assumes that far forecasts miss their intervals by no smaller a share than nearer ones. If no step has enough, the
    one with the most scores stands in, and less than ``level`` is promised.

    Args:
        scores: ``[N, H]`` how far outside the bounds the truth lay, negative inside; NaN where it is not known.
        widths: ``[M, H]`` of the intervals before correction; all zero where the net gives none.
    """
    table = np.sort(scores, axis=0)  # NaN last
    count = (~np.isnan(table)).sum(axis=0)
    if not count.any():
        return np.zeros(table.shape[1])
    rank = -(-(count + 1) * level // 100)
    own = table[np.maximum(np.minimum(rank, count), 1) - 1, np.arange(table.shape[1])]
    enough = rank <= count
    width = widths.mean(axis=0)
    if not (np.isfinite(width) & (width > 0)).all():
        width = np.ones_like(width)
    push: Array = own.copy()
    givers = np.flatnonzero(enough) if enough.any() else count.argmax()[None]
    for h in np.flatnonzero(~enough):
        near = givers[np.abs(givers - h).argmin()]
        push[h] = np.fmax(np.fmax(own[h], own[near] * width[h] / width[near]), 0.0)  # fmax: a step without any score
    return push


@torch.no_grad()
def _direct(network: Network, prepared: Prepared, scored: Scored) -> Iterator[tuple[Array, Array]]:
    """What the head says, ``[N, H, width]``, and the targets, ``[N, H]``, at the origins of the stop span, in parts."""
    source = tensors_of(prepared, scored.rows, torch.device("cpu"))
    state = None
    for chunk in device_chunks(scored.chunks, torch.device("cpu")):
        batch = gather(source, chunk)
        if state is None or chunk.last_only or state[0].shape[0] != batch.x.shape[0]:
            state = network.initial(batch.x.shape[0])
        params, state = network(batch, state)
        values = network.head.forecast(params).flatten(0, 1).numpy().astype(np.float64)
        target = network.target(batch).flatten(0, 1).numpy().astype(np.float64)
        yield values, np.where(batch.mask.flatten(0, 1).numpy(), target, np.nan)


def _rolled(model: Model, seen: Panel, spans: Spans, scored: Scored) -> Iterator[tuple[Array, Array]]:
    """The same of recursive forecasts; ``seen`` ends with the stop span."""
    kept = spans.stop > 0
    rows = origins_between(seen, spans.train[kept] - 1, spans.stop[kept] - 1)
    rows = rows[~np.isnan(seen.column("y")[rows])]
    rows = rows[scored.series[np.searchsorted(seen.offsets, rows, side="right") - 1]]
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), ROLLED)).astype(int))]
    values, anchor, scale, series = model.residuals(seen, rows)
    owner = np.searchsorted(seen.offsets, rows, side="right") - 1
    ahead = rows[:, None] + np.arange(1, model.horizon + 1)
    inside = ahead < seen.offsets[owner + 1][:, None]
    truth = np.where(inside, seen.column("y")[np.where(inside, ahead, 0)], np.nan)
    yield values, model.pipeline.residual(truth, anchor, scale, series)


def position_in(prepared: Prepared, spans: Spans) -> Spans:
    """Spans for the series of ``prepared``: a series that begins later has no rows there and was left out."""
    if len(spans.train) == len(prepared.lengths):
        return spans
    kept = spans.stop > 0
    return replace(spans, train=spans.train[kept], stop=spans.stop[kept])
