"""How often does a backtest claim skill where there is none, and where there is some?

    .venv/bin/python benchmarks/bench_verdicts.py [--runs 100] [--jobs 2]

Three sets of simulated prices, 1,000 points each, the last 300 of them the test span, horizon 1, seeds 0 to 99:

* ``walk``: log returns are independent. A verdict of skill is false; at most 5 in 100 are allowed.
* ``ar1``: log returns follow r[t] = 0.5 r[t-1] + e[t]. There is skill to be found; at least 95 in 100 must be.
* ``placebo``: the returns of the ar1 paths shuffled and cumulated again. At most 10 in 100 may claim skill.

The net is small and trained shortly (``SETTINGS``, printed with the result); everything else is the default
backtest: one fit on the first 700 points, 300 origins, verdict against the strongest baseline.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import pandas as pd
from common import Row, asked_for_all, finish

from pipelines.grid import Grid
from pipelines.panel import Panel

SETTINGS: dict[str, Any] = {
    "data.kind": "price", "data.scale": "one", "data.calendar": False, "data.short": 2, "data.long": 8,
    "model.core": "gru", "model.hidden": 16, "model.dropout": 0.5, "train.lr": 0.02, "train.updates": 300,
}  # fmt: skip
SETS = ("walk", "ar1", "placebo")
LIMITS = {"walk": (0, 5), "ar1": (95, 100), "placebo": (0, 10)}  # per cent of the runs that may say skill


def prices(kind: str, seed: int, points: int = 1000) -> Panel:
    """A simulated price path of ``kind``."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(points + 100)
    returns = noise.copy()
    if kind != "walk":
        for t in range(1, len(returns)):
            returns[t] = 0.5 * returns[t - 1] + noise[t]
    returns = returns[-points:]
    if kind == "placebo":
        rng.shuffle(returns)
    frame = pd.DataFrame({
        "unique_id": f"{kind} {seed}",
        "ds": pd.date_range("2020-01-01", periods=points, freq="D"),
        "y": 100 * np.exp(0.01 * np.cumsum(returns)),
    })  # fmt: skip
    return Panel(frame, Grid("D"), meta={"kind": "price"})


def one(kind: str, seed: int) -> dict[str, Any]:
    """Verdict of the default backtest on one path."""
    from forecast.backtest import backtest
    from forecast.config import Config

    result = backtest(prices(kind, seed), "gru", horizon=1, test=300, config=Config().override(**SETTINGS), threads=1)
    found = result.significance["models"]["gru"]
    return {
        "kind": kind, "seed": seed, "label": result.verdict["label"], "ratio": found["loss"] / found["baseline_loss"],
        "p": found["pvalue"], "baseline": found["baseline"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--set", dest="sets", choices=SETS, action="append")
    parser.add_argument("--verbose", action="store_true", help="a line per run")
    given = parser.parse_args()
    from joblib import Parallel, delayed

    runs: list[dict[str, Any]] = []
    rows: list[Row] = []
    for kind in given.sets or SETS:
        part = []
        for run in Parallel(n_jobs=given.jobs, return_as="generator")(delayed(one)(kind, s) for s in range(given.runs)):
            part.append(run)
            if given.verbose:
                print(json.dumps(run), flush=True)
        runs += part
        share = 100 * sum(run["label"] == "skill" for run in part) / len(part)
        ratios = sorted(run["ratio"] for run in part)
        low, high = LIMITS[kind]
        wanted, met = (f">= {low}", share >= low) if low else (f"<= {high}", share <= high)
        note = f"{len(part)} runs, median MAE over the baseline's {np.median(ratios):.3f}"
        rows.append(Row(f"verdicts of skill, {kind}", wanted, share, share, share, met, "%", note))
    finish("verdicts", rows, {"settings": SETTINGS, "runs": runs}, keep=asked_for_all(parser, given))


if __name__ == "__main__":
    main()
