"""Network: core, dropout, head, and a linear skip over the newest values; state in, state out.

``params = head(dropout(core(x))) + skip(newest values) / scale``. The skip reads values relative to the
anchor, as in LSTNet (arXiv 1703.07015); its window over past values is part of the batch, a view of resident
data, so the recurrent state stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from forecast.config import Config
from forecast.family import FAMILY
from forecast.nn.cores import Core, State, build_core
from forecast.nn.decoder import RecurrentDecoder
from forecast.nn.dropout import Dropout
from forecast.nn.heads import build_head
from forecast.nn.init import single
from forecast.nn.segrnn import SegmentCore, SegmentDecoder
from pipelines.batches import Batch


class LinearSkip(nn.Module):
    """``[B, size - 1 + K] -> [B, K, H]``: a linear map of the newest ``size`` values relative to the anchor.

    Weights begin at zero, so that training starts from the recurrent path alone.
    """

    def __init__(self, size: int, horizon: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(horizon, size))
        self.bias = nn.Parameter(torch.zeros(horizon))

    def forward(self, level: Tensor, anchor: Tensor, scale: Tensor) -> Tensor:
        if self._worth_sliding(level):
            # relative to a level first: the anchor is taken off after the sum, and must not swamp it. The level is that
            # of the first window, which every origin of the chunk has seen: rounding must not tell of later rows
            middle = level[:, : self.weight.shape[1]].mean(1, keepdim=True)
            steps = anchor.shape[1]
            spare = -steps % _STRIDE
            slid: Tensor = _Slide.apply(F.pad(level - middle, (0, spare)), self.weight)  # type: ignore[no-untyped-call]
            values = torch.addcmul(self.bias, (anchor - middle)[..., None], self.weight.sum(1), value=-1)
            return (slid[:, :steps] + values) / scale[..., None]
        windows = level.unfold(1, self.weight.shape[1], 1) - anchor[..., None]
        return F.linear(windows, self.weight, self.bias) / scale[..., None]

    def _worth_sliding(self, level: Tensor) -> bool:
        """Where the windows would take much memory; not for the gradient by the values, nor in low precision."""
        horizon, size = self.weight.shape
        windows = level.shape[0] * (level.shape[1] - size + 1) * size
        single = level.dtype == self.weight.dtype and not torch.is_autocast_enabled(level.device.type)
        return windows > _MANY and horizon <= 128 and single and not level.requires_grad


_STRIDE = 8  # origins that share one row of values
_MANY = 1 << 18


class _Slide(torch.autograd.Function):
    """``values [B, size - 1 + K]``, ``weight [H, size]`` -> ``[B, K, H]``: the dot product with every window.

    K is a multiple of ``_STRIDE``. The windows of that many neighbouring origins overlap in all but a few values, so
    they share one row, and the weights are laid out once per origin, each shifted by one: an eighth of the memory
    traffic, and matrix products of a good shape. Exact but for the order of additions.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, weight: Tensor) -> Tensor:
        horizon, size = weight.shape
        width = size + _STRIDE - 1
        wide = weight.new_zeros(_STRIDE, horizon, width)
        wide.as_strided((_STRIDE, horizon, size), (horizon * width + 1, width, 1)).copy_(weight)
        rows = values.unfold(1, width, _STRIDE).reshape(-1, width)
        ctx.save_for_backward(rows, weight)
        return rows.mm(wide.view(-1, width).t()).view(values.shape[0], -1, horizon)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        rows, weight = ctx.saved_tensors
        horizon, size = weight.shape
        width = rows.shape[1]
        wide = grad.reshape(len(rows), -1).t().mm(rows)
        shifted = wide.as_strided((_STRIDE, horizon, size), (horizon * width + 1, width, 1))
        return None, shifted.sum(0)


class _AddLocation(torch.autograd.Function):
    """``params [..., P]`` with ``shift [...]`` added to parameter 0, without taking ``params`` apart."""

    @staticmethod
    def forward(ctx: FunctionCtx, params: Tensor, shift: Tensor) -> Tensor:
        out = params.clone()
        out[..., 0] += shift
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return grad, grad[..., 0]


def _core_options(config: Config, unit: Tensor) -> dict[str, Any]:
    """What the core alone knows. Initial recurrent weights: ``chrono`` is told how far back training can reach."""
    model = config.model
    if model.core == "cnn":
        return {"kernel": model.kernel}
    if model.core == "esn":
        return {name: getattr(model, name) for name in ("spectral_radius", "leak", "input_scale", "connections")}
    if model.core == "segrnn":
        return {"segment": model.segment, "unit": float(unit.mean())}
    if config.model.init is None:
        return {}
    reach = config.data.lookback if config.data.mode == "window" else config.data.k2
    return {"init": config.model.init} | ({"memory": reach} if isinstance(reach, int) else {})


def _ahead(config: Config, width: int) -> tuple[nn.Module | None, int]:
    """How the head reads known-future covariates (plainly where nothing is trained), and how many numbers it gets."""
    if not width:
        return None, 0
    if not FAMILY[config.model.core].gradient:
        return nn.Identity(), width
    return nn.Sequential(nn.Linear(width, config.model.hidden), nn.Tanh()), config.model.hidden


def _decoder(
    config: Config, core: Core, horizon: int, future: int, parameters: int, series: int
) -> SegmentDecoder | RecurrentDecoder | None:
    """What stands in the place of the head's projection, where the configuration asks for a decoder."""
    model = config.model
    if isinstance(core, SegmentCore):
        return SegmentDecoder(core, horizon, parameters, series, dropout=model.dropout)
    if model.decoder == "recurrent":
        return RecurrentDecoder(
            model.core, core.out_features, model.hidden, horizon, future, parameters, model.dropout, model.init
        )
    return None


