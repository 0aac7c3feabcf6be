"""Ridge readout: the last layer of a net whose core is fixed, solved for in one streamed pass over the training rows.

What the head reads (features of the core, known-future covariates, values of the linear skip) enters one regression
per step ahead on the standardised residual, with an intercept that is not penalised. Minimised is the mean squared
error plus ``ridge`` times the squared weights.

Why not scikit-learn's ``Ridge``: it wants all rows at once, in float64, which is gigabytes where the net itself reads
a chunk at a time, and starts anew for every strength that is tried. Sums of products are all a ridge regression needs;
they are gathered here chunk by chunk in float64, and one eigendecomposition serves every strength. A test holds the
result to scikit-learn's.

Assumptions, named: the first ``WASHOUT`` rows of a series, at most a fifth of it, only bring the state up to date.
Rows whose targets are not all observed are left out while at least half of the rows remain; where gaps leave fewer,
every step ahead is regressed on its own rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.nn.core import State
from forecast.nn.network import Network
from forecast.tensors import device_chunks
from pipelines.batches import Resident, gather
from pipelines.errors import TooShortError, TrainingError
from pipelines.plans import Chunk, Piece, plan_whole

Array = NDArray[np.float64]
WASHOUT = 100
CHUNK = 256
LANES = 64
STRENGTHS = tuple(float(f"1e{power}") for power in range(-12, 3))


@dataclass
class Moments:
    """Sums over the rows read so far: of ``x [D]``, of the targets ``y [H]``, and of their products."""

    rows: int
    x: Array
    y: Array
    xx: Array
    xy: Array

    @classmethod
    def empty(cls, inputs: int, outputs: int) -> Moments:
        zeros = np.zeros
        return cls(0, zeros(inputs), zeros(outputs), zeros((inputs, inputs)), zeros((inputs, outputs)))

    def add(self, x: Array, y: Array) -> None:
        self.rows += len(x)
        self.x += x.sum(0)
        self.y += y.sum(0)
        self.xx += x.T @ x
        self.xy += x.T @ y

    def solver(self) -> Callable[[float], tuple[Array, Array]]:
        """From a ridge to weights ``[D, H]`` and intercepts ``[H]``."""
        mean_x, mean_y = self.x / self.rows, self.y / self.rows
        values, vectors = np.linalg.eigh(self.xx / self.rows - np.outer(mean_x, mean_x))
        values = values.clip(min=0)
        turned = vectors.T @ (self.xy / self.rows - np.outer(mean_x, mean_y))

        def solve(ridge: float) -> tuple[Array, Array]:
            weights = vectors @ (turned / (values + ridge)[:, None])
            return weights, mean_y - mean_x @ weights

        return solve


@torch.no_grad()
def fit_readout(
    network: Network,
    source: Resident,
    pieces: list[Piece],
    ridge: float | None,
    score: Callable[[], float],
    tell: Callable[[int, int], None] | None = None,
) -> tuple[float, float]:
    """Solve for head and skip of ``network``, whose core is left as it is.

    Args:
        source: rows on the CPU, with the targets that may be learned from.
        pieces: the training rows, from the first row of every series.
        ridge: strength of the penalty; ``None``: the one of ``STRENGTHS`` with the best score.
        score: loss of the network as it is, on rows that are not learned from; the smaller the better.
        tell: told how many of how many chunks are read.

    Returns:
        The strength and its score.

    Raises:
        TooShortError: no row is left behind the washout.
        TrainingError: the score is not a number.
    """
    network.eval()
    plan = readout_plan(pieces)
    groups = _steps_together(source, plan)
    sums: list[Moments] = []
    state: State = ()
    for done, chunk in enumerate(plan):
        batch = gather(source, chunk)
        if bool(chunk.reset.all()):
            state = network.initial(len(batch.x))
        features, state = network.run(batch.x, batch.static, state)
        inputs = network.inputs(features, batch).flatten(0, 1).numpy()
        target, mask = network.target(batch).flatten(0, 1).numpy(), batch.mask.flatten(0, 1).numpy()
        sums = sums or [Moments.empty(inputs.shape[1], len(steps)) for steps in groups]
        for steps, moments in zip(groups, sums, strict=True):
            rows = np.flatnonzero(mask[:, steps].all(axis=1))
            moments.add(inputs[rows].astype(np.float64), target[rows][:, steps].astype(np.float64))
        if tell is not None:
            tell(done + 1, len(plan))
    if not sums or min(moments.rows for moments in sums) < 2:
        raise TooShortError(
            "no training row with a target is left behind the first ones, which only bring the state up to date.",
            hint="Use more history, or a shorter --horizon.",
        )
    solvers = [moments.solver() for moments in sums]
    scores: dict[float, float] = {}
    for strength in STRENGTHS if ridge is None else (ridge,):
        _put(network, groups, [solve(strength) for solve in solvers])
        scores[strength] = score()
    best = min(scores, key=lambda strength: scores[strength] if math.isfinite(scores[strength]) else math.inf)
    if not math.isfinite(scores[best]):
        raise TrainingError(
            f"the loss on the stop span is {scores[best]} with every ridge that was tried.",
            hint="Look for extreme values with `forecast data check`.",
        )
    _put(network, groups, [solve(best) for solve in solvers])
    return best, scores[best]


def readout_plan(pieces: list[Piece]) -> list[Chunk]:
    """The pieces from their first rows on, ``LANES`` side by side; the rows of the washout carry no target."""
    plan: list[Chunk] = []
    for low in range(0, len(pieces), LANES):
        part = pieces[low : low + LANES]
        quiet = np.array([min(WASHOUT, (piece.stop - piece.start) // 5) for piece in part], np.int64)
        plan += plan_whole(part, CHUNK, quiet)
    return device_chunks(plan, torch.device("cpu"))


def _steps_together(source: Resident, chunks: list[Chunk]) -> list[list[int]]:
    """Steps ahead that are regressed on the same rows: all of them, or each on its own where gaps are many."""
    whole = some = 0
    for chunk in chunks:
        mask = gather(source, chunk).mask
        whole, some = whole + int(mask.all(-1).sum()), some + int(mask.any(-1).sum())
    steps = list(range(source.horizon))
    return [steps] if 2 * whole >= some else [[step] for step in steps]


def _put(network: Network, groups: list[list[int]], solved: list[tuple[Array, Array]]) -> None:
    """Weights and intercepts into the head, those of the skip's values into the skip."""
    linear, skip = network.head.linear, network.skip
    split = linear.in_features
    for steps, (weights, intercepts) in zip(groups, solved, strict=True):
        linear.weight[steps] = torch.from_numpy(weights[:split].T).to(linear.weight)
        linear.bias[steps] = torch.from_numpy(intercepts).to(linear.bias)
        if skip is not None:
            skip.weight[steps] = torch.from_numpy(weights[split:].T).to(skip.weight)
            skip.bias[steps] = 0.0
