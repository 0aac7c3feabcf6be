"""Reading histories with a trained net: forecasts at any origins, and the state behind the last row.

A history is read in chunks of one shape that depends on the number of series alone, padded on the right. Kernels
choose their order of additions by shape, so cutting off or changing later rows leaves earlier forecasts
bitwise equal on one machine with one thread count. The state behind the last row comes from a second look at
the last chunk, cut to the rows that exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.nn.cores import State
from forecast.nn.network import Network
from forecast.tensors import device_chunks, tensors_of
from pipelines.batches import Batch, Resident, gather
from pipelines.plans import Chunk, Piece, pieces_of, plan_whole
from pipelines.prepared import Prepared

Array = NDArray[np.float64]
Index = NDArray[np.int64]
READ_CHUNK = 128
READ_LANES = 64
FEW_LANES = 4  # up to so many, a chunk is four times as long: a step is then cheap beside the calls around it


@dataclass
class Standing:
    """Where ``S`` series stand behind their last rows: all that the next forecast and the next row need."""

    core: State  # tensors [S, ...]; empty in window mode
    features: Tensor  # [S, D] of the last step
    recent: Tensor  # [S, lookback, F] the newest rows in window mode, else [S, 0, F]
    scans: dict[str, Array]  # state of the pipeline, arrays [S, ...]
    level: Tensor  # [S, context + 1] standardised values up to the last
    anchor: Array  # [S]
    scale: Array  # [S]
    ahead: Tensor  # [S, H, Ff] known-future covariates behind the last row
    static: Tensor  # [S, Fs]

    def take(self, at: Index) -> Standing:
        """The series ``at``."""
        pick = torch.from_numpy(np.asarray(at))
        return Standing(
            core=tuple(part[pick] for part in self.core),
            scans={name: part[at] for name, part in self.scans.items()},
            anchor=self.anchor[at],
            scale=self.scale[at],
            **{name: getattr(self, name)[pick] for name in ("features", "recent", "level", "ahead", "static")},
        )

    def put(self, at: Index, other: Standing) -> None:
        """Overwrite the series ``at`` with ``other``."""
        pick = torch.from_numpy(np.asarray(at))
        for mine, theirs in zip(self.core, other.core, strict=True):
            mine[pick] = theirs
        for name in ("features", "recent", "level", "ahead", "static"):
            getattr(self, name)[pick] = getattr(other, name)
        for name, part in self.scans.items():
            part[at] = other.scans[name]
        self.anchor[at], self.scale[at] = other.anchor, other.scale


@torch.no_grad()
def read(
    network: Network, prepared: Prepared, origins: Index, lookback: int | None
) -> tuple[NDArray[np.float32], Standing]:
    """Read all of ``prepared``: forecasts at ``origins [M]`` and where the series then stand.

    Args:
        origins: rows of ``prepared``, in any order, repeated or not.
        lookback: rows per window; ``None`` to read as a stream.

    Returns:
        ``([M, H, width of the head] in the net's units, standing)``. In window mode an origin with fewer than
        ``lookback`` rows before it has no forecast: NaN.
    """
    source = tensors_of(prepared, None, torch.device("cpu"))
    out = np.full((len(origins), source.horizon, network.head.width), np.nan, np.float32)
    slot = np.full(len(prepared.x), -1, np.int64)
    slot[origins] = np.arange(len(origins))
    pieces = pieces_of(prepared)
    features = torch.zeros(len(pieces), network.core.out_features, dtype=torch.float32)
    if lookback is None:
        core = network.initial(len(pieces))
        for low in range(0, len(pieces), READ_LANES):
            _read_group(network, source, pieces[low : low + READ_LANES], slot, out, core, features, low)
        repeated = np.flatnonzero(slot[origins] != np.arange(len(origins)))
        out[repeated] = out[slot[origins[repeated]]]
        recent = torch.zeros(len(pieces), 0, prepared.x.shape[1], dtype=torch.float32)
    else:
        core = ()
        _read_windows(network, source, prepared, origins, lookback, out)
        recent = _recent(prepared, lookback)
        features = window_features(network, recent, _tensor(prepared.static))
    return out, _stand(prepared, core, features, recent)


def _read_group(
    network: Network, source: Resident, pieces: list[Piece], slot: Index, out: NDArray[np.float32], core: State,
    features: Tensor, low: int,
) -> None:  # fmt: skip
    """Read up to ``READ_LANES`` series side by side; results go into ``out``, ends into ``core`` and ``features``."""
    state = network.initial(len(pieces))
    plan = list(plan_whole(pieces, READ_CHUNK * (4 if len(pieces) <= FEW_LANES else 1)))
    for host, chunk in zip(plan, device_chunks(plan, torch.device("cpu")), strict=True):
        rows = (host.start[:, None] + np.arange(host.size)).clip(0, len(slot) - 1)
        wanted = (slot[rows] >= 0) & (np.arange(host.size) < host.valid[:, None])
        batch = gather(source, chunk)
        x, static = batch.x, batch.static
        steps, after = network.run(x, static, state)
        if wanted.any():
            forecast = network.head.forecast(network.params(steps, batch))
            out[slot[rows[wanted]]] = forecast.numpy()[wanted]
        ends = host.start + host.valid == np.array([piece.stop for piece in pieces])
        for count in np.unique(host.valid[ends & (host.valid > 0)]):
            at = np.flatnonzero(ends & (host.valid == count))
            pick = torch.from_numpy(at)
            tail, last = network.run(x[pick, :count], static[pick], tuple(part[pick] for part in state))
            features[pick + low] = tail[:, -1]
            for mine, theirs in zip(core, last, strict=True):
                mine[pick + low] = theirs
        state = after


def _read_windows(
    network: Network, source: Resident, prepared: Prepared, origins: Index, lookback: int, out: NDArray[np.float32]
) -> None:
    series = np.searchsorted(prepared.offsets, origins, side="right") - 1
    enough = np.flatnonzero(origins - prepared.offsets[series] >= lookback - 1)
    for part in _fixed(enough):
        start = origins[part] - lookback + 1
        full = np.full(len(part), lookback, np.int64)
        chunk = Chunk(start, series[part], full, full - 1, np.ones(len(part), np.bool_), lookback, lookback, True)
        batch = gather(source, device_chunks([chunk], torch.device("cpu"))[0])
        steps, _ = network.run(batch.x, batch.static, network.initial(len(part)))
        out[part] = network.head.forecast(network.params(steps, batch))[:, 0].numpy()


def _fixed(index: Index) -> Iterator[Index]:
    """Pieces of exactly ``READ_CHUNK``; the last is filled up by repeating its last element."""
    for low in range(0, len(index), READ_CHUNK):
        part = index[low : low + READ_CHUNK]
        yield np.concatenate([part, np.repeat(part[-1:], READ_CHUNK - len(part))])


def _recent(prepared: Prepared, lookback: int) -> Tensor:
    """``[S, lookback, F]``; where a series is shorter, its first row is repeated in front (never forecast from)."""
    ends = prepared.offsets + prepared.lengths
    rows = np.maximum(ends[:, None] - lookback + np.arange(lookback), prepared.offsets[:, None])
    return _tensor(prepared.x[rows])


def window_features(network: Network, recent: Tensor, static: Tensor) -> Tensor:
    """``[S, D]`` of the windows ``recent [S, lookback, F]``."""
    steps, _ = network.run(recent, static, network.initial(len(recent)))
    return steps[:, -1]


def _tensor(array: NDArray[Any]) -> Tensor:
    """A copy in torch's own memory: matrix products may round differently where memory is not aligned alike."""
    return torch.tensor(array, dtype=torch.float32)


def _stand(prepared: Prepared, core: State, features: Tensor, recent: Tensor) -> Standing:
    last = prepared.offsets + prepared.lengths - 1
    horizon = len(prepared.unit)
    return Standing(
        core=core,
        features=features,
        recent=recent,
        scans=prepared.state,
        level=_tensor(prepared.state["context/tail"]),
        anchor=prepared.anchor[last],
        scale=prepared.scale[last],
        ahead=_tensor(prepared.future[last[:, None] + 1 + np.arange(horizon)]),
        static=_tensor(prepared.static),
    )


@torch.no_grad()
def advance(network: Network, standing: Standing, prepared: Prepared, lookback: int | None) -> Standing:
    """``standing`` of the same series after the new rows ``prepared``; one step of the net per row."""
    parts: list[tuple[Index, Standing]] = []
    for count in np.unique(prepared.lengths):
        at = np.flatnonzero(prepared.lengths == count)
        x = _tensor(prepared.x[prepared.offsets[at][:, None] + np.arange(count)])
        before = standing.take(at)
        if lookback is None:
            steps, core = network.run(x, before.static, before.core)
            parts.append((at, replace(before, core=core, features=steps[:, -1])))
        else:
            recent = torch.cat([before.recent, x], dim=1)[:, -lookback:]
            features = window_features(network, recent, before.static)
            parts.append((at, replace(before, recent=recent, features=features)))
    core = tuple(part.clone() for part in standing.core)
    end = _stand(prepared, core, standing.features.clone(), standing.recent.clone())
    for at, part in parts:
        pick = torch.from_numpy(at)
        end.features[pick], end.recent[pick] = part.features, part.recent
        for mine, theirs in zip(end.core, part.core, strict=True):
            mine[pick] = theirs
    return end


@torch.no_grad()
def forecast(network: Network, standing: Standing) -> NDArray[np.float32]:
    """``[S, H, width of the head]`` in the net's units, from where the series stand."""
    anchor = torch.from_numpy(standing.anchor.astype(np.float32))[:, None]
    batch = Batch(
        x=None, future=standing.ahead[:, None], static=standing.static, level=standing.level, y=None, anchor=anchor,
        scale=torch.from_numpy(standing.scale.astype(np.float32))[:, None], mask=None, reset=None, stride=1,
    )  # fmt: skip
    result: NDArray[np.float32] = network.head.forecast(network.params(standing.features[:, None], batch))[:, 0].numpy()
    return result
