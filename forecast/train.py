"""fit(): from a panel and a configuration to a trained Model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.config import Config
from forecast.data import Span, StreamData
from forecast.elsewhere import ranges_of
from forecast.family import FAMILY
from forecast.idle import warn_idle
from forecast.model import Model, build_network
from forecast.module import ForecastModule, WeightAverage
from forecast.nn.classes import CategoricalHead
from forecast.nn.network import Network
from forecast.readout import fit_readout, readout_plan
from forecast.spans import Moment, Spans, cut_spans, pipeline_spec, segment_notes, settle
from forecast.stop import Scored, calibrate, position_in, scored, stop_loss
from forecast.surroundings import seeded
from forecast.tensors import device_chunks, tensors_of
from forecast.threads import threads
from forecast.trainer import run_trainer
from pipelines.batches import Resident, gather, rows_before
from pipelines.errors import DataError, TrainingError, UsageError, ValueRangeError
from pipelines.panel import Panel
from pipelines.pipeline import Pipeline
from pipelines.plans import Chunk, pieces_of, plan_streams
from pipelines.prepared import Prepared, logarithms
from pipelines.spec import PipelineSpec

Array = NDArray[np.float64]
Prepare = Callable[[Panel, PipelineSpec, Spans], tuple[Pipeline, Prepared]]
SEEN = 50_000  # origins whose residuals decide where classes lie
CHECK_UPDATES = 50  # updates between two looks at the stop span, at least


@dataclass
class Progress:
    """What a progress bar shows."""

    epoch: int
    epochs: int
    updates: int
    total: int
    loss: float
    stop_loss: float
    seconds: float


@dataclass
class History:
    """What training did; JSON after ``vars``. ``ridge``: of a readout that was solved for, in no update."""

    checks: list[dict[str, float]] = field(default_factory=list)
    best_stop_loss: float = math.inf
    best_epoch: int = 0
    epochs: int = 0
    updates: int = 0
    stopped_early: bool = False
    seconds: float = 0.0
    ridge: float | None = None


def fit(
    panel: Panel,
    config: Config | Mapping[str, Any] | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
    initial: Mapping[str, Tensor] | None = None,
    checked: Callable[[int, float], None] | None = None,
    probe: Callable[[torch.nn.Module], None] | None = None,
    prepare: Prepare | None = None,
    until: Moment | None = None,
    **settings: Any,
) -> Model:
    """Train on the first span of ``panel``, stop by the second, never look at the third, read all of it.

    Equal seeds give equal nets on one machine. Threads of one process train in turn, as torch's generator is one for
    all of them; processes train side by side.

    Args:
        panel: series in natural units.
        config: configuration, or its nested values, as ``forecast.presets.preset_values("price")`` gives them;
            ``settings`` such as ``horizon=10``, ``core="gru"`` or ``model__hidden=32`` override it. What is named
            here and does nothing (``loss`` under a quantile head) is warned of.
        progress: called a few times a second with a :class:`Progress`.
        initial: weights by name to start from instead of fresh ones (a warm refit); the rest is fitted anew.
        checked: told ``(updates, stop loss)`` after every look at the stop span; may raise to end training.
        probe: called with the net behind every backward pass, before gradients are clipped.
        until: hold out everything behind this stamp, instead of the share ``data.holdout``.
        prepare: stands in for :func:`prepare_rows`, for callers that fit many nets on the same rows.

    Returns:
        A model that stands behind the last row of ``panel``: ``predict()`` forecasts what comes next.

    Raises:
        UsageError: a setting is wrong, or ``until`` is no moment.
        TooShortError: a span is too short, or the stop span has no value behind another to be scored.
        TrainingError: the loss is not a number.

    Example:
        >>> model = fit(panel, horizon=5)  # doctest: +SKIP
        >>> model.predict()  # doctest: +SKIP
    """
    if not isinstance(panel, Panel):
        raise UsageError(
            f"fit got {type(panel).__name__}, expected a Panel.",
            hint="Make one: pipelines.load('AAPL'), pipelines.read_csv('plant.csv') or pipelines.from_frame(frame).",
        )
    asked = Config.of(config).override(**settings)
    warn_idle(asked, config, settings)
    _check_values(panel, asked)
    config = settle(asked, panel, until)
    spans = cut_spans(panel, config, until)
    began = time.perf_counter()
    with seeded(config.train.seed), threads(config.train.threads):
        pipeline, prepared = (prepare or prepare_rows)(panel, pipeline_spec(config), spans)
        stop = scored(prepared, pipeline, panel, config, spans)
        network = build_network(config, pipeline)
        if initial is not None:
            _start_from(network, initial)
        if isinstance(network.head, CategoricalHead):
            network.head.see(_residuals(network, prepared, spans))
        if FAMILY[config.model.core].gradient:
            history = _train(network, prepared, config, spans, stop, progress, checked, probe)
        else:
            history = _solve(network, prepared, config, spans, stop, progress, checked)
        calibration = calibrate(network, pipeline, prepared, panel, config, spans, stop)
        history.seconds = time.perf_counter() - began
        facts = {
            "spans": {"start": str(panel.start), **spans.to_json()},
            "rows": {"train": int(spans.train.sum()), "stop": int((spans.stop - spans.train).sum()), "all": len(panel)},
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "training": vars(history),
            "left_out": list(stop.left_out),
            "notes": [*segment_notes(asked), *stop.notes(spans)],
            "ranges": ranges_of(panel, spans.stop),
        }
        return Model(config, pipeline, network, calibration, facts).read(panel)


def prepare_rows(panel: Panel, spec: PipelineSpec, spans: Spans) -> tuple[Pipeline, Prepared]:
    """A pipeline fitted on the train span, and what it makes of the rows up to the end of the stop span."""
    pipeline = Pipeline(spec).fit(panel, until=spans.train_end)
    return pipeline, pipeline.transform(panel.up_to(spans.stop_end))


@torch.no_grad()
def _start_from(network: Network, initial: Mapping[str, Tensor]) -> None:
    own = dict(network.named_parameters())
    if {name: weight.shape for name, weight in own.items()} != {name: part.shape for name, part in initial.items()}:
        raise UsageError(
            "the weights to start from belong to a net of another shape.",
            hint="Use the same configuration and covariates, or refit from scratch.",
        )
    for name, weight in own.items():
        weight.copy_(initial[name])


@torch.no_grad()
def _residuals(network: Network, prepared: Prepared, spans: Spans) -> Tensor:
    """``[N, H]`` the targets of origins spread evenly over the train span, about ``SEEN`` of them, NaN where none."""
    rank = position_in(prepared, spans)
    source = tensors_of(prepared, rows_before(prepared, rank.train), torch.device("cpu"))
    every = max(1, int(rank.train.sum()) // SEEN)
    found = []
    for chunk in device_chunks(plan_streams(pieces_of(prepared, 0, rank.train), 1, 256), torch.device("cpu")):
        batch = gather(source, chunk)
        target = torch.where(batch.mask, network.target(batch), torch.nan)
        found.append(target[:, ::every].flatten(0, 1))
    return torch.cat(found)


def _check_values(panel: Panel, asked: Config) -> None:
    values = panel.column("y")
    if not np.isfinite(values).any():
        raise DataError("every target value is missing.", hint="Check --target: is it the right column?")
    if asked.data.log is True and asked.data.kind != "price":
        try:
            logarithms(panel)
        except ValueRangeError as error:
            error.hint = (
                "Leave data.log out, which asks for logarithms; or mask what is wrong (--impossible mask), or repair "
                "the row."
            )
            raise


def _train(
    network: Network, prepared: Prepared, config: Config, spans: Spans, stop: Scored,
    progress: Callable[[Progress], None] | None, checked: Callable[[int, float], None] | None,
    probe: Callable[[torch.nn.Module], None] | None,
) -> History:  # fmt: skip
    """Find the weights and leave those to keep in ``network``."""
    data, train = config.data, config.train
    rank = position_in(prepared, spans)
    span = Span(pieces_of(prepared, 0, rank.train), rows_before(prepared, rank.train))
    lookback = data.lookback if data.mode == "window" else None
    stream = StreamData(
        prepared, span, lanes=_int(data.lanes), k1=_int(data.k1), k2=_int(data.k2), lookback=lookback, seed=train.seed
    )
    updates_a_pass = len(stream.plan())
    stream.rng = np.random.default_rng(train.seed)
    stream.total = _int(train.epochs)
    stream.passes = min(_int(train.epochs), max(1, -(-CHECK_UPDATES // updates_a_pass)))
    average = WeightAverage(network, train.average) if train.average else None
    module = ForecastModule(network, config, average, probe)
    watch = _Watch(prepared, stop, config, stream, updates_a_pass, progress, checked)
    run_trainer(
        module, stream, train, epochs=-(-_int(train.epochs) // stream.passes), core=config.model.core, callbacks=[watch]
    )
    watch.restore(network)
    network.to("cpu").eval()
    return watch.history


def _solve(
    network: Network, prepared: Prepared, config: Config, spans: Spans, stop: Scored,
    progress: Callable[[Progress], None] | None, checked: Callable[[int, float], None] | None,
) -> History:  # fmt: skip
    """Solve for the readout of a net whose core is fixed: one pass over the training rows, no updates."""
    cpu = torch.device("cpu")
    if config.train.accelerator not in ("auto", "cpu"):
        raise UsageError(
            f"{config.model.core} is solved for on the CPU, not on accelerator {config.train.accelerator!r}.",
            hint="Leave --accelerator out.",
        )
    rank = position_in(prepared, spans)
    training = rows_before(prepared, rank.train)
    judge = tensors_of(prepared, stop.rows, cpu)
    chunks = device_chunks(stop.chunks, cpu)
    began = time.perf_counter()

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress(Progress(1, 1, done, total, math.nan, math.nan, time.perf_counter() - began))

    source, pieces = tensors_of(prepared, training, cpu), pieces_of(prepared, 0, rank.train)

    def score() -> float:
        return stop_loss(network, judge, chunks)

    used, loss = fit_readout(network, source, pieces, config.model.ridge, score, tell)
    if checked is not None:
        checked(1, loss)
    check = {"epoch": 1, "updates": 0, "loss": stop_loss(network, source, readout_plan(pieces)), "stop_loss": loss}
    return History([check], best_stop_loss=loss, best_epoch=1, epochs=1, ridge=used)


class _Watch(pl.Callback):
    """Looks at the stop span, keeps the best averaged weights, stops early, reports progress."""

    def __init__(
        self, prepared: Prepared, stop: Scored, config: Config, stream: StreamData, updates_a_pass: int,
        progress: Callable[[Progress], None] | None, checked: Callable[[int, float], None] | None,
    ) -> None:  # fmt: skip
        self.prepared, self.stop, self.config, self.stream = prepared, stop, config, stream
        self.updates_a_pass, self.progress, self.checked = updates_a_pass, progress, checked
        self.history = History()
        self.kept: list[Tensor] | None = None
        self.bad = 0
        self.began = time.perf_counter()
        self.told = 0.0
        self.source: Resident | None = None
        self.chunks: list[Chunk] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        device = pl_module.device
        self.source = tensors_of(self.prepared, self.stop.rows, device)
        self.chunks = device_chunks(self.stop.chunks, device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.progress is not None and time.perf_counter() - self.told > 0.1:
            self._tell(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module = _as_module(pl_module)
        if module.average is not None:
            module.average.swap()
        loss = stop_loss(module.network, self.source, self.chunks) if self.source is not None else math.nan
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss on the stop span is {loss} after {module.updates} updates.",
                hint="Use a smaller rate (--set train.lr=0.0005), or look for extremes with `forecast data check`.",
            )
        history = self.history
        history.epochs = self.stream.done
        history.updates = module.updates
        mean = math.nan if module.mean_loss is None else float(module.mean_loss)
        history.checks.append({"epoch": history.epochs, "updates": module.updates, "loss": mean, "stop_loss": loss})
        if loss < history.best_stop_loss:
            history.best_stop_loss, history.best_epoch, self.bad = loss, history.epochs, 0
        else:
            self.bad += 1
        if not self.bad or self.config.train.keep == "last":
            self.kept = [weight.detach().clone() for weight in module.network.parameters()]
        if module.average is not None:
            module.average.swap()
        if self.bad >= _int(self.config.train.patience):
            history.stopped_early = trainer.should_stop = True
        if self.progress is not None:
            self._tell(pl_module)
        if self.checked is not None:
            self.checked(module.updates, loss)

    @torch.no_grad()
    def restore(self, network: Network) -> None:
        """Put the weights to keep into ``network``."""
        if self.kept is None:
            raise TrainingError("training ended before it began.", hint="Use --epochs 1 or more.")
        for weight, kept in zip(network.parameters(), self.kept, strict=True):
            weight.copy_(kept)

    def _tell(self, pl_module: pl.LightningModule) -> None:
        module = _as_module(pl_module)
        self.told = time.perf_counter()
        if self.progress is None:
            return
        total = _int(self.config.train.epochs) * self.updates_a_pass
        checks = self.history.checks
        self.progress(
            Progress(
                epoch=min(module.updates // self.updates_a_pass + 1, _int(self.config.train.epochs)),
                epochs=_int(self.config.train.epochs),
                updates=min(module.updates, total),
                total=total,
                loss=math.nan if module.mean_loss is None else float(module.mean_loss),
                stop_loss=checks[-1]["stop_loss"] if checks else math.nan,
                seconds=time.perf_counter() - self.began,
            )
        )


def _int(value: int | str) -> int:
    if isinstance(value, str):
        raise UsageError(f"the configuration still says {value!r}.", hint="Settle it first (forecast.spans.settle).")
    return value


def _as_module(module: pl.LightningModule) -> ForecastModule:
    if not isinstance(module, ForecastModule):
        raise TypeError(f"expected a ForecastModule, got {type(module).__name__}")
    return module
