"""How far back a gradient goes: the norm of d loss(t) / d state(t - k) by lag k, averaged over origins.

The loss is that of one origin, the last step of a stretch of ``lags`` rows; the state is everything the net hands
from a step to the next (h, and c of an LSTM), all layers together and each alone. A gradient that shrinks from step
to step by a factor is gone after some steps, and what happened before is hard to learn (Hochreiter 1991; Bengio,
Simard and Frasconi 1994; Hochreiter et al. 2001; Pascanu, Mikolov and Bengio 2013, arXiv 1211.5063).

**Reach** is the largest lag at which the norm is at least ``GONE``, one per cent, of the largest norm at any lag;
**vanish** means that the reach ends before the steps that are back-propagated do; **explode** that some norm is not
finite or at least ``1 / GONE`` times that at lag 0. Nets without a state from step to step (bidirectional ones, and
those that read windows whole) are measured by their inputs, d loss(t) / d x(t - k). Dropout is off, and the linear
skip, which no state carries, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.config import Config
from forecast.nn.cores import RecurrentCore, State
from forecast.nn.network import Network
from forecast.tensors import device_chunks, tensors_of
from pipelines.batches import Batch, gather
from pipelines.errors import TooShortError
from pipelines.plans import Chunk
from pipelines.prepared import Prepared

Array = NDArray[np.float64]
Index = NDArray[np.int64]
GONE = 0.01  # of the largest norm; less than that has vanished
WARM = 256  # rows read before a stretch to bring the state up to date, at most


@dataclass(frozen=True)
class Flow:
    """Mean norms of the gradient of the loss by lag, lag 0 (the origin's own step) first.

    Args:
        norms: ``[L]`` by the state (``measure`` says "state") or, where there is none, by the inputs ("input").
        inputs: ``[L]`` by the inputs.
        layers: ``{"layer 1": [L], ...}`` by the state of each layer; empty without a state.
    """

    norms: Array
    inputs: Array
    measure: str
    layers: dict[str, Array] = field(default_factory=dict)

    @property
    def share(self) -> Array:
        """``[L]`` norms over the largest of them; zeros where all are zero, NaN where one is not finite."""
        most = float(np.max(self.norms))
        if not np.isfinite(most):
            return np.full(len(self.norms), np.nan)
        return self.norms / most if most > 0 else np.zeros(len(self.norms))

    @property
    def reach(self) -> int:
        """The largest lag with a share of at least ``GONE``; the last lag where a norm is not finite."""
        share = self.share
        if np.isnan(share).any():
            return len(share) - 1
        there = np.flatnonzero(share >= GONE)
        return int(there[-1]) if len(there) else 0

    @property
    def growth(self) -> float:
        """The largest norm over that at lag 0; infinite where a norm is not finite or that at lag 0 is zero."""
        first, most = float(self.norms[0]), float(np.max(self.norms))
        if not np.isfinite(most):
            return float("inf")
        return most / first if first > 0 else (float("inf") if most > 0 else 1.0)

    @property
    def verdict(self) -> str:
        """``"none"`` (all zero), ``"explode"``, ``"vanish"`` or ``"reach"``."""
        if not np.any(self.norms):
            return "none"
        if self.growth >= 1 / GONE:
            return "explode"
        return "vanish" if self.reach < len(self.norms) - 1 else "reach"


@dataclass(frozen=True)
class Stretch:
    """``N`` stretches of ``L`` rows that end at an origin each, and the rows that warm the state up before them."""

    batch: Batch  # x [N, W + L, F], targets of the last step alone
    lags: int

    @property
    def x(self) -> Tensor:
        """``[N, L, F]``"""
        rows: Tensor = self.batch.x[:, -self.lags :]
        return rows

    @torch.no_grad()
    def start(self, network: Network) -> State:
        """The state in front of the first of the ``L`` rows."""
        warm = self.batch.x[:, : -self.lags]
        state = network.initial(len(warm))
        return network.run(warm, self.batch.static, state)[1] if warm.shape[1] else state


def stretches(prepared: Prepared, config: Config, lags: int, origins: int) -> Stretch:
    """Up to ``origins`` stretches, evenly over all rows that have a target to learn from.

    Raises:
        TooShortError: no origin has ``lags`` rows up to it.
    """
    series = np.searchsorted(prepared.offsets, np.arange(len(prepared.x)), side="right") - 1
    at = np.arange(len(prepared.x)) - prepared.offsets[series]
    horizon = len(prepared.unit)
    window = config.data.mode == "window"
    longest = int(prepared.lengths.max())
    warm = 0 if window else max(0, min(WARM, (longest - lags - horizon) // 2))
    ok = prepared.observed & (at >= lags + warm - 1) & (at + horizon < prepared.lengths[series])
    rows = np.flatnonzero(ok)
    seen = np.cumsum(prepared.observed)
    rows = rows[seen[rows + horizon] > seen[rows]]
    if not len(rows):
        raise TooShortError(
            f"the longest series has {longest} training rows, none with {lags} rows up to it and a target within "
            f"{horizon} behind it.",
            hint=f"Use --lags {max(2, longest // 4)} or more data.",
        )
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(origins, len(rows))).astype(int))]
    size, count = lags + warm, len(rows)
    full = np.full(count, size, np.int64)
    fresh = np.ones(count, np.bool_)
    chunk = Chunk(rows - size + 1, series[rows], full, full - 1, fresh, size, size, last_only=True)
    cpu = torch.device("cpu")
    return Stretch(gather(tensors_of(prepared, None, cpu), device_chunks([chunk], cpu)[0]), lags)


def flow(network: Network, stretch: Stretch) -> Flow:
    """Gradient norms by lag of ``network`` (in evaluation mode, its weights and their gradients left as they are)."""
    training = network.training
    network.eval()
    kept = [(weight, weight.requires_grad) for weight in network.parameters()]
    try:
        for weight, _ in kept:
            weight.requires_grad_(False)
        with torch.enable_grad():
            core = network.core
            if isinstance(core, RecurrentCore) and core.streams:
                return _by_state(network, stretch)
            x = stretch.x.clone().requires_grad_()
            features, _ = network.run(x, stretch.batch.static, network.initial(len(x)))
            _loss(network, features, stretch).backward()  # type: ignore[no-untyped-call]
            norms = _norms(x.grad, 1)
            return Flow(norms, norms, "input")
    finally:
        for weight, before in kept:
            weight.requires_grad_(before)
        network.train(training)


def _by_state(network: Network, stretch: Stretch) -> Flow:
    """One step at a time, so that the state between any two steps can be asked for its gradient."""
    batch, x = stretch.batch, stretch.x.clone().requires_grad_()
    state = tuple(part.clone().requires_grad_() for part in stretch.start(network))
    states: list[State] = []
    features = x
    for t in range(stretch.lags):
        features, state = network.run(x[:, t : t + 1], batch.static, state)
        states.append(state)
    # the last state is never read: a net hands on what its features showed, so those stand for it at lag 0
    parts = [part for state in states[:-1] for part in state]
    out = torch.autograd.grad(_loss(network, features, stretch), [features, x, *parts], allow_unused=True)
    top, by_x, rest = out[0], out[1], out[2:]
    width = len(state)
    count, layers = len(x), states[0][0].shape[1]
    squares = torch.zeros(count, stretch.lags, layers, dtype=torch.float64)
    squares[:, 0, -1] = top.double().square().sum((1, 2))
    for t in range(stretch.lags - 1):
        for gradient in rest[t * width : (t + 1) * width]:
            if gradient is not None:
                squares[:, stretch.lags - 1 - t] += gradient.double().square().sum(-1)
    norms = squares.sum(-1).sqrt().mean(0).numpy()
    single = {f"layer {i + 1}": squares[..., i].sqrt().mean(0).numpy() for i in range(layers)}
    return Flow(norms, _norms(by_x, 1), "state", single)


def _loss(network: Network, features: Tensor, stretch: Stretch) -> Tensor:
    """Sum over the origins of each one's loss: a lane's gradient is that of its own origin (its targets summed)."""
    params = network.params(features[:, -1:], stretch.batch)
    return network.loss(params, stretch.batch) * len(stretch.x)


def _norms(gradient: Tensor | None, axis: int) -> Array:
    """``[L]`` mean over lanes of the norm of ``gradient [N, L, F]``, newest step first."""
    if gradient is None:
        raise RuntimeError("the loss does not depend on the inputs")
    out: Array = gradient.double().square().sum(-1).sqrt().mean(0).flip(0).numpy()
    return out
