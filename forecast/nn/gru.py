"""A GRU whose CPU path trains about as fast as torch's fused LSTM, with torch's parameters and results.

torch runs an LSTM on a CPU in oneDNN's fused kernel, but has none for a GRU (``torch.mkldnn_rnn_layer``
takes a ``mode``, yet every mode except LSTM's fails to build a primitive), so ``nn.GRU`` costs about twice
an LSTM. ``GRU`` is ``nn.GRU`` with another forward pass on the CPU, written by hand with its gradient:

- the input product of all steps is one matrix product, outside the loop over time;
- a step is five calls: one matrix product that accumulates into the gates, and four pointwise ones;
- everything in the gradient that does not depend on the gradient flowing back is computed for all steps at
  once, so a step back is three calls; each weight gradient is one product at the end, the narrower factor first;
- the recurrence runs in ``u = (h + 1) / 2``, where the candidate's tanh turns into a sigmoid (torch's
  tanh costs three times its sigmoid on a CPU): rounding moves by about 1e-7;
- the views of the single steps (a quarter of the time when made anew) are kept between calls, and a pass keeps
  its gates where they were computed until its gradient was taken or its graph is dropped;
- products too small to share run on one thread, whatever the number of threads: passing them round costs
  more than it saves, and very much more when another process holds a core.

On other devices, under autocast and ``torch.compile``, for packed sequences and types other than float32
and float64 it is torch's own GRU (cuDNN on a GPU). Second derivatives, ``torch.func`` transforms and
forward-mode derivatives need ``fast=False``.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from forecast.nn.dropout import dropout
from pipelines.errors import UsageError

_BLOCK = 256  # steps per call of the kernel: longer sequences are chained, so scratch memory stays flat
_KEEP_BYTES = 1 << 24  # larger workspaces are not kept: there the views are a small part of the time
_KEEP_ALL = 1 << 26  # bytes of all that are kept
_KEEP_SPACES = 8  # and their number: one for every layer whose gradient is still to come, and one for the gradient
_ALONE = 1 << 17  # batch * hidden * hidden up to which the products inside the loop stay on one thread


@lru_cache(maxsize=1)
def _openmp() -> bool:
    """Whether the number of threads may change at any time, which torch allows under OpenMP alone."""
    return "ATen parallel backend: OpenMP" in torch.__config__.parallel_info()


@contextmanager
def _threads(batch: int, hidden: int) -> Iterator[None]:
    """One thread for small products, and the caller's number again afterwards."""
    threads = torch.get_num_threads()
    if threads == 1 or batch * hidden * hidden > _ALONE or not _openmp():
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Workspace:
    """Scratch of one pass of one layer and the views of its single steps.

    Columns of ``gates [K, B, 4H]``: hidden part of the candidate, reset, update, candidate; so the hidden
    product writes the first three blocks and the input product the last three. Going back they hold the
    coefficients, then the gradients, at the same places.
    """

    def __init__(self, steps: int, batch: int, hidden: int, dtype: torch.dtype) -> None:
        self.steps = steps
        self.shape = (type(self), batch, hidden, dtype)
        self.gates = torch.empty(steps, batch, 4 * hidden, dtype=dtype)
        self.recurrent_steps = self.gates[:, :, : 3 * hidden].unbind(0)
        self.bytes = (5 * steps + 1) * batch * hidden * dtype.itemsize


class _Forward(_Workspace):
    """``u [K + 1, B, H]``: the states before the first step and behind every step."""

    def __init__(self, steps: int, batch: int, hidden: int, dtype: torch.dtype) -> None:
        super().__init__(steps, batch, hidden, dtype)
        self.u = torch.empty(steps + 1, batch, hidden, dtype=dtype)
        blocks = self.gates.view(steps, batch, 4, hidden)
        self.hn_steps, self.r_steps, self.z_steps, self.n_steps = (blocks[:, :, i].unbind(0) for i in range(4))
        self.rz_steps = self.gates[:, :, hidden : 3 * hidden].unbind(0)
        self.u_steps = self.u.unbind(0)


class _Backward(_Workspace):
    """``d [K, B, H]``: the gradient of the state behind every step."""

    def __init__(self, steps: int, batch: int, hidden: int, dtype: torch.dtype) -> None:
        super().__init__(steps, batch, hidden, dtype)
        self.d = torch.empty(steps, batch, hidden, dtype=dtype)
        self.block_steps = self.gates.view(steps, batch, 4, hidden).unbind(0)
        self.d_steps = self.d.unbind(0)
        self.d_rows = self.d.unsqueeze(2).unbind(0)


