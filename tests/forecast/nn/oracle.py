"""Recurrent networks and back-propagation through time in plain numpy, from the equations alone.

This is the "build one from scratch" of the teaching texts, and the judge of the real cores: rnn (tanh,
relu), lstm and gru, stacked and bidirectional, the gradients of all weights, of the inputs and of the
initial state. Arrays ``x [B, K, D]``; states ``[B, layers * directions, H]``; weights by torch's names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


@dataclass
class Weights:
    """One direction of one layer."""

    w_ih: Array
    w_hh: Array
    b_ih: Array
    b_hh: Array


class Plain:
    """h' = f(W x + b + U h + c), f tanh or relu."""

    states = 1

    def __init__(self, relu: bool) -> None:
        self.relu = relu

    def step(self, w: Weights, x: Array, state: list[Array]) -> tuple[list[Array], Any]:
        a = x @ w.w_ih.T + w.b_ih + state[0] @ w.w_hh.T + w.b_hh
        h = np.maximum(a, 0) if self.relu else np.tanh(a)
        return [h], (x, state[0], h)

    def back(self, w: Weights, g: Weights, cache: Any, d_state: list[Array]) -> tuple[Array, list[Array]]:
        x, before, h = cache
        da = d_state[0] * ((h > 0) if self.relu else 1 - h**2)
        return add_products(w, g, x, before, da, da)


class Lstm:
    """Gates i, f, g, o; c' = f c + i g; h' = o tanh(c')."""

    states = 2

    def step(self, w: Weights, x: Array, state: list[Array]) -> tuple[list[Array], Any]:
        h, c = state
        a = x @ w.w_ih.T + w.b_ih + h @ w.w_hh.T + w.b_hh
        i, f, g, o = np.split(a, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c_new = f * c + i * g
        return [o * np.tanh(c_new), c_new], (x, h, c, i, f, g, o, c_new)

    def back(self, w: Weights, g_w: Weights, cache: Any, d_state: list[Array]) -> tuple[Array, list[Array]]:
        x, h, c, i, f, g, o, c_new = cache
        dh, dc = d_state
        t = np.tanh(c_new)
        dc = dc + dh * o * (1 - t**2)
        da = np.concatenate(
            [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2), dh * t * o * (1 - o)], axis=1
        )
        dx, before = add_products(w, g_w, x, h, da, da)
        return dx, [*before, dc * f]


class Gru:
    """Gates r, z; n = tanh(W x + b + r (U h + c)); h' = (1 - z) n + z h (torch's convention)."""

    states = 1

    def step(self, w: Weights, x: Array, state: list[Array]) -> tuple[list[Array], Any]:
        h = state[0]
        i_r, i_z, i_n = np.split(x @ w.w_ih.T + w.b_ih, 3, axis=1)
        h_r, h_z, h_n = np.split(h @ w.w_hh.T + w.b_hh, 3, axis=1)
        r, z = sigmoid(i_r + h_r), sigmoid(i_z + h_z)
        n = np.tanh(i_n + r * h_n)
        return [(1 - z) * n + z * h], (x, h, r, z, n, h_n)

    def back(self, w: Weights, g: Weights, cache: Any, d_state: list[Array]) -> tuple[Array, list[Array]]:
        x, h, r, z, n, h_n = cache
        dh = d_state[0]
        dn = dh * (1 - z) * (1 - n**2)
        dz = dh * (h - n) * z * (1 - z)
        dr = dn * h_n * r * (1 - r)
        dx, before = add_products(
            w, g, x, h, np.concatenate([dr, dz, dn], axis=1), np.concatenate([dr, dz, dn * r], axis=1)
        )
        return dx, [before[0] + dh * z]


def add_products(w: Weights, g: Weights, x: Array, h: Array, d_in: Array, d_rec: Array) -> tuple[Array, list[Array]]:
    """Add one step's share to the weight gradients; the gradients of the step's input and state."""
    g.w_ih += d_in.T @ x
    g.b_ih += d_in.sum(0)
    g.w_hh += d_rec.T @ h
    g.b_hh += d_rec.sum(0)
    return d_in @ w.w_ih, [d_rec @ w.w_hh]


CELLS: dict[str, Any] = {"rnn": Plain(False), "rnn-relu": Plain(True), "lstm": Lstm(), "gru": Gru()}


class Oracle:
    """A stacked network. ``forward`` keeps what ``backward`` needs; ``grads`` holds gradients by torch's names."""

    def __init__(self, kind: str, params: dict[str, Array], layers: int, bidirectional: bool = False) -> None:
        self.cell, self.layers, self.sides = CELLS[kind], layers, 2 if bidirectional else 1
        self.params = {name: np.asarray(value, dtype=np.float64) for name, value in params.items()}
        self.grads = {name: np.zeros_like(value) for name, value in self.params.items()}

    def _weights(self, source: dict[str, Array], layer: int, side: int) -> Weights:
        end = f"_l{layer}{'_reverse' if side else ''}"
        return Weights(*(source[name + end] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))

    def forward(self, x: Array, state: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        steps = x.shape[1]
        self.caches: dict[tuple[int, int], list[Any]] = {}
        after = [np.zeros_like(part) for part in state]
        for layer in range(self.layers):
            outs = []
            for side in range(self.sides):
                row = layer * self.sides + side
                now = [part[:, row] for part in state]
                out = np.zeros((x.shape[0], steps, now[0].shape[1]))
                self.caches[layer, side] = []
                for t in range(steps) if side == 0 else reversed(range(steps)):
                    now, cache = self.cell.step(self._weights(self.params, layer, side), x[:, t], now)
                    out[:, t] = now[0]
                    self.caches[layer, side].append((t, cache))
                for part, value in zip(after, now, strict=True):
                    part[:, row] = value
                outs.append(out)
            x = np.concatenate(outs, axis=2)
        return x, tuple(after)

    def backward(self, d_out: Array, d_after: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        """Gradients of the loss by features and by last state, to gradients by inputs and by initial state."""
        d_state = [np.zeros_like(part) for part in d_after]
        for layer in reversed(range(self.layers)):
            width = self._weights(self.params, layer, 0).w_ih.shape[1]
            d_x = np.zeros((*d_out.shape[:2], width))
            for side, d_side in enumerate(np.split(d_out, self.sides, axis=2)):
                row = layer * self.sides + side
                carry = [part[:, row].copy() for part in d_after]
                weights, grads = (self._weights(source, layer, side) for source in (self.params, self.grads))
                for t, cache in reversed(self.caches[layer, side]):
                    carry[0] = carry[0] + d_side[:, t]
                    d_step, carry = self.cell.back(weights, grads, cache, carry)
                    d_x[:, t] += d_step
                for part, value in zip(d_state, carry, strict=True):
                    part[:, row] = value
            d_out = d_x
        return d_out, tuple(d_state)
