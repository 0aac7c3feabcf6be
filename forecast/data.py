"""Batches for training: resident tensors on the training device, no Python per item.

The arrays of :class:`pipelines.prepared.Prepared` move to the device once; a plan (index arithmetic from
:mod:`pipelines.plans`) says which rows each lane reads next, and one gather makes a batch there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch

from forecast.tensors import device_chunks, stack_chunks, tensors_of
from pipelines.batches import Batch, Resident, gather, split
from pipelines.plans import Chunk, Mask, Piece, plan_streams, plan_windows
from pipelines.prepared import Prepared

SLACK = 0.02  # share of steps spent on other borders of lanes in every pass, at most
AHEAD = 1 << 18  # numbers cut out ahead of their turn, a megabyte of float32


@dataclass(frozen=True)
class Span:
    """Origins ``pieces`` and the rows ``target_ok [N]`` that may be their targets."""

    pieces: list[Piece]
    target_ok: Mask


class Bundle:
    """Several chunks in a row, gathered one by one as they are asked for.

    A Lightning "batch" is a bundle: Lightning's bookkeeping, about half a millisecond, is then paid once per
    bundle and not once per update.
    """

    def __init__(self, source: Resident, chunks: Sequence[Chunk]) -> None:
        self.source, self.chunks = source, chunks

    def __iter__(self) -> Iterator[Batch]:
        """Batches in order; as many as fit into ``AHEAD`` numbers are cut out in one go, which costs a few calls."""
        chunks, low = self.chunks, 0
        while low < len(chunks):
            first, high = chunks[low], low + 1
            alike = (len(first.start), first.size, first.stride, first.last_only)
            most = low + max(1, AHEAD // self._numbers(first))
            while high < min(most, len(chunks)):
                other = chunks[high]
                if (len(other.start), other.size, other.stride, other.last_only) != alike:
                    break
                high += 1
            if high == low + 1:
                yield gather(self.source, first)
            else:
                yield from split(gather(self.source, stack_chunks(chunks[low:high])))
            low = high

    def _numbers(self, chunk: Chunk) -> int:
        source, origins = self.source, 1 if chunk.last_only else chunk.size
        ahead = (origins + source.horizon) * (1 + source.future.shape[-1])
        per_lane = chunk.size * source.x.shape[-1] + source.context + ahead + origins * source.horizon // 4
        return len(chunk.start) * int(per_lane)

    def __len__(self) -> int:
        return len(self.chunks)


class StreamData(pl.LightningDataModule):
    """Training passes as bundles of chunks.

    Args:
        prepared: arrays of all rows.
        train: training span.
        lanes, k1, k2: see :func:`pipelines.plans.plan_streams`; with ``lookback`` windows instead of streams.
        passes: passes over the training rows in one Lightning epoch.
        total: passes in all; the last Lightning epoch has fewer where they do not divide it.
        seed: of the borders of chunks and lanes in each pass (streams) or of the shuffling (windows).
    """

    def __init__(
        self,
        prepared: Prepared,
        train: Span,
        *,
        lanes: int,
        k1: int,
        k2: int,
        lookback: int | None,
        passes: int = 1,
        total: int | None = None,
        seed: int = 0,
        bundle: int = 64,
    ) -> None:
        super().__init__()
        self.prepared, self.train = prepared, train
        self.lanes, self.k1, self.k2, self.lookback = lanes, k1, k2, lookback
        self.passes, self.total, self.bundle = passes, total, bundle
        self.done = 0
        self.rng = np.random.default_rng(seed)
        self.source: Resident | None = None

    def plan(self) -> list[Chunk]:
        """The next pass: other borders of chunks and lanes (streams) or another order (windows)."""
        if self.lookback is not None:
            return plan_windows(self.train.pieces, self.lookback, self.lanes, self.rng)
        eighth = max(1, self.k1 // 8)  # few lengths (see plan_streams) and none of a few rows, rather than every phase
        first = eighth * int(self.rng.integers(-(-self.k1 // (2 * eighth)), self.k1 // eighth + 1))
        return plan_streams(self.train.pieces, self.lanes, self.k1, self.k2, first, self.rng.uniform(0, SLACK))

    def setup(self, stage: str) -> None:
        if self.source is None:
            device = self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")
            self.source = tensors_of(self.prepared, self.train.target_ok, device)

    def train_dataloader(self) -> _Passes:
        if self.source is None:
            self.setup("fit")
        return _Passes(self)

    def transfer_batch_to_device(self, batch: Bundle, device: torch.device, dataloader_idx: int) -> Bundle:
        return batch  # it is there


class _Passes:
    """Iterates over the bundles of ``passes`` passes; a bundle may hold several, as every pass begins with a reset."""

    def __init__(self, data: StreamData) -> None:
        self.data = data

    def __iter__(self) -> Iterator[Bundle]:
        data = self.data
        source = data.source
        if source is None:
            raise RuntimeError("StreamData.setup was not called")
        left = data.passes if data.total is None else min(data.passes, data.total - data.done)
        chunks: list[Chunk] = []
        for _ in range(left):
            data.done += 1
            chunks += device_chunks(data.plan(), source.x.device)
            while len(chunks) >= data.bundle:
                yield Bundle(source, chunks[: data.bundle])
                chunks = chunks[data.bundle :]
        if chunks:
            yield Bundle(source, chunks)
