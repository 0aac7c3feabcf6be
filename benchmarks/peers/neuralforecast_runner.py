"""NeuralForecast: LSTM 2x64 on shuffled windows of 64, its direct head or, as a variant, its recurrent one.

Where speed is measured its decoder has one layer of 64 (the least work), where errors are its default of two of 128.
"""

from __future__ import annotations

import time

import job
import numpy as np
import pytorch_lightning as pl
import torch
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE
from neuralforecast.models import LSTM

torch.set_num_threads(job.THREADS)


SMALL = {"decoder_hidden_size": job.HIDDEN, "decoder_layers": 1}


def build(steps: int, clock: pl.Callback, seed: int, series: int, **more: object) -> LSTM:
    more = {"recurrent": False, **more}
    return LSTM(
        h=job.HORIZON, input_size=job.LOOKBACK, encoder_n_layers=job.LAYERS, encoder_hidden_size=job.HIDDEN,
        encoder_dropout=job.DROPOUT, loss=MAE(), learning_rate=job.LR, max_steps=steps,
        batch_size=min(series, 32), windows_batch_size=job.BATCH, inference_windows_batch_size=1024,
        scaler_type="standard", random_seed=seed, accelerator="cpu", devices=1, logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, callbacks=[clock],
        **more,
    )  # fmt: skip


def main() -> None:
    task = job.options()
    values, freq = job.series(task.data)
    data = job.frame(values, freq)
    clock = job.clock(pl.Callback)
    windows = len(values) * (values.shape[1] - job.LOOKBACK - job.HORIZON + 1)
    per_pass = -(-windows // job.BATCH)
    if task.task == "train":
        NeuralForecast(models=[build(300, clock, task.seed, len(values), **SMALL)], freq=freq).fit(data)
        seconds = clock.stamps[-1] - clock.stamps[49]
        job.emit("neuralforecast", task, origins_per_s=(len(clock.stamps) - 50) * job.BATCH / seconds)
    elif task.task == "job":
        model = NeuralForecast(models=[build(10 * per_pass, clock, task.seed, 1, **SMALL)], freq=freq)
        model.fit(data)
        print(model.predict().to_string())
        job.emit("neuralforecast", task, steps=10 * per_pass)
    elif task.task == "backtest":
        model = NeuralForecast(models=[build(100, clock, task.seed, 1, **SMALL)], freq=freq)
        model.cross_validation(data, n_windows=job.ORIGINS, step_size=1, refit=False)
        seconds = time.perf_counter() - clock.end
        job.emit("neuralforecast", task, origins_per_s=job.ORIGINS / seconds, backtest_s=seconds)
    else:  # accuracy: validation error by wall time, last 20 % of every series
        held = values.shape[1] // 5
        steps = task.steps or 5 * per_pass
        more = {"recurrent": True, "h_train": job.HORIZON} if task.variant == "recurrent" else {}
        began = time.perf_counter()
        model = NeuralForecast(models=[build(steps, clock, task.seed, len(values), **more)], freq=freq)
        out = model.cross_validation(data, n_windows=held - job.HORIZON + 1, step_size=1, refit=False)
        fit_s = clock.end - began
        column = next(c for c in out.columns if c not in ("unique_id", "ds", "cutoff", "y"))
        gaps = (out[column] - out["y"]).abs().groupby(out["unique_id"]).mean()
        error = float(np.mean(gaps.sort_index().to_numpy() / values[:, -held:].std(1)))
        job.emit("neuralforecast", task, steps=steps, fit_s=fit_s, scaled_mae=error)


main()
