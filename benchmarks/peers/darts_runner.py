"""Darts: BlockRNNModel, LSTM 2x64, on shuffled windows of 64, direct head over the horizon.

As a variant (``rin``) with its reversible instance normalisation.
"""

from __future__ import annotations

import time

import job
import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from darts.models import BlockRNNModel

torch.set_num_threads(job.THREADS)


def build(epochs: int, clock: pl.Callback, seed: int, variant: str = "", **trainer: object) -> BlockRNNModel:
    arguments = {
        "accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "enable_checkpointing": False, "callbacks": [clock], **trainer,
    }  # fmt: skip
    return BlockRNNModel(
        model="LSTM", input_chunk_length=job.LOOKBACK, output_chunk_length=job.HORIZON, hidden_dim=job.HIDDEN,
        n_rnn_layers=job.LAYERS, dropout=job.DROPOUT, batch_size=job.BATCH, n_epochs=epochs, random_state=seed,
        optimizer_kwargs={"lr": job.LR}, use_reversible_instance_norm=variant == "rin", pl_trainer_kwargs=arguments,
    )  # fmt: skip


def series_of(values: np.ndarray, freq: str) -> list[TimeSeries]:  # type: ignore[type-arg]
    stamps = pd.date_range("2005-01-01", periods=values.shape[1], freq=freq)
    return [TimeSeries.from_times_and_values(stamps, row) for row in values]


def main() -> None:
    task = job.options()
    values, freq = job.series(task.data)
    clock = job.clock(pl.Callback)
    if task.task == "train":
        scaled = Scaler().fit_transform(series_of(values, freq))
        build(5, clock, task.seed, max_steps=300).fit(scaled, verbose=False)
        seconds = clock.stamps[-1] - clock.stamps[49]
        job.emit("darts", task, origins_per_s=(len(clock.stamps) - 50) * job.BATCH / seconds)
    elif task.task == "job":
        scaler, model = Scaler(), build(10, clock, task.seed)
        model.fit(scaler.fit_transform(series_of(values, freq)), verbose=False)
        print(scaler.inverse_transform(model.predict(job.HORIZON, verbose=False))[0].to_dataframe().to_string())
        job.emit("darts", task, steps=len(clock.stamps))
    elif task.task == "backtest":
        first = values.shape[1] - job.HORIZON - job.ORIGINS + 1
        full = series_of(values, freq)[0]
        scaler = Scaler().fit(full[:first])
        scaled, model = scaler.transform(full), build(1, clock, task.seed)
        model.fit(scaled[:first], verbose=False)
        began = time.perf_counter()
        out = forecasts(model, scaled, first)
        [scaler.inverse_transform(part) for part in out]
        seconds = time.perf_counter() - began
        job.emit("darts", task, origins_per_s=len(out) / seconds, backtest_s=seconds)
    else:
        held = values.shape[1] // 5
        first = values.shape[1] - held
        all_series = series_of(values, freq)
        scaler = Scaler().fit([part[:first] for part in all_series])
        scaled = scaler.transform(all_series)
        began = time.perf_counter()
        limits = {"max_steps": task.steps} if task.steps else {}
        model = build(1000 if task.steps else 5, clock, task.seed, task.variant, **limits)
        model.fit([part[:first] for part in scaled], verbose=False)
        fit_s = time.perf_counter() - began
        errors = []
        for part, row, unit in zip(scaled, values, values[:, first:].std(1), strict=True):
            starts = np.arange(first, values.shape[1] - job.HORIZON + 1)
            truth = row[starts[:, None] + np.arange(job.HORIZON)]
            low, high = row[:first].min(), row[:first].max()
            out = np.stack([p.values(copy=False)[:, 0] for p in forecasts(model, part, first)])
            errors.append(np.abs(out * (high - low) + low - truth).mean() / unit)
        job.emit("darts", task, steps=len(clock.stamps), fit_s=fit_s, scaled_mae=float(np.mean(errors)))


def forecasts(model: BlockRNNModel, series: TimeSeries, first: int) -> list[TimeSeries]:
    return model.historical_forecasts(
        series, start=first, start_format="position", forecast_horizon=job.HORIZON, stride=1, retrain=False,
        last_points_only=False, verbose=False, overlap_end=False, predict_kwargs={"batch_size": 1024},
    )  # fmt: skip


main()