class Network(nn.Module):
    """The net of one configuration.

    Made under ``torch.device("meta")`` it is a shape without weights, for which nothing is drawn: :func:`filled`.

    Args:
        features, future, static: columns of the batch's ``x``, ``future`` and ``static``.
        unit: ``[H]`` training units of the residual (see :class:`pipelines.Pipeline`).
        series: number of fitted series.
    """

    unit: Tensor

    @single()
    def __init__(self, config: Config, features: int, future: int, static: int, unit: Tensor, series: int = 1) -> None:
        super().__init__()
        model, horizon = config.model, len(unit)
        self.core = build_core(
            model.core,
            features + static,
            model.hidden,
            model.layers,
            model.dropout,
            model.bidirectional,
            model.variational,
            config.data.lookback if config.data.mode == "window" else None,
            **_core_options(config, unit),
        )
        self.static = static
        self.dropout = Dropout(model.dropout)
        width = self.core.out_features
        self.future, ahead = _ahead(config, horizon * future) if model.decoder == "direct" else (None, 0)
        self.head = build_head(
            model.head, width + ahead, horizon, loss=model.loss, quantiles=model.quantiles, classes=model.classes
        )
        self.decoder = _decoder(config, self.core, horizon, future, self.head.parameters_per_step, series)
        if self.decoder is not None:
            del self.head.linear  # the decoder projects in its place
        skip = model.skip if isinstance(model.skip, int) else 0
        self.skip = LinearSkip(skip, horizon) if skip else None
        self.register_buffer("unit", unit.to(torch.float32), persistent=False)

    def initial(self, batch: int) -> State:
        """Zero state for ``batch`` lanes."""
        return self.core.initial(batch)

    def run(self, x: Tensor, static: Tensor, state: State) -> tuple[Tensor, State]:
        """The recurrent path: ``x [B, K, F]``, ``static [B, Fs]`` -> features ``[B, K, D]`` and the state after.

        Of a window that is not read as a stream: the features of its last step, ``[B, 1, D]``.
        """
        if self.static:
            x = torch.cat([x, static[:, None, : self.static].expand(-1, x.shape[1], -1)], dim=-1)
        features, state = self.core(x, state)
        return features if self.core.streams else self.core.newest(features), state

    def params(self, features: Tensor, batch: Batch) -> Tensor:
        """The read-out at every origin of ``batch``: ``[B, K, D] -> [B, K, H, P]``."""
        params: Tensor
        if self.decoder is not None:
            steps = features[:, -batch.anchor.shape[1] :]
            params = self.decoder(self.core, steps, batch.future, batch.static)
        else:
            params = self.head.project(self._read(features, batch))
        if self.skip is None:
            return params
        shift = self.skip(batch.level, batch.anchor, batch.scale)
        shifted: Tensor = _AddLocation.apply(params, shift)  # type: ignore[no-untyped-call]
        return shifted

    def _read(self, features: Tensor, batch: Batch) -> Tensor:
        """What the head reads at the origins of ``batch``: features of the core, then known-future covariates."""
        features = self.dropout(features[:, -batch.anchor.shape[1] :])
        if self.future is None:
            return features
        return torch.cat([features, self.future(batch.future.flatten(2))], dim=-1)

    def inputs(self, features: Tensor, batch: Batch) -> Tensor:
        """What :meth:`params` is linear in, ``[B, K, ...]``: what the head reads, then the values of the skip."""
        read = self._read(features, batch)
        if self.skip is None:
            return read
        values = batch.level.unfold(1, self.skip.weight.shape[1], 1) - batch.anchor[..., None]
        return torch.cat([read, values / batch.scale[..., None]], dim=-1)

    def forward(self, batch: Batch, state: State) -> tuple[Tensor, State]:
        """``-> (params [B, K, H, P], state after the last step)``"""
        features, state = self.run(batch.x, batch.static, state)
        return self.params(features, batch), state

    def target(self, batch: Batch) -> Tensor:
        """``[B, K, H]`` what is predicted: the change from the anchor in units of ``scale`` and ``unit``."""
        residual: Tensor = (batch.y - batch.anchor[..., None]) / (batch.scale[..., None] * self.unit)
        return residual

    def now(self, batch: Batch) -> Tensor:
        """``[B, K, H]`` the last value at the origin in the units of :meth:`target`; zero where it is the anchor."""
        last = batch.level[:, -batch.anchor.shape[1] :]
        # rounded as the target is: a value that did not move must equal the last one to the bit
        level: Tensor = (last - batch.anchor)[..., None] / (batch.scale[..., None] * self.unit)
        return level

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """Mean loss of the head over the targets the batch allows."""
        now = self.now(batch) if self.head.reads_now else None
        return self.head.loss(params, self.target(batch), batch.mask, now)


N = TypeVar("N", bound=Network)


def filled(make: Callable[[], N], weights: Mapping[str, Tensor]) -> N:
    """The net that ``make()`` gives, with ``weights`` in place of those it would draw: no random number is taken.

    Raises:
        RuntimeError: they belong to a net of another shape.
    """
    with torch.device("meta"):
        network = make()
    # copies in torch's own memory: matrix products may round differently where memory is not aligned alike
    own = {name: weight.to(torch.float32, copy=True) for name, weight in weights.items()}
    network.load_state_dict(own, assign=True)
    return network