_kept: list[_Workspace] = []
Space = TypeVar("Space", bound=_Workspace)


class _Loan(Generic[Space]):
    """A workspace of at least ``steps`` steps, nobody else's until the loan is dropped."""

    def __init__(self, kind: type[Space], steps: int, batch: int, hidden: int, dtype: torch.dtype) -> None:
        kept = self._taken(steps, (kind, batch, hidden, dtype))
        if kept is None:
            with torch.inference_mode():
                kept = kind(steps, batch, hidden, dtype)
        self.space: Space = kept

    @staticmethod
    def _taken(steps: int, shape: tuple[type[Space], int, int, torch.dtype]) -> Space | None:
        for space in reversed(tuple(_kept)):
            if space.shape == shape and space.steps >= steps:
                try:
                    _kept.remove(space)
                except ValueError:  # another thread was quicker
                    continue
                return space  # type: ignore[return-value]
        return None

    def __del__(self) -> None:
        if hasattr(self, "space") and self.space.bytes <= _KEEP_BYTES:
            _kept.append(self.space)
            del _kept[:-_KEEP_SPACES]
            while sum(space.bytes for space in tuple(_kept)) > _KEEP_ALL:
                del _kept[:1]


@lru_cache(maxsize=8)
def _scales(hidden: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Factors of rows: of the input product (reset, update, candidate), of its gradient, of the hidden product.

    W h = 2 W u - W 1, and tanh(a) = 2 sigmoid(2 a) - 1, so every candidate term is doubled once more. The gradient
    has the hidden product's factors; that is in the order candidate, reset, update.
    """
    with torch.inference_mode(False):
        return tuple(  # type: ignore[return-value]
            torch.tensor(each, dtype=dtype).repeat_interleave(hidden).unsqueeze(1)
            for each in ((1.0, 1.0, 2.0), (2.0, 2.0, 4.0), (4.0, 2.0, 2.0))
        )


class _Folded(NamedTuple):
    """Weights as the recurrence in u takes them: ``w_in [D, 3H]``, its ``bias [3H]``, the candidate's hidden part
    without a state ``[H]``, ``w_rec [3H, H]``."""

    w_in: Tensor
    bias: Tensor
    candidate: Tensor
    w_rec: Tensor

    @classmethod
    def of(cls, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> _Folded:
        two = 2 * w_hh.shape[1]
        for_input, _, for_hidden = _scales(w_hh.shape[1], w_hh.dtype)
        constant = b_hh - w_hh.sum(1)
        bias = b_ih * for_input[:, 0]
        bias[:two] += constant[:two]
        w_rec = torch.cat((w_hh[two:], w_hh[:two])).mul_(for_hidden)
        return cls((w_ih * for_input).t(), bias, constant[two:].mul_(2), w_rec)


class _Layer(torch.autograd.Function):
    """One direction of one layer: ``x [K, B, D]``, ``h0 [B, H]`` to ``(out [K, B, H], last [B, H])``.

    ``keep`` says whether a gradient may be asked for later. Then the gates stay lent to what the graph saves, which
    autograd drops with the gradient. Where it does not save the tensor that holds the loan (checkpoints, hooks on saved
    tensors), the gates are computed again.
    """

    @staticmethod
    def forward(
        ctx: Any, keep: bool, x: Tensor, h0: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> tuple[Tensor, Tensor]:
        steps, batch, _ = x.shape
        hidden = w_hh.shape[1]
        loan = _Loan(_Forward, steps, batch, hidden, x.dtype)
        ws = loan.space
        with torch.inference_mode():
            weights = _Folded.of(w_ih, w_hh, b_ih, b_hh)
            _from_input(ws, x, weights)
            torch.add(h0, 1, out=ws.u_steps[0]).mul_(0.5)
            with _threads(batch, hidden):
                _run(ws, steps, weights.w_rec.t())
        states = torch.mul(ws.u[: steps + 1], 2).sub_(1)
        states[0] = h0
        if keep:
            holder: Any = x.new_empty(0)
            holder.loan = loan
            ctx.save_for_backward(x, w_ih, w_hh, b_ih, b_hh, states, holder)
            ctx.loan, ctx.w_rec = weakref.ref(loan), weights.w_rec
        return states[1:], states[steps].clone()

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise UsageError(
                "The fast GRU has first derivatives only, and a graph of the gradient was asked for (create_graph).",
                hint="Build it with fast=False, or set `fast` to False on the module.",
            )
        x, w_ih, w_hh, b_ih, b_hh, states, _ = ctx.saved_tensors
        steps, batch, width = x.shape
        hidden = states.shape[2]
        _, scale, _ = _scales(hidden, x.dtype)
        kept = ctx.loan() or _again(x, states, w_ih, w_hh, b_ih, b_hh)
        loan = _Loan(_Backward, steps, batch, hidden, x.dtype)
        forward, ws = kept.space, loan.space
        with torch.inference_mode():
            _coefficients(forward, ws, steps)
            ws.d[:steps].copy_(grad_out)
            ws.d_steps[steps - 1].add_(grad_last)
            with _threads(batch, hidden):
                _run_back(forward, ws, steps, ctx.w_rec)
        flat = ws.gates[:steps].view(steps * batch, 4 * hidden)
        hidden_part, input_part = flat[:, : 3 * hidden], flat[:, hidden:]
        grad_x = grad_h0 = None
        if ctx.needs_input_grad[1]:
            grad_x = input_part.mm(w_ih * scale).view(steps, batch, width)
        if ctx.needs_input_grad[2]:
            grad_h0 = torch.addcmul(hidden_part[:batch].mm(ctx.w_rec), ws.d_steps[0], forward.z_steps[0])
        total = flat.sum(0)
        # the narrow matrix first: with few columns in x the product the other way round takes up to eight times as long
        g_ih = x.reshape(steps * batch, width).t().mm(input_part).t()
        g_hh = states[:-1].view(steps * batch, hidden).t().mm(hidden_part).t()
        return (
            None,
            grad_x,
            grad_h0,
            torch.mul(g_ih, scale, out=torch.empty_like(w_ih)),
            torch.cat((g_hh[hidden:], g_hh[:hidden])).mul_(scale),
            total[hidden:] * scale[:, 0],
            torch.cat((total[hidden : 3 * hidden], total[:hidden])).mul_(scale[:, 0]),
        )


def _from_input(ws: _Forward, x: Tensor, weights: _Folded) -> None:
    """What the gates of all steps of ``x [K, B, D]`` get from everything but the state."""
    steps, batch, width = x.shape
    flat = ws.gates[:steps].view(steps * batch, -1)
    hidden = flat.shape[1] // 4
    torch.addmm(weights.bias, x.reshape(steps * batch, width), weights.w_in, out=flat[:, hidden:])
    flat[:, :hidden] = weights.candidate


def _again(x: Tensor, states: Tensor, *parameters: Tensor) -> _Loan[_Forward]:
    """The gates once more, at all steps together: the ``states [K + 1, B, H]`` are known."""
    steps, batch, _ = x.shape
    hidden = states.shape[2]
    loan = _Loan(_Forward, steps, batch, hidden, x.dtype)
    ws = loan.space
    with torch.inference_mode():
        weights = _Folded.of(*parameters)
        _from_input(ws, x, weights)
        torch.add(states, 1, out=ws.u[: steps + 1]).mul_(0.5)
        flat = ws.gates[:steps].view(steps * batch, 4 * hidden)
        flat[:, : 3 * hidden].addmm_(ws.u[:steps].view(steps * batch, hidden), weights.w_rec.t())
        hn, r, _, n = flat.chunk(4, 1)
        flat[:, hidden : 3 * hidden].sigmoid_()
        n.addcmul_(r, hn).sigmoid_()
    return loan


def _run(ws: _Forward, steps: int, w_rec: Tensor) -> None:
    """The recurrence in u; leaves the gates' values in ``ws.gates`` and the states in ``ws.u``."""
    u = ws.u_steps[0]
    lerp = torch.lerp
    views = zip(
        ws.recurrent_steps[:steps],
        ws.rz_steps,
        ws.n_steps,
        ws.r_steps,
        ws.hn_steps,
        ws.z_steps,
        ws.u_steps[1:],
        strict=False,
    )
    for recurrent, rz, n, r, hn, z, after in views:
        recurrent.addmm_(u, w_rec)
        rz.sigmoid_()
        n.addcmul_(r, hn).sigmoid_()
        lerp(n, u, z, out=after)
        u = after


def _coefficients(forward: _Forward, ws: _Backward, steps: int) -> None:
    """For every step, what the gradient of each block is per unit of the state's gradient, up to row factors.

    With s the candidate's sigmoid and p its argument's hidden part: hidden candidate ``s(1-s)(1-z) r`` (times
    4), reset ``s(1-s)(1-z) p r(1-r)`` (times 2), update ``(h - n)/2 z(1-z)`` (times 2), candidate
    ``s(1-s)(1-z)`` (times 4).
    """
    gates, out = forward.gates[:steps], ws.gates[:steps]
    hidden = gates.shape[2] // 4
    hn, r, z, s = gates.chunk(4, 2)
    out_hn, out_r, out_z, out_n = out.chunk(4, 2)
    tail = gates[:, :, hidden:]
    torch.addcmul(tail, tail, tail, value=-1, out=out[:, :, hidden:])
    out_n.addcmul_(out_n, z, value=-1)
    torch.mul(out_n, r, out=out_hn)
    out_r.mul_(out_n).mul_(hn)
    out_z.mul_(torch.sub(forward.u[:steps], s, out=ws.d[:steps]))  # (h - n) / 2 = u - s


def _run_back(forward: _Forward, ws: _Backward, steps: int, w_rec: Tensor) -> None:
    """Carry the gradient of the state back; turns ``ws.gates`` from coefficients into gradients."""
    blocks, rows, d, z, recurrent = ws.block_steps, ws.d_rows, ws.d_steps, forward.z_steps, ws.recurrent_steps
    for t in range(steps - 1, 0, -1):
        blocks[t].mul_(rows[t])
        d[t - 1].addcmul_(d[t], z[t]).addmm_(recurrent[t], w_rec)
    blocks[0].mul_(rows[0])


def gru_layer(
    x: Tensor, h0: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, *, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """One direction of one GRU layer on the CPU, time-major, weights in torch's layout.

    ``x [K, B, D]`` and ``h0 [B, H]`` to ``(out [K, B, H], last [B, H])``; ``reverse`` reads from the end.
    """
    if reverse:
        x = x.flip(0)
    parts = []
    for block in torch.split(x, _BLOCK):
        out, h0 = _Layer.apply(torch.is_grad_enabled(), block, h0, w_ih, w_hh, b_ih, b_hh)  # type: ignore[no-untyped-call]
        parts.append(out)
    whole = parts[0] if len(parts) == 1 else torch.cat(parts)
    return (whole.flip(0) if reverse else whole), h0


class GRU(nn.GRU):
    """``nn.GRU`` (same arguments, parameters and results), faster on a CPU; ``fast=False`` is torch's own."""

    def __init__(self, *args: Any, fast: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fast = fast

    def usable(self, x: Tensor) -> bool:
        """Whether the kernel of this file takes ``x``; otherwise torch's own does."""
        return (
            self.fast
            and isinstance(x, Tensor)
            and x.dim() == 3
            and x.numel() > 0
            and x.device.type == "cpu"
            and x.dtype in (torch.float32, torch.float64)
            and x.dtype == self.weight_ih_l0.dtype
            and self.bias
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        )

    def forward(self, x: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """As ``nn.GRU.forward``: features in the layout of ``x``, last states ``[layers * directions, B, H]``."""
        if not self.usable(x):
            return super().forward(x, hx)
        sides = 2 if self.bidirectional else 1
        if hx is None:
            batch = x.shape[0] if self.batch_first else x.shape[1]
            hx = x.new_zeros(self.num_layers * sides, batch, self.hidden_size)
        self.check_forward_args(x, hx, None)
        last = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = dropout(x, self.dropout, self.training)
            rows = slice(layer * sides, (layer + 1) * sides)
            x, state = self.layer(x, hx[rows], self.all_weights[rows])
            last.append(state)
        return x, torch.cat(last)

    def layer(self, x: Tensor, h0: Tensor, weights: Sequence[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
        """One layer with the given weights, one list ``[w_ih, w_hh, b_ih, b_hh]`` per direction.

        ``x`` in the module's layout and ``h0 [directions, B, H]`` to features in the same layout and last states.
        """
        steps_first = x.transpose(0, 1) if self.batch_first else x
        sides = [gru_layer(steps_first, h0[i], *weights[i], reverse=i == 1) for i in range(len(weights))]
        out = sides[0][0] if len(sides) == 1 else torch.cat([side for side, _ in sides], 2)
        last = torch.stack([state for _, state in sides])
        return (out.transpose(0, 1) if self.batch_first else out), last
