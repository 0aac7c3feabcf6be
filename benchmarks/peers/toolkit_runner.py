"""This toolkit on the peers' tasks: LSTM 2x64, horizon 24, streams."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time

import job
import numpy as np
import pandas as pd

NET = {"horizon": job.HORIZON, "hidden": job.HIDDEN, "layers": job.LAYERS, "dropout": job.DROPOUT}
SAME = {**NET, "head": "point", "skip": 0}


def from_start(task: argparse.Namespace) -> None:
    """`forecast fit` as it is typed: it also scores a holdout span, draws a plot and writes its page.

    Those spans are small here, so that it trains on as many rows as the peers, who hold none back.
    """
    from forecast.cli import main as command

    values, freq = job.series(task.data)
    with tempfile.TemporaryDirectory() as name:
        stamps = pd.date_range("2005-01-01", periods=values.shape[1], freq=freq)
        pd.DataFrame({"time": stamps, "value": values[0]}).to_csv(f"{name}/daily.csv", index=False)
        source = ["--csv", f"{name}/daily.csv", "--time", "time", "--target", "value", "--out", f"{name}/run"]
        settings = [f"model.{key}={SAME[key]}" for key in ("hidden", "layers", "dropout", "head", "skip")]
        settings += ["train.patience=1000", "data.stop=0.02", "data.holdout=0.02"]
        sets = [part for each in settings for part in ("--set", each)]
        sys.argv = ["forecast", "fit", *source, "--horizon", str(job.HORIZON), "--epochs", "10", *sets]
        try:
            command()
        except SystemExit as done:
            if done.code:
                raise
    job.emit("toolkit", task)


def main() -> None:
    task = job.options()
    if task.task == "job":
        from_start(task)
        return
    import torch
    from common import panel

    import forecast.train as training

    torch.set_num_threads(job.THREADS)
    values, freq = job.series(task.data)
    data = panel(values.astype(np.float64), freq)
    if task.task == "train":
        spent: list[float] = []
        original = training._train

        def timed(*args: object, **kwargs: object) -> object:
            began = time.perf_counter()
            out = original(*args, **kwargs)  # type: ignore[arg-type]
            spent.append(time.perf_counter() - began)
            return out

        training._train = timed  # type: ignore[assignment]
        passes = 100 if len(values) == 1 else 4
        for epochs in (1, passes):  # the peers' first updates are left out too
            # of 4,500 rows a lane has up to 72: one update a pass, as 4,096 rows (64 windows of 64) are one of a peer's
            model = training.fit(data, **SAME, lanes=64, k1=72, epochs=epochs, patience=1000, stop=0.05, holdout=0.05)
        job.emit("toolkit", task, origins_per_s=model.facts["rows"]["train"] * passes / spent[-1])
    elif task.task == "backtest":
        model = training.fit(data, **SAME, epochs=2)
        rows = np.arange(len(data) - job.HORIZON - job.ORIGINS, len(data) - job.HORIZON)
        began = time.perf_counter()
        model.forecast_rows(data, rows)
        seconds = time.perf_counter() - began
        job.emit("toolkit", task, origins_per_s=job.ORIGINS / seconds, backtest_s=seconds)
    else:  # accuracy: the last 20 % of every series is held out; the toolkit's defaults but for the size of the net
        held = values.shape[1] // 5
        began = time.perf_counter()
        model = training.fit(data, **NET, holdout=0.2, stop=0.1, updates=task.steps, seed=task.seed)
        fit_s = time.perf_counter() - began
        first = np.arange(values.shape[1] - held - 1, values.shape[1] - job.HORIZON)
        rows = (data.offsets[:-1, None] + first).reshape(-1)
        found = model.forecast_rows(data, rows).point.reshape(len(values), len(first), job.HORIZON)
        truth = values[:, first[:, None] + 1 + np.arange(job.HORIZON)]
        error = float((np.abs(found - truth).mean((1, 2)) / values[:, -held:].std(1)).mean())
        job.emit("toolkit", task, steps=model.facts["training"]["updates"], fit_s=fit_s, scaled_mae=error)


main()
