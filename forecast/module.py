"""The LightningModule: carries the state from chunk to chunk, and nothing else.

Where gradients stop is decided by the batches: the state that one chunk leaves is detached before the next
reads it (truncated BPTT). With ``k2 > k1`` the chunk is run in two parts, and the state carried on is the
one after the first ``k1`` steps.

A Lightning batch is a :class:`forecast.data.Bundle` of several chunks with one update each, so this module
optimises by hand (through Lightning's ``manual_backward`` where precision, strategy or a hook has a part in it) and
clips by the value and the norm in the configuration; leave ``Trainer(gradient_clip_val=...)`` unset. Under a Trainer
of your own steps are counted (``max_steps``; ``ModelCheckpoint(every_n_train_steps=...)`` looks after a bundle), and a
checkpoint holds the averaged weights, which ``module.average.swap()`` puts into the net.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import Precision
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import Tensor, nn

from forecast.config import Config
from forecast.nn.cores import State, detach_state, reset_state
from forecast.nn.head import masked_mean
from forecast.nn.network import Network
from pipelines.batches import Batch
from pipelines.errors import TrainingError


class WeightAverage:
    """Exponential moving average of weights, in one fused call per update.

    The decay begins small, ``min(decay, (1 + n) / (10 + n))`` after ``n`` updates, so that the random start is
    forgotten early. Lightning's own callback loops over parameters in Python, which costs as much as a small step.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay, self.count = network, decay, 0
        self.values = [weight.detach().clone() for weight in network.parameters()]
        self._placed = False

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"values": [mean.clone() for mean in self.values], "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.values, self.count = [mean.clone() for mean in state["values"]], int(state["count"])
        self._placed = False

    @torch.no_grad()
    def update(self) -> None:
        weights = [weight.detach() for weight in self.network.parameters()]
        if not self._placed:  # the Trainer may have moved the network to its device since
            self.values = [mean.to(weight.device) for mean, weight in zip(self.values, weights, strict=True)]
            self._placed = True
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        torch._foreach_lerp_(self.values, weights, 1.0 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averaged and the current weights."""
        for mean, weight in zip(self.values, self.network.parameters(), strict=True):
            kept = weight.detach().clone()
            weight.copy_(mean)
            mean.copy_(kept)


class ForecastModule(pl.LightningModule):
    """``Network`` under a Trainer.

    Args:
        network: the net to train.
        config: settled configuration; its ``train`` section is read here.
        average: updated behind every step.
        probe: called with the network behind every backward pass, before gradients are clipped (``forecast.diagnose``).
    """

    def __init__(
        self, network: Network, config: Config, average: WeightAverage | None = None,
        probe: Callable[[nn.Module], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network, self.config, self.average, self.probe = network, config, average, probe
        self._penalised = bool(config.train.activation or config.train.slowness)
        self.automatic_optimization = False
        self._state: State | None = None
        self.alone = False  # under run_trainer, where nobody reads Lightning's count of steps
        self.updates = 0
        self.mean_loss: Tensor | None = None

    def chunk_loss(self, batch: Batch) -> Tensor:
        """Loss of one chunk from the carried state; leaves the detached state for the next."""
        net = self.network
        state = self._state
        if state is None or state[0].shape[0] != batch.x.shape[0]:
            state = net.initial(batch.x.shape[0])
        state = reset_state(state, batch.reset)
        if batch.stride < batch.x.shape[1]:
            first, carry = net.run(batch.x[:, : batch.stride], batch.static, state)
            rest, _ = net.run(batch.x[:, batch.stride :], batch.static, carry)
            features = torch.cat([first, rest], dim=1)
        else:
            features, carry = net.run(batch.x, batch.static, state)
        self._state = detach_state(carry)
        loss = net.loss(net.params(features, batch), batch)
        return loss + self._penalty(features, batch.counted) if self._penalised else loss

    def _penalty(self, features: Tensor, counted: Tensor) -> Tensor:
        """Activation and temporal activation regularisation of ``features [B, K, D]`` (Merity et al. 2017, 1708.01009).

        The mean square of the features, and of their change from one step to the next, over the steps of the stream
        ``counted [B, K]`` (no padding, and what chunks share once) or all steps of a window.
        """
        train = self.config.train
        counted = counted.expand(-1, features.shape[1])  # of a window, [B, 1]: its last step, which counts
        penalty = features.new_zeros(())
        if train.activation:
            penalty = penalty + train.activation * masked_mean(features.square().mean(-1), counted)
        if train.slowness and features.shape[1] > 1:
            change = features.diff(dim=1).square().mean(-1)
            penalty = penalty + train.slowness * masked_mean(change, counted[:, 1:])
        return penalty

    def on_train_epoch_start(self) -> None:
        self._state = None

    def _nobody_listens(self) -> bool:
        """Nothing of Lightning has to do with a backward pass: one device, full precision, no hook around it.

        ``manual_backward`` then only calls hooks that do nothing, which costs a twentieth of a small step.
        """
        strategy, hooks = self.trainer.strategy, ("on_before_backward", "on_after_backward")
        return (
            type(strategy) is SingleDeviceStrategy
            and type(strategy.precision_plugin) is Precision
            and all(getattr(type(each), name) is getattr(pl.Callback, name)
                    for each in self.trainer.callbacks for name in hooks)  # type: ignore[attr-defined]
            and all(getattr(type(self), name) is getattr(pl.LightningModule, name) for name in hooks)
        )  # fmt: skip

    def training_step(self, bundle: Iterable[Batch], batch_idx: int) -> None:
        # the plain optimiser where nobody reads the steps that Lightning's wrapper counts at some cost to every update
        optimizer = self.optimizers(use_pl_optimizer=not self.alone)
        most = -1 if self.alone or self._trainer is None else self.trainer.max_steps
        backward = Tensor.backward if self._nobody_listens() else self.manual_backward
        weights = list(self.network.parameters())
        limit, bound = self.config.train.clip, self.config.train.clip_value
        total: Tensor | None = None
        count = 0
        for batch in bundle:
            if 0 <= most <= self.global_step:
                break
            loss = self.chunk_loss(batch)
            optimizer.zero_grad()  # type: ignore[union-attr]
            backward(loss)
            if self.probe is not None:
                self.probe(self.network)
            if bound:
                nn.utils.clip_grad_value_(weights, bound)
            if limit:
                nn.utils.clip_grad_norm_(weights, limit)
            optimizer.step()  # type: ignore[union-attr]
            if self.average is not None:
                self.average.update()
            detached = loss.detach()
            total = detached if total is None else total + detached
            count += 1
        self.updates += count
        if total is not None:
            self.mean_loss = total / count
            if not torch.isfinite(self.mean_loss):
                raise TrainingError(
                    f"the training loss is {float(self.mean_loss)} after {self.updates} updates.",
                    hint="Use a smaller rate (--set train.lr=0.0005), clip gradients (train.clip), or look for extreme "
                    "values with "
                    "`forecast data check`.",
                )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["updates"] = self.updates
        if self.average is not None:
            checkpoint["average"] = self.average.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.updates = checkpoint.get("updates", self.updates)
        if self.average is not None and "average" in checkpoint:
            self.average.load_state_dict(checkpoint["average"])

    def configure_optimizers(self) -> Any:
        train = self.config.train
        weights = self.network.parameters()
        fused = next(self.network.parameters()).device.type in ("cpu", "cuda")
        if train.optimizer == "rmsprop":
            return torch.optim.RMSprop(
                weights, lr=train.lr, momentum=train.momentum, weight_decay=train.weight_decay, foreach=True
            )
        if train.optimizer == "sgd":
            return torch.optim.SGD(
                weights, lr=train.lr, momentum=train.momentum, weight_decay=train.weight_decay, fused=fused
            )
        kind = torch.optim.AdamW if train.optimizer == "adamw" else torch.optim.Adam
        return kind(weights, lr=train.lr, weight_decay=train.weight_decay, fused=fused)
