"""Echo state core: a fixed random recurrent net whose readout alone is fitted (Jaeger 2001).

``h' = (1 - leak) h + leak tanh(W_in [1; x] + W h)``, after Lukosevicius (2012), "A practical guide to
applying echo state networks". Nothing in it is trained: the matrices are buffers, saved with the model, and
the features ``[x; h]`` go to a readout (ridge regression in the guide). The state is exact over any cuts of
a series, so it streams like the trained cores.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forecast.nn.core import Core, State
from pipelines.errors import UsageError


class EchoStateCore(Core):
    """A reservoir of ``hidden`` leaky tanh units; features ``[x; h]``, F = in_features + hidden.

    Args:
        in_features, hidden: D and the number of units N.
        spectral_radius: of W, the largest absolute eigenvalue; near 1 remembers long.
        leak: share of the new value in a step, above 0 up to 1; small is slow.
        input_scale: W_in is uniform in plus or minus this, its first column (the bias) included.
        connections: mean number of units each unit hears (W is sparse); at most ``hidden``.

    The state is ``h [B, 1, N]``. Random numbers come from torch's global generator.
    """

    w_in: Tensor
    w: Tensor
    bias: Tensor

    def __init__(
        self,
        in_features: int,
        hidden: int,
        *,
        spectral_radius: float = 0.9,
        leak: float = 1.0,
        input_scale: float = 0.5,
        connections: float = 10.0,
    ) -> None:
        super().__init__()
        for name, value, top in (
            ("spectral_radius", spectral_radius, float("inf")),
            ("leak", leak, 1.0),
            ("input_scale", input_scale, float("inf")),
            ("connections", connections, float("inf")),
        ):
            if not 0 < value <= top:
                bound = f" and at most {top:g}" if top < float("inf") else ""
                raise UsageError(f"{name} is {value}, expected above 0{bound}.")
        self.leak = leak
        self.out_features = in_features + hidden
        self.streams = True
        w_in = (2 * torch.rand(hidden, in_features + 1) - 1) * input_scale
        self.register_buffer("bias", w_in[:, 0].clone())
        self.register_buffer("w_in", w_in[:, 1:].clone())
        self.register_buffer("w", _reservoir(hidden, connections, spectral_radius))

    def initial(self, batch: int) -> State:
        return (self.w.new_zeros(batch, 1, self.w.shape[0]),)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        driven = nn.functional.linear(x, self.w_in, self.bias)  # [B, K, N], every step at once
        h = state[0][:, 0]
        w = self.w.t()
        states = []
        for drive in driven.unbind(1):
            h = torch.lerp(h, torch.addmm(drive, h, w).tanh(), self.leak)
            states.append(h)
        return torch.cat((x, torch.stack(states, 1)), 2), (h[:, None],)


def _reservoir(size: int, connections: float, radius: float) -> Tensor:
    """``[N, N]``: sparse, uniform, scaled to the spectral radius.

    Raises UsageError where the drawn matrix has no recurrence to scale (too few units or connections).
    """
    keep = torch.rand(size, size) < min(1.0, connections / size)
    w = (2 * torch.rand(size, size, dtype=torch.float64) - 1) * keep
    if w.is_meta:  # a shape to be filled (forecast.nn.network.filled): nothing was drawn
        return w.to(torch.get_default_dtype())
    found = float(torch.linalg.eigvals(w).abs().max())
    if found < 1e-6:
        raise UsageError(
            f"A reservoir of {size} units with {connections:g} connections each came out without a cycle.",
            hint="Use more units or more connections.",
        )
    return (w * (radius / found)).to(torch.get_default_dtype())


def build_esn(
    *,
    in_features: int,
    hidden: int,
    spectral_radius: float = 0.9,
    leak: float = 1.0,
    input_scale: float = 0.5,
    connections: float = 10.0,
) -> Core:
    """A builder for the registry: one fixed reservoir read forwards, so no layers, dropout or second direction."""
    return EchoStateCore(
        in_features,
        hidden,
        spectral_radius=spectral_radius,
        leak=leak,
        input_scale=input_scale,
        connections=connections,
    )
