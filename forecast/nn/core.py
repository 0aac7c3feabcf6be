"""What every core is: ``(x, state) -> (features, state)``, every state tensor batch-first."""

from __future__ import annotations

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]


class Core(nn.Module):
    """Base of all cores.

    ``out_features`` is F; ``streams`` says whether chunks may be fed one after another (False where a feature looks
    ahead inside its chunk, or at the chunk as a whole: those read windows).
    """

    out_features: int
    streams: bool

    def initial(self, batch: int) -> State:
        """The state before the first step, zeros ``[batch, ...]`` of the device and dtype of the weights."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """``x [B, K, D]`` and a state to features ``[B, K, F]`` and the state after step K.

        A core that reads windows only may return the features of the last step alone, ``[B, 1, F]``.
        """
        raise NotImplementedError

    def newest(self, features: Tensor) -> Tensor:
        """``[B, 1, F]``: what an origin at the last step of a window reads of the window's features."""
        return features[:, -1:]


class Decoder(nn.Module):
    """Base of what stands in the place of a head's projection: it makes the steps ahead one after another."""

    def forward(self, core: Core, features: Tensor, future: Tensor, static: Tensor) -> Tensor:
        """Parameters of the head ``[B, K, H, P]`` from what ``core`` made of the rows up to each origin.

        ``features [B, K, D]``, known-future covariates ``future [B, K, H, Ff]``, ``static [B, Fs]``.
        """
        raise NotImplementedError


class WindowCore(Core):
    """Base of cores that read one window at a time and keep nothing for the next: their state is empty, ``[B, 0]``."""

    streams = False

    def initial(self, batch: int) -> State:
        return (next(self.parameters()).new_zeros(batch, 0),)


def reset_state(state: State, reset: Tensor) -> State:
    """Zero the lanes where ``reset [B]`` (bool) holds; the others pass unchanged, bit for bit.

    Selects instead of multiplying, so NaN or infinity in a lane that is reset is gone.
    """
    return tuple(
        torch.where(reset.view(-1, *[1] * (tensor.dim() - 1)), tensor.new_zeros(()), tensor) for tensor in state
    )


def detach_state(state: State) -> State:
    """The same values, cut from the graph: where truncated BPTT truncates."""
    return tuple(tensor.detach() for tensor in state)
