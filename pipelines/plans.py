"""Plans: which rows each lane reads next, by index arithmetic alone; :mod:`pipelines.batches` cuts the arrays.

Streams (Williams and Peng 1990 name ``k1`` and ``k2``): the rows of every series are cut into pieces, the
pieces are laid out on ``lanes`` parallel lanes, and chunk ``t + 1`` of a lane goes on where chunk ``t``
stopped, ``k1`` steps later. A chunk spans ``k2 >= k1`` steps, which is how far gradients reach back; the
steps a chunk shares with the one before carry no loss, so every origin is counted once. A lane that starts
a new piece is marked in ``reset``. Padding is on the right only; the chunk after padding always resets.

Lanes have equal numbers of steps, whatever that is in chunks, so some chunks of a pass are shorter: the first has any
length the caller likes (that moves the borders between passes), and the last is as long as what is left. Less than
half of ``k1`` shares its rows with the chunk before, unless a lane begins a piece there, so that no update is made of
a few rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import TooShortError, UsageError
from pipelines.prepared import Prepared
from pipelines.where import plural

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Piece:
    """Consecutive rows ``[start, stop)`` of one series, as rows of ``Prepared``."""

    series: int
    start: int
    stop: int


@dataclass(frozen=True)
class Chunk:
    """One step of a plan for ``B`` lanes; :func:`pipelines.batches.gather` takes several too, ``[G, B]``."""

    start: Index  # [B] first row
    series: Index  # [B]
    valid: Index  # [B] steps that exist; the rest is padding on the right
    counted_from: Index  # [B] steps before this carry no loss: the chunk before counted them
    reset: Mask  # [B] the lane starts a new piece here
    size: int  # K, steps in this chunk
    stride: int  # the carried state is the one after this many steps
    last_only: bool = False  # windows: only the last step is an origin
    last: int | None = None  # largest first row, known on the host; None where it is not

    def __post_init__(self) -> None:
        if self.last is None and isinstance(self.start, np.ndarray) and self.start.size:
            object.__setattr__(self, "last", int(self.start.max()))


def pieces_of(prepared: Prepared, start: Index | int = 0, stop: Index | int | None = None) -> list[Piece]:
    """Rows ``[start, stop)`` of every series (positions within the series; scalars or ``[S]``) that exist."""
    lengths = prepared.lengths
    low = np.clip(np.broadcast_to(np.asarray(start), lengths.shape), 0, lengths)
    high = lengths if stop is None else np.clip(np.broadcast_to(np.asarray(stop), lengths.shape), 0, lengths)
    return [
        Piece(i, int(prepared.offsets[i] + low[i]), int(prepared.offsets[i] + high[i]))
        for i in range(len(lengths))
        if high[i] > low[i]
    ]


def plan_streams(
    pieces: list[Piece], lanes: int, k1: int, k2: int | None = None, first: int | None = None, slack: float = 0.0
) -> list[Chunk]:
    """Lay ``pieces`` out on ``lanes`` and cut them into chunks; the order of rows is never shuffled.

    Args:
        pieces: spans of rows; long ones are cut so that lanes are of equal length.
        lanes: parallel lanes, ``B``.
        k1: steps between updates.
        k2: steps gradients reach back, at least ``k1`` (the default).
        first: stride of every lane's first chunk (1 to ``k1``), to move the chunk borders between epochs.
        slack: lanes are longer by this share than they need be, to move where they begin. With any, they are rounded
            up to a multiple of an eighth of ``k1`` where that costs no more than a part in 64, so that the last chunks
            of one long series have few lengths: a kernel sets itself up anew, in milliseconds and a megabyte, for each.

    Raises:
        UsageError: ``lanes``, ``k1``, ``k2`` or ``first`` is out of range.
        TooShortError: there are no rows.
    """
    k2 = k1 if k2 is None else k2
    first = k1 if first is None else first
    if lanes < 1 or k1 < 1 or k2 < k1 or not 1 <= first <= k1 or slack < 0:
        raise UsageError(
            f"lanes={lanes}, k1={k1}, k2={k2}, first={first}, slack={slack:g}: expected lanes >= 1, k2 >= k1 >= 1, "
            "1 <= first <= k1, slack >= 0.",
            hint="k1 is the stride between updates, k2 the steps that are back-propagated.",
        )
    if not pieces:
        raise TooShortError("there are no rows to train on.", hint="Use a longer training span.")
    overlap = k2 - k1
    layout = [_chunks(lane, k1, first, overlap) for lane in _lay_out(pieces, lanes, k1, first, overlap, slack)]
    chunks: list[Chunk] = []
    count = max(len(lane) for lane in layout)
    for t in range(count):
        stride = first if t == 0 else k1
        size = stride + overlap
        start, series, valid = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
        counted, reset = np.zeros(lanes, np.int64), np.zeros(lanes, np.bool_)
        for b, lane in enumerate(layout):
            if t >= len(lane):  # an idle lane reads row 0 with no valid step; its state is never used again
                reset[b] = True
                continue
            at, piece, fresh = lane[t]
            start[b], series[b] = at, piece.series
            valid[b], reset[b] = min(size, piece.stop - at), fresh
            counted[b] = 0 if fresh else overlap
        if t == count - 1:  # no lane goes on, so steps that none of them has need not be read
            size = int(valid.max())
        chunks.append(Chunk(start, series, valid, counted, reset, size, min(stride, size)))
    return _share_rest(chunks, k1, overlap)


def _share_rest(chunks: list[Chunk], k1: int, overlap: int) -> list[Chunk]:
    """The last two chunks in equal parts where the last has few rows of its own and no lane begins a piece there.

    In one part where that is not longer than ``k1``.
    """
    if len(chunks) < 2:
        return chunks
    *others, before, last = chunks
    here = last.valid > 0
    more = last.size - overlap
    if last.reset[here].any() or 2 * more >= k1:
        return chunks
    strides = before.stride + more
    valid = np.where(here, before.stride + last.valid, before.valid)
    if strides <= k1:
        return [*others, replace(before, valid=valid, size=strides + overlap, stride=strides)]
    half = strides // 2
    on = valid > half + overlap
    return [
        *others,
        replace(before, valid=np.minimum(valid, half + overlap), size=half + overlap, stride=half),
        Chunk(
            start=np.where(on, before.start + half, 0), series=np.where(on, before.series, 0),
            valid=np.where(on, valid - half, 0), counted_from=np.where(on, overlap, 0), reset=~on,
            size=strides - half + overlap, stride=strides - half,
        ),
    ]  # fmt: skip


def plan_whole(pieces: list[Piece], size: int, warm: Index | None = None) -> Iterator[Chunk]:
    """Every piece on a lane of its own from its first row to its last, in chunks of one fixed ``size``.

    The first ``warm [len(pieces)]`` rows of each piece only bring the state up to date: they carry no loss.

    Never cut and never balanced: this is how a history is read to forecast. The shape of a chunk does not
    depend on how long the pieces are, so cutting data off later leaves earlier results bitwise equal.
    """
    begin = np.array([p.start for p in pieces], np.int64)
    length = np.array([p.stop - p.start for p in pieces], np.int64)
    series = np.array([p.series for p in pieces], np.int64)
    quiet = np.zeros_like(length) if warm is None else warm
    for low in range(0, int(length.max()), size):
        valid = np.clip(length - low, 0, size)
        start = np.where(valid > 0, begin + low, 0)
        counted_from = np.clip(quiet - low, 0, size)
        yield Chunk(start, series, valid, counted_from, np.full(len(pieces), low == 0), size, size)


def _lay_out(
    pieces: list[Piece], lanes: int, k1: int, first: int, overlap: int, slack: float = 0.0
) -> list[list[Piece]]:
    """For every lane its pieces, on lanes about as short as can hold them all: idle steps cost as much as others.

    ``slack`` makes them longer by that share. No lane is cut shorter than ``k1`` to have more of them: every lane
    begins with a blank state.
    """
    lengths = [p.stop - p.start for p in pieces]

    def fits(steps: int) -> bool:
        return all(lane < lanes for lane, *_ in _cut(lengths, steps, k1, first, overlap))

    rows = sum(max(1, length - overlap) for length in lengths)
    steps = max(1, -(-(rows - overlap * (lanes - 1)) // lanes), min(k1, max(lengths)))
    if not fits(steps):  # pieces end within chunks; within a part in 256 it is not worth looking further
        padded = sum(-(-max(1, length - overlap) // k1) * k1 for length in lengths)
        low, steps = steps, max(steps + 1, -(-padded // lanes))
        while not fits(steps):
            low, steps = steps, steps + 1 + steps // 8
        while steps - low > 1 + steps // 256:
            middle = (low + steps) // 2
            low, steps = (low, middle) if fits(middle) else (middle, steps)
    if slack:
        steps += int(slack * steps)
        rest = -steps % max(1, k1 // 8)
        steps += rest if 64 * rest <= steps else 0
    layout: list[list[Piece]] = [[] for _ in range(lanes)]
    for lane, which, at, count in _cut(lengths, steps, k1, first, overlap):
        start = pieces[which].start + at
        layout[lane].append(Piece(pieces[which].series, start, start + count))
    return layout


def _cut(lengths: list[int], steps: int, k1: int, first: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    """``(lane, piece, first row, rows)``: pieces in order, cut where a lane has ``steps`` steps and the overlap.

    Behind another piece one begins with a chunk, and only where there is room for the chunk or all of its rows: rows
    read from a blank state teach little. What is left of a piece that is cut begins the next lane, however short.
    """
    lane = used = 0
    for which, length in enumerate(lengths):
        at = 0
        while at < length:
            if used and steps - used < min(k1, length - at):
                lane, used = lane + 1, 0
            begin = k1 if used else first
            rows = min(length - at, steps - used + overlap)
            yield lane, which, at, rows
            used += begin + k1 * max(0, -(-(rows - begin - overlap) // k1))
            at += rows


def _chunks(lane: list[Piece], k1: int, first: int, overlap: int) -> list[tuple[int, Piece, bool]]:
    """The chunks of a lane as (first row, piece, is a new piece)."""
    out: list[tuple[int, Piece, bool]] = []
    for piece in lane:
        at, stride, fresh = piece.start, k1 if out else first, True
        while True:
            out.append((at, piece, fresh))
            if at + stride + overlap >= piece.stop:
                break
            at, stride, fresh = at + stride, k1, False
    return out


def plan_windows(
    pieces: list[Piece], lookback: int, batch: int, rng: np.random.Generator | None, *, stride: int = 1
) -> list[Chunk]:
    """Windows of ``lookback`` rows that end at an origin inside ``pieces``; shuffled when ``rng`` is given.

    The first origin of a piece is ``lookback - 1`` rows after its start.

    Raises:
        TooShortError: no piece has ``lookback`` rows.
    """
    starts = [np.arange(p.start, p.stop - lookback + 1, stride, dtype=np.int64) for p in pieces]
    series = [np.full(len(s), p.series, np.int64) for s, p in zip(starts, pieces, strict=True)]
    start, owner = np.concatenate(starts), np.concatenate(series)
    if not len(start):
        longest = max(p.stop - p.start for p in pieces)
        raise TooShortError(
            f"the longest span has {plural(longest, 'row')}, a window needs {lookback}.",
            hint=f"Use --lookback {max(1, longest // 2)} or more data.",
        )
    if rng is not None:
        order = rng.permutation(len(start))
        start, owner = start[order], owner[order]
    chunks = []
    for low in range(0, len(start), batch):
        part, own = start[low : low + batch], owner[low : low + batch]
        full = np.full(len(part), lookback, np.int64)
        chunks.append(
            Chunk(part, own, full, full - 1, np.ones(len(part), np.bool_), lookback, lookback, last_only=True)
        )
    return chunks
