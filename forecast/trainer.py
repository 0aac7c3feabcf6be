"""The one place where a Lightning Trainer is made and run."""

from __future__ import annotations

from collections.abc import Sequence

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException

from forecast.module import ForecastModule
from forecast.sections import TrainConfig
from forecast.surroundings import interruptible, quiet
from pipelines.errors import UsageError


def run_trainer(
    module: pl.LightningModule, data: pl.LightningDataModule, train: TrainConfig, *, epochs: int, core: str,
    callbacks: Sequence[pl.Callback] = (),
) -> None:  # fmt: skip
    """Train ``module`` on ``data`` on one device, for ``epochs`` Lightning epochs, without logging or validation.

    Args:
        core: name of the net, for messages.

    Raises:
        UsageError: the accelerator is not there, or the processor cannot do the precision.
    """
    with quiet():
        try:
            trainer = pl.Trainer(
                accelerator=train.accelerator, devices=1, precision=train.precision, callbacks=list(callbacks),
                max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0, use_distributed_sampler=False,
            )  # fmt: skip
        except (ValueError, RuntimeError, ImportError, MisconfigurationException) as error:
            raise UsageError(
                f"accelerator {train.accelerator!r} cannot be used ({error}).", hint="Use auto or cpu."
            ) from error
        if isinstance(module, ForecastModule):
            module.alone = True
        try:
            with interruptible():
                trainer.fit(module, datamodule=data)
        except RuntimeError as error:
            if train.precision == "32-true" or "primitive" not in str(error):
                raise
            raise UsageError(
                f"this processor cannot train {core} in {train.precision} (oneDNN: {error}).",
                hint="Leave train.precision at 32-true, or use a GPU.",
            ) from error
        finally:
            if isinstance(module, ForecastModule):
                module.alone = False
