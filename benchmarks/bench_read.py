"""Reading: one pass over a history against an origin-by-origin loop, forecasts equal (peers: `benchmarks/peers.py`)."""

from __future__ import annotations

import argparse

import numpy as np
import torch
from common import Row, asked_for_all, daily, finish, hourly, interleave, panel

from forecast.train import fit

ORIGINS = 2000
LOOP = 100  # of those the loop takes, whose time is linear in their number
HORIZON = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = panel(daily(5000))
    model = fit(data, horizon=HORIZON, hidden=64, layers=2, head="point", skip=0, epochs=3)
    rows = np.arange(len(data) - HORIZON - ORIGINS, len(data) - HORIZON)
    one_pass = model.forecast_rows(data, rows).point
    # origin by origin: the history up to the first origin is read, then one row at a time is read and forecast from
    frame = data.frame
    walker = model.read(data.up_to(data.ds[rows[0]]))
    loop = [walker.predict()[model.name].to_numpy()]

    def walk() -> None:
        for row in rows[len(loop) : len(loop) + LOOP]:
            walker.update(frame.iloc[row : row + 1])
            loop.append(walker.predict()[model.name].to_numpy())

    took = interleave({"pass": lambda: model.forecast_rows(data, rows), "loop": walk}, options.repeats, warm=2)
    pairs = sorted(b / LOOP / (a / ORIGINS) for a, b in zip(took["pass"].seconds, took["loop"].seconds, strict=True))
    speeds = [ORIGINS / took["pass"].median, LOOP / took["loop"].median]
    # and from scratch at a few origins: the whole history again, cut off there
    scratch = [int(i) for i in np.linspace(0, ORIGINS - 1, 8)]
    whole = [model.read(data.up_to(data.ds[rows[i]])).predict()[model.name].to_numpy() for i in scratch]
    size = np.abs(one_pass).max()
    gap = max(
        float(np.abs(one_pass[: len(loop)] - np.stack(loop)).max() / size),
        float(np.abs(one_pass[scratch] - np.stack(whole)).max() / size),
    )
    table = [
        Row(
            "one pass against the origin-by-origin loop, largest relative gap",
            "<= 1e-6",
            gap,
            gap,
            gap,
            gap <= 1e-6,
            "",
        ),
        Row(
            "one pass / origin-by-origin loop, origins/s",
            "-",
            float(np.median(pairs)),
            pairs[0],
            pairs[-1],
            None,
            "x",
            f"{speeds[0]:,.0f} origins/s against {speeds[1]:,.0f}",
        ),
    ]
    many = panel(hourly(100, 2000), "h")
    global_model = fit(many, horizon=HORIZON, hidden=64, layers=2, head="point", skip=0, epochs=1)
    at = np.concatenate([np.arange(low + 1200, low + 1976) for low in many.offsets[:-1]])
    wide = interleave({"pass": lambda: global_model.forecast_rows(many, at)}, max(5, options.repeats - 2))["pass"]
    speeds_ = sorted(len(at) / s for s in wide.seconds)
    table.append(
        Row(
            "origins/s of one pass over 100 series of 2,000",
            "-",
            float(np.median(speeds_)),
            speeds_[0],
            speeds_[-1],
            None,
            "/s",
        )
    )
    finish(
        "read",
        table,
        {"threads": options.threads, "origins": ORIGINS, "seconds": took["pass"].seconds},
        keep=asked_for_all(parser, options),
    )


if __name__ == "__main__":
    main()
