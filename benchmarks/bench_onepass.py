"""A backtest without refits in one pass, against forecasting origin by origin in the same process.

    python benchmarks/bench_onepass.py [--origins 2000] [--points 4000]

Both give the forecast at every one of the last origins of one simulated price path, by the same trained net. The loop
does what a forecaster without a streaming state has to do: read the history up to the origin, forecast, next origin.
The ratio of the times is to be at least 50, the largest difference of the forecasts, relative to the price, at most
1e-6.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from bench_verdicts import prices
from common import Row, asked_for_all, finish, interleave, ratio

from forecast.config import Config
from forecast.train import fit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--origins", type=int, default=2000)
    parser.add_argument("--points", type=int, default=4000)
    parser.add_argument("--horizon", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    panel = prices("ar1", 0, given.points)
    last = given.points - given.horizon
    rows = np.arange(last - given.origins, last)
    config = Config().override(**{"data.horizon": given.horizon, "data.holdout": 0, "train.updates": 200})
    model = fit(panel.up_to(panel.ds[rows[0]]), config)
    model.forecast_rows(panel, rows[:1])

    found = {}

    def one_pass() -> None:
        found["pass"] = model.forecast_rows(panel, rows).point

    def loop() -> None:
        each = [model.predict(panel.up_to(panel.ds[row]))[model.name].to_numpy() for row in rows]
        found["loop"] = np.stack(each)

    took = interleave({"pass": one_pass, "loop": loop}, given.repeats, warm=0)
    gap = float(np.abs(found["pass"] / found["loop"] - 1).max())
    what = f"{given.origins:,} origins of {given.points:,} points, horizon {given.horizon}"
    middle, low, high = ratio(took["loop"], took["pass"])
    note = f"{took['pass'].median:.3f} s against {took['loop'].median:.1f} s"
    text = f"whole history again at every origin / one pass, {what}"
    table = [
        Row(text, ">= 50", middle, low, high, middle >= 50, "x", note),
        Row("largest relative difference of the two", "<= 1e-6", gap, gap, gap, gap <= 1e-6, ""),
    ]
    finish("onepass", table, {"threads": 1}, keep=asked_for_all(parser, given))


if __name__ == "__main__":
    main()
