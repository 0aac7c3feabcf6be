"""Does a study find an optimum that was planted, and does it do better than random search at equal trials?

    python benchmarks/bench_tune.py [--seeds 10] [--first 0] [--trials 40] [--samplers tpe random]

The series of a seed is ``y[t] = 0.9 y[t - 30] + e[t]``, the net an echo state network of eight units, whose readout
is solved for, so that a trial is the same whenever it is run and no luck of training hides the optimum. Two settings
are searched: how many values the linear skip reads (1 to 300) and the ridge penalty (1e-4 to 1e8, by factors). The best
skip is known by construction: 30 values, the fewest that reach the lag; with fewer the error more than doubles, and
every value above it is one more weight that fits noise. The best penalty is not, so the *planted optimum* is the
smallest error on a fine line: skip 30, 25 penalties.

A study has *found* it if its winner reads at least 30 values and its error is at most 5 % above the planted optimum,
both by the objective of the study (walk-forward, relative to naive). It is *better than random* on a seed if its
winner's error is smaller than that of a random search of as many trials on the same series with the same seed.

Every study goes through :func:`forecast.tune.tune` with its default pruner, up to the sealed span. One thread, one
worker, so the same seeds give the same table. A few minutes on one core of its own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from common import Row, asked_for_all, finish, panel
from scipy.stats import wilcoxon

from forecast.config import Config
from forecast.objective import Sealed, WalkForward
from forecast.space import make_space
from forecast.study import quiet
from forecast.tune import tune

LAG, SHARE, POINTS, TEST, FOLDS = 30, 0.9, 800, 120, 2
NEAR = 0.05
FIXED: dict[str, Any] = {"core": "esn", "kind": "sensor", "calendar": False, "horizon": 1, "hidden": 8}
SPACE: dict[str, Any] = {
    "skip": {"low": 1, "high": 300}, "ridge": {"low": 1e-4, "high": 1e8, "log": True},
}  # fmt: skip
LINE = np.geomspace(1e-4, 1e8, 25)


def series(seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """``(y, e)``, each ``[POINTS]``: the values and what nobody could have forecast of them."""
    noise = np.random.default_rng(seed).standard_normal(POINTS + 20 * LAG)
    y = noise.copy()
    for t in range(LAG, len(y)):
        y[t] += SHARE * y[t - LAG]
    return y[-POINTS:], noise[-POINTS:]


def planted(seed: int) -> tuple[float, float]:
    """(penalty, error) of the best point on the line."""
    base = Config.make(None, **FIXED, seed=seed, threads=1)
    walked = WalkForward(Sealed.cut(panel(series(seed)[0]), TEST), make_space(base, SPACE, only=True), folds=FOLDS)
    errors = {}
    for penalty in map(float, LINE):
        trial: Any = optuna.trial.FixedTrial({"model.skip": LAG, "model.ridge": penalty})
        errors[penalty] = float(np.ravel(walked(trial))[0])
    best = min(errors, key=lambda penalty: errors[penalty])
    return best, errors[best]


def search(seed: int, sampler: str, trials: int) -> dict[str, Any]:
    """One study: its winner's error and settings, how its trials ended, and the sealed span against the noise."""
    y, noise = series(seed)
    clock = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = tune(
            panel(y), trials=trials, study=Path(folder) / "study", sampler=sampler, folds=FOLDS, test=TEST,
            space=SPACE, only=True, seed=seed, **FIXED,
        )  # fmt: skip
    best, counts = out.found["best"], out.found["trials"]
    return {
        "error": best["values"][0], "trial": best["number"], **best["params"], "pruned": counts["pruned"],
        "failed": counts["failed"], "best_so_far": [row["best"] for row in out.found["history"]],
        "sealed": out.sealed["tuned"] / float(np.abs(noise[-TEST:]).mean()), "seconds": time.perf_counter() - clock,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--samplers", nargs="+", default=["tpe", "random"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    optima: dict[int, tuple[float, float]] = {}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in given.samplers}
    print("| seed | planted | " + " | ".join(f"{name}: error, skip, penalty, sealed" for name in runs) + " |")
    print("|---" * (2 + len(runs)) + "|")
    with quiet():
        for seed in range(given.first, given.first + given.seeds):
            penalty, least = optima[seed] = planted(seed)
            cells = [f"{least:.4f} at {penalty:.2g}"]
            for name, rows in runs.items():
                one = search(seed, name, given.trials)
                one["above"] = one["error"] / least - 1
                one["found"] = one["model.skip"] >= LAG and one["above"] <= NEAR
                rows.append(one)
                cells.append(
                    f"{'found' if one['found'] else 'missed'} ({one['above']:+.1%}), {one['model.skip']}, "
                    f"{one['model.ridge']:.2g}, {one['sealed']:.2f}"
                )
            print(f"| {seed} | " + " | ".join(cells) + " |", flush=True)
    print()
    finish("tune", report_rows(runs, given.trials), {
        "threads": 1, "trials": given.trials, "near": NEAR, "lag": LAG, "fixed": FIXED, "space": SPACE,
        "planted": {seed: {"ridge": best, "error": error} for seed, (best, error) in optima.items()}, "runs": runs,
    }, keep=asked_for_all(parser, given))  # fmt: skip


def report_rows(runs: dict[str, list[dict[str, Any]]], trials: int) -> list[Row]:
    rows = []
    for name, found in runs.items():
        seeds, hits = len(found), sum(one["found"] for one in found)
        above = [100 * one["above"] for one in found]
        wanted = -(-9 * seeds // 10)
        searched = name != "random"
        rows.append(Row(
            f"planted optimum found within {trials} trials ({name}), of {seeds} seeds",
            f">= {wanted}" if searched else "-", hits, hits, hits, hits >= wanted if searched else None, "seeds",
        ))  # fmt: skip
        rows.append(Row(
            f"winner above the planted optimum ({name})", "-", float(np.median(above)), min(above), max(above), None,
            "%", f"sealed span {np.median([one['sealed'] for one in found]):.2f} x the noise",
        ))  # fmt: skip
    for name in [name for name in runs if name != "random" and "random" in runs]:
        gain = [1 - a["error"] / b["error"] for a, b in zip(runs[name], runs["random"], strict=True)]
        ahead = sum(one > 0 for one in gain)
        p = float(wilcoxon(gain, alternative="greater").pvalue)
        rows.append(Row(
            f"error of the winner below random search's ({name})", "> 0", 100 * float(np.median(gain)),
            100 * min(gain), 100 * max(gain), float(np.median(gain)) > 0 and p < 0.05, "%",
            f"ahead on {ahead} of {len(gain)} seeds, Wilcoxon signed-rank p = {p:.2g}",
        ))  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
