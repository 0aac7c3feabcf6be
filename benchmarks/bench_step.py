"""Training speed: the toolkit against a plain torch loop that does the same, streams against windows, batch assembly.

Both sides run in one process, interleaved, on the same net class (this toolkit's), values, chunks, clipping, fused
optimiser and weight average: what is measured is what the Trainer, the plans and the batches cost, not the net. The
plain loop has its lanes laid out beforehand and slices them; it has no Trainer, no plan and no look at a stop span,
which `forecast.fit` pays for in its figure. `fit` also begins every pass at another row, so some passes have a chunk
more than the loop's (with 64 lanes 155 updates for the loop's 144). Its ratios are of twice as many repeats.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from common import Row, asked_for_all, daily, finish, interleave, panel

import forecast.train as training
from forecast.config import Config
from forecast.data import Bundle, Span, StreamData
from forecast.model import build_network
from forecast.module import ForecastModule, WeightAverage
from forecast.nn.cores import detach_state
from forecast.nn.network import Network
from forecast.spans import cut_spans, pipeline_spec, settle
from forecast.tensors import device_chunks, tensors_of
from forecast.trainer import run_trainer
from pipelines.batches import Batch, gather, rows_before
from pipelines.pipeline import Pipeline
from pipelines.plans import pieces_of
from pipelines.prepared import Prepared

CPU = torch.device("cpu")


class Job:
    """One configuration made ready: arrays, net, chunks."""

    def __init__(self, data: object, **settings: object) -> None:
        config = settle(Config().override(**settings), data)  # type: ignore[arg-type]
        self.config, self.spans = config, cut_spans(data, config)  # type: ignore[arg-type]
        self.pipeline = Pipeline(pipeline_spec(config)).fit(data, until=self.spans.train_end)  # type: ignore[arg-type]
        self.prepared: Prepared = self.pipeline.transform(data.up_to(self.spans.stop_end))  # type: ignore[attr-defined]
        self.span = Span(pieces_of(self.prepared, 0, self.spans.train), rows_before(self.prepared, self.spans.train))
        self.source = tensors_of(self.prepared, self.span.target_ok, CPU)
        self.chunks = device_chunks(self.stream().plan(), CPU)

    def stream(self) -> StreamData:
        data = self.config.data
        return StreamData(
            self.prepared, self.span, lanes=int(data.lanes), k1=int(data.k1), k2=int(data.k2),
            lookback=data.lookback if data.mode == "window" else None,
        )  # fmt: skip

    def network(self) -> Network:
        torch.manual_seed(0)
        return build_network(self.config, self.pipeline).train()

    def origins(self, chunks: list[object] | None = None) -> int:
        """Forecast origins trained on in one pass."""
        return sum(int((gather(self.source, c).mask.any(-1)).sum()) for c in (chunks or self.chunks))


def laid_out(job: Job) -> list[Batch]:
    """The chunks of a pass, cut beforehand: what a hand-written loop slices from."""
    return [gather(job.source, chunk) for chunk in job.chunks]


def plain_loop(job: Job, net: Network, batches: list[Batch], passes: int) -> None:
    """The loop one would write by hand, with fused AdamW, clipping and averaged weights."""
    train = job.config.train
    weights = list(net.parameters())
    optimizer = torch.optim.AdamW(weights, lr=train.lr, weight_decay=train.weight_decay, fused=True)
    means = [weight.detach().clone() for weight in weights]
    for _ in range(passes):
        state = net.initial(len(batches[0].reset))
        for batch in batches:
            if state[0].shape[0] != batch.x.shape[0] or job.config.data.mode == "window":
                state = net.initial(batch.x.shape[0])
            features, state = net.run(batch.x, batch.static, state)
            loss = net.loss(net.params(features, batch), batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, train.clip)
            optimizer.step()
            torch._foreach_lerp_(means, [weight.detach() for weight in weights], 0.01)
            state = detach_state(state)


def trainer_steps(job: Job, net: Network, count: int, passes: int) -> float:
    """Seconds inside ForecastModule.training_step under a Trainer, without start-up and validation."""
    import pytorch_lightning as pl

    class Clock(pl.Callback):
        began = ended = 0.0

        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.began = self.began or time.perf_counter()

        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.ended = time.perf_counter()

    stream = job.stream()
    stream.source, stream.passes = job.source, passes
    stream.plan = lambda: job.plan  # type: ignore[method-assign, attr-defined]
    clock = Clock()
    module = ForecastModule(net, job.config, WeightAverage(net, 0.99))
    train = job.config.train.model_copy(update={"accelerator": "cpu"})  # where the job's tensors are
    run_trainer(module, stream, train, epochs=1, core=job.config.model.core, callbacks=[clock])
    return clock.ended - clock.began


def step_ratio(job: Job, repeats: int, passes: int) -> tuple[tuple[float, float, float], float]:
    """(toolkit time / plain time, ms per plain step) of the same chunks."""
    job.plan = job.stream().plan()  # type: ignore[attr-defined]
    job.chunks = device_chunks(job.plan, CPU)  # type: ignore[attr-defined]
    batches = laid_out(job)
    ours, theirs = [], []
    for i in range(repeats + 1):
        net, twin = job.network(), job.network()

        def one(net: Network = net) -> None:
            ours.append(trainer_steps(job, net, len(batches), passes))

        def other(twin: Network = twin) -> None:
            began = time.perf_counter()
            plain_loop(job, twin, batches, passes)
            theirs.append(time.perf_counter() - began)

        for run in (one, other) if i % 2 else (other, one):
            run()
    pairs = sorted(a / b for a, b in zip(ours[1:], theirs[1:], strict=True))
    return (float(np.median(pairs)), pairs[0], pairs[-1]), 1e3 * float(np.median(theirs[1:])) / (len(batches) * passes)


def fit_ratio(data: object, repeats: int, **settings: object) -> tuple[tuple[float, float, float], float]:
    """(origins/s of `forecast.fit`'s training / origins/s of the plain loop, the latter)."""
    job = Job(data, **settings)
    batches = laid_out(job)
    origins = job.origins()
    passes = int(job.config.train.epochs)
    spent: list[float] = []
    original = training._train

    def timed(*args: object, **kwargs: object) -> object:
        began = time.perf_counter()
        out = original(*args, **kwargs)  # type: ignore[arg-type]
        spent.append(time.perf_counter() - began)
        return out

    training._train = timed  # type: ignore[assignment]
    try:
        plain: list[float] = []
        for i in range(repeats + 1):
            if i % 2:
                training.fit(data, job.config)  # type: ignore[arg-type]
            began = time.perf_counter()
            plain_loop(job, job.network(), batches, passes)
            plain.append(time.perf_counter() - began)
            if not i % 2:
                training.fit(data, job.config)  # type: ignore[arg-type]
    finally:
        training._train = original
    pairs = sorted(a / b for a, b in zip(plain[1:], spent[1:], strict=True))
    return (float(np.median(pairs)), pairs[0], pairs[-1]), origins * passes / float(np.median(plain[1:]))


def stream_against_window(repeats: int) -> tuple[tuple[float, float, float], dict[str, float]]:
    """Targets/s of streams over windows of the same net: lookback 64, horizon 24."""
    data = panel(daily(5000))
    same = {"horizon": 24, "hidden": 64, "layers": 2, "head": "point", "skip": 0}
    stream = Job(data, lanes=16, k1=64, **same)
    window = Job(data, mode="window", lookback=64, lanes=64, **same)
    window.chunks = window.chunks[:10]
    cut = {"stream": laid_out(stream), "window": laid_out(window)}
    targets = {name: sum(int(b.mask.sum()) for b in part) for name, part in cut.items()}
    nets = {"stream": stream.network(), "window": window.network()}
    passes = {"stream": 6, "window": 1}
    took = interleave(
        {
            "stream": lambda: plain_loop(stream, nets["stream"], cut["stream"], passes["stream"]),
            "window": lambda: plain_loop(window, nets["window"], cut["window"], passes["window"]),
        },
        repeats,
    )
    speed = {n: [targets[n] * passes[n] / s for s in took[n].seconds] for n in cut}
    pairs = sorted(a / b for a, b in zip(speed["stream"], speed["window"], strict=True))
    return (float(np.median(pairs)), pairs[0], pairs[-1]), {n: float(np.median(v)) for n, v in speed.items()}


def assembly_share(repeats: int) -> tuple[float, float, float, float]:
    """(share of a step spent on cutting a batch, low, high, microseconds per batch); lanes 16, hidden 64."""
    job = Job(panel(daily(50_000)), horizon=24, lanes=16, hidden=64, k1=64, head="point", skip=0)
    some = job.chunks[:28]
    batches = [gather(job.source, chunk) for chunk in some]
    net = job.network()
    bundle = Bundle(job.source, some)
    took = interleave(
        {"cut": lambda: [list(bundle) for _ in range(5)], "steps": lambda: plain_loop(job, net, batches, 1)}, repeats
    )
    shares = sorted(a / 5 / b for a, b in zip(took["cut"].seconds, took["steps"].seconds, strict=True))
    return float(np.median(shares)), shares[0], shares[-1], 1e6 * took["cut"].median / 5 / len(some)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="fewer sizes")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    details: dict[str, object] = {"threads": options.threads, "repeats": options.repeats}
    share, low, high, micro = assembly_share(options.repeats)
    rows.append(
        Row(
            "batch assembly, share of a step (lanes 16, hidden 64)",
            "<= 2",
            100 * share,
            100 * low,
            100 * high,
            share <= 0.02,
            "%",
            f"{micro:.0f} us a batch",
        )
    )
    for name, settings in {
        "point head, lanes 16": {"lanes": 16, "head": "point", "skip": 0},
        "quantile head, lanes 16, skip": {"lanes": 16},
    }.items():
        job = Job(panel(daily(20_000)), horizon=24, hidden=64, k1=64, **settings)
        (middle, low, high), each = step_ratio(job, options.repeats, 6)
        rows.append(
            Row(
                f"training step through the toolkit / plain torch loop ({name})",
                "<= 1.10",
                middle,
                low,
                high,
                middle <= 1.10,
                "x",
                f"{each:.2f} ms a plain step",
            )
        )
    (middle, low, high), speed = stream_against_window(options.repeats)
    rows.append(
        Row(
            "targets/s, streams / windows (LSTM 2x64, lookback 64, horizon 24)",
            ">= 30",
            middle,
            low,
            high,
            middle >= 30,
            "x",
            f"{speed['stream']:,.0f} against {speed['window']:,.0f}",
        )
    )
    details["targets_per_second"] = speed
    sizes = [(16, 64)] if options.quick else [(lanes, hidden) for lanes in (16, 64) for hidden in (32, 64, 128)]
    for lanes, hidden in sizes:
        (middle, low, high), speed_ = fit_ratio(
            panel(daily(40_000)), 2 * options.repeats + 1, horizon=24, lanes=lanes, hidden=hidden, layers=2, k1=64,
            head="point", skip=0, epochs=16 if hidden < 128 else 8, patience=1000, stop=0.05, holdout=0.05,
        )  # fmt: skip
        rows.append(
            Row(
                f"origins/s of forecast.fit / plain stream loop (lanes {lanes}, hidden {hidden})",
                ">= 0.92",
                middle,
                low,
                high,
                middle >= 0.92,
                "x",
                f"plain {speed_:,.0f}/s",
            )
        )
    fits = rows[-len(sizes) :]
    least = min(fits, key=lambda row: row.measured)
    many = f"{sum(bool(row.met) for row in fits)} of {len(fits)} sizes at 0.92 or above"
    text = "origins/s of forecast.fit / plain stream loop, the lowest of all sizes"
    rows.append(Row(text, ">= 0.92", least.measured, least.low, least.high, least.met, "x", many))
    finish("step", rows, details, keep=asked_for_all(parser, options))


if __name__ == "__main__":
    main()
