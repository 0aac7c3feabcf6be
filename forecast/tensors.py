"""From numpy arrays to resident torch tensors: the only place where the data layer meets torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from forecast.heap import keep_freed
from pipelines.batches import Resident
from pipelines.plans import Chunk, Mask
from pipelines.prepared import Prepared

_INDICES = ("start", "series", "valid", "counted_from", "reset")


def tensors_of(prepared: Prepared, target_ok: Mask | None, device: torch.device) -> Resident:
    """The arrays batches are cut from, on ``device``; ``target_ok [N]`` marks rows that may be targets."""
    keep_freed()

    def put(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    allowed = prepared.observed if target_ok is None else prepared.observed & target_ok
    return Resident(
        x=put(prepared.x),
        future=put(prepared.future),
        static=put(prepared.static),
        level=put(prepared.level),
        anchor=put(prepared.anchor.astype(np.float32)),
        scale=put(prepared.scale.astype(np.float32)),
        origin_ok=put(prepared.observed),
        target_ok=put(allowed),
        context=prepared.context,
        horizon=len(prepared.unit),
        unfold=_unfold,
        arange=lambda size: torch.arange(size, device=device),
    )


def device_chunks(chunks: list[Chunk], device: torch.device) -> list[Chunk]:
    """The same chunks with index tensors on ``device``, moved in one copy per shape of chunk."""
    out: list[Chunk | None] = [None] * len(chunks)
    for lanes in {len(chunk.start) for chunk in chunks}:
        some = [i for i, chunk in enumerate(chunks) if len(chunk.start) == lanes]
        table = np.stack(
            [np.stack([c.start, c.series, c.valid, c.counted_from, c.reset]) for c in (chunks[i] for i in some)]
        )
        moved = torch.from_numpy(table).to(device)
        for i, part in zip(some, moved, strict=True):
            c = chunks[i]
            out[i] = replace(
                c, start=part[0], series=part[1], valid=part[2], counted_from=part[3], reset=part[4].bool()
            )
    return [chunk for chunk in out if chunk is not None]


def _unfold(array: Tensor, size: int, axis: int) -> Tensor:
    return array.unfold(axis, size, 1)


def stack_chunks(chunks: Sequence[Chunk]) -> Chunk:
    """Chunks of one shape as one, ``[G, B]`` for ``[B]`` (see :func:`pipelines.batches.gather`)."""
    stacked: dict[str, Any] = {name: torch.stack([getattr(chunk, name) for chunk in chunks]) for name in _INDICES}
    lasts = [chunk.last for chunk in chunks if chunk.last is not None]
    return replace(chunks[0], **stacked, last=max(lasts) if len(lasts) == len(chunks) else None)
