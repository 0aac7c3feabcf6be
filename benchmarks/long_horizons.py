"""Long horizons by the public protocol: ETTh1 and ETTm1, horizons 96 to 720, three seeds, errors beside published ones.

    PY=.venv/bin/python
    $PY benchmarks/long_horizons.py [--data ETTh1 ETTm1] [--horizons 96 192 336 720] [--seeds 0 1 2] [--jobs 2]
    $PY benchmarks/long_horizons.py --parts [--csv FILE] [--only "half the units"]
                                                        what each part of the preset does, on the validation span only
    $PY benchmarks/long_horizons.py --csv FILE ...      the same preset on any file with a first column of time stamps

Protocol (Zhou et al. 2021, arXiv 2012.07436; Nie et al. 2023): 12 months of 30 days to train, 4 to validate, 4 to test,
every channel a series of its own, values standardised by the training span, every test window scored and none dropped,
mean over channels and windows. A file given with ``--csv`` is cut 70/10/20 as is usual for others than ETT.

Early stopping reads the validation span; nothing is fitted on it. The test span is scored once per fit, by weights that
were chosen before. Fits are kept in results/long_runs.json by the settings that differ from the defaults, and not done
again unless ``--fresh``, as all of them take hours (use it after a change of the code, and let it finish: what it does
not reach stays as it was). Each has one thread, so their seconds compare. results/long.json keeps whole tables only.
The files of ETT are looked for in ../shared/data/sensors; they are at https://github.com/zhouhaoyi/ETDataset.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import RESULTS, SHARED, Row, finish
from kept import Kept, span, stamp

ROOT = Path(__file__).resolve().parents[1]
# MSE, MAE published for SegRNN (Lin et al. 2023, arXiv 2308.11200), by lookback; means over the four horizons
PUBLISHED = {"ETTh1": {96: (0.417, 0.428), 720: (0.408, 0.428)}, "ETTm1": {96: (0.388, 0.404), 720: (0.347, 0.390)}}
WANTED = {"ETTh1": (0.405, 0.418), "ETTm1": (0.360, 0.380)}
PARTS: dict[str, dict[str, Any]] = {
    "the preset": {},
    "without the linear skip": {"skip": 0},
    "without averaged weights": {"average": 0.0},
    "relative to the last value instead of the mean": {"anchor": "last"},
    "volatility and weekdays as features too": {"volatility": True, "calendar": True},
    "levels beside relative features": {"features": "both"},
    "levels instead of relative features": {"features": "level"},
    "squared instead of Huber loss": {"loss": "mse"},
    "dropout 0.7 instead of 0.5": {"dropout": 0.7},
    "dropout 0.3 instead of 0.5": {"dropout": 0.3},
    "half the units": {"hidden": 64},
    "GRU instead of LSTM": {"core": "gru"},
    "weight decay 1.0 instead of 0.01": {"weight_decay": 1.0},
    "without the skip, weight decay 1.0": {"skip": 0, "weight_decay": 1.0},
}


# without the skip the recurrent path has all the work: chosen on the validation span, see LONG_HORIZONS.md
PLAIN = PARTS["without the skip, weight decay 1.0"]


def load(data: str, csv: str | None) -> tuple[Any, int, int]:
    """``(panel of train, validation and test rows, rows to train on, rows to validate on)``, per series."""
    import pipelines

    if csv is None:
        month = 30 * 24 * (4 if data.startswith("ETTm") else 1)
        train, check, rows = 12 * month, 4 * month, 20 * month
        path = SHARED / "sensors" / f"{data}.csv"
    else:
        path = Path(csv)
    if not path.is_file():
        raise SystemExit(f"{path} is not there. ETTh1.csv and ETTm1.csv: https://github.com/zhouhaoyi/ETDataset")
    names = pd.read_csv(path, nrows=0).columns
    panel = pipelines.read_csv(path, time=names[0], target=list(names[1:]))
    if csv is not None:
        rows = int(panel.lengths.min())
        train, check = int(0.7 * rows), int(0.1 * rows)
    return panel.up_to(panel.ds[rows - 1]), train, check


def one(
    data: str, csv: str | None, preset: str, settings: dict[str, Any], horizon: int, seed: int, score: str
) -> dict[str, Any]:
    """Fit once; errors in units of the training spread on the span ``score`` (``validation`` or ``test``)."""
    from forecast.config import Config
    from forecast.train import fit

    panel, train, check = load(data, csv)
    if score == "validation":
        panel = panel.up_to(panel.ds[train + check - 1])  # nobody can look at what is not there
    until = panel.ds[train + check - 1]
    split = {"horizon": horizon, "seed": seed, "threads": 1, "holdout": 0.0, "stop": check / (train + check)}
    config = Config.make(settings).override(**split)
    began = time.perf_counter()
    model = fit(panel, config, until=pd.Timestamp(until))
    seconds = time.perf_counter() - began
    if model.facts["rows"]["train"] != train * len(panel.ids):
        raise SystemExit(f"trained on {model.facts['rows']['train']} rows, the protocol says {train * len(panel.ids)}")
    first, last = (train, train + check) if score == "validation" else (train + check, int(panel.lengths[0]))
    y = panel.column("y").reshape(len(panel.ids), -1)
    squares, sizes, count = 0.0, 0.0, 0
    for i in range(len(panel.ids)):
        rows = np.arange(first - 1, last - horizon)
        found = model.forecast_rows(panel.select([panel.ids[i]]), rows).point
        truth = y[i][rows[:, None] + 1 + np.arange(horizon)]
        error = (found - truth) / y[i, :train].std()
        squares, sizes, count = (
            squares + float((error**2).sum()),
            sizes + float(np.abs(error).sum()),
            count + error.size,
        )
    training = model.facts["training"]
    return {
        "mse": squares / count, "mae": sizes / count, "windows": count // horizon, "seconds": seconds,
        "epochs": training["epochs"], "best_epoch": training["best_epoch"], "parameters": model.facts["parameters"],
    }  # fmt: skip


def complete(kept: Kept, asked: list[dict[str, Any]], jobs: int) -> list[dict[str, Any]]:
    """The results of ``asked``, in order; what is not there yet is run, ``jobs`` processes at a time."""

    def do(one: dict[str, Any]) -> dict[str, Any]:
        found = kept.find(one)
        if found is None:
            found = {**_process(one), **stamp()}
            kept.keep(one, found)
            name = ", ".join(str(one[part]) for part in ("data", "preset", "horizon", "seed", "score"))
            errors = f"MSE {found['mse']:.4f} MAE {found['mae']:.4f}"
            print(f"{name}: {errors} in {found['seconds']:.0f} s", file=sys.stderr)
        return found

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(do, asked))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _process(asked: dict[str, Any]) -> dict[str, Any]:
    """One fit in a process of its own."""
    command = [sys.executable, __file__, "--one", json.dumps(asked)]
    code = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT / "benchmarks")
    if code.returncode:
        said = code.stderr.strip()
        raise SystemExit(said if "\n" not in said else f"{asked} failed:\n{said[-2000:]}")
    result: dict[str, Any] = json.loads(code.stdout.strip().splitlines()[-1])
    return result


def ask(
    data: str, csv: str | None, preset: str, horizon: int, seed: int, score: str = "test", **changes: Any
) -> dict[str, Any]:
    """One fit, by everything that decides it: of a preset that was changed it is another fit."""
    from forecast.config import locate
    from forecast.presets import preset_values

    settings = preset_values(preset)
    for name, value in changes.items():
        section, field = locate(name)
        settings.setdefault(section, {})[field] = value
    return {
        "data": data, "csv": csv, "preset": preset, "settings": settings, "horizon": horizon, "seed": seed,
        "score": score,
    }  # fmt: skip


def spread(results: list[dict[str, Any]], key: str) -> tuple[float, float, float]:
    """``(mean, lowest, highest)`` over seeds."""
    values = [each[key] for each in results]
    return statistics.mean(values), min(values), max(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["ETTh1", "ETTm1"])
    parser.add_argument("--csv", help="another file, instead of --data")
    parser.add_argument("--preset", nargs="+", default=["stream-lstm"])
    parser.add_argument("--horizons", nargs="+", type=int, default=[96, 192, 336, 720])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--parts", action="store_true", help="the table of parts, scored on the validation span")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", help="of the table of parts, these")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time, one thread each")
    parser.add_argument("--fresh", action="store_true", help="do the fits again that are asked for")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(**json.loads(options.one))))
        return
    if options.csv:
        options.csv = os.path.relpath(options.csv, ROOT / "benchmarks")  # where each fit runs
    kept = Kept(RESULTS / "long_runs.json", fresh=options.fresh)
    if options.parts:
        parts(kept, options)
        return
    rows: list[Row] = []
    if options.csv:
        for preset in options.preset:
            rows += long_rows(kept, Path(options.csv).stem, options.csv, preset, options)
    else:
        for data in options.data:
            for preset in options.preset:
                rows += long_rows(kept, data, None, preset, options)
        if "ETTh1" in options.data and 96 in options.horizons:
            rows += plain_rows(kept, options)
    whole = not options.csv and sorted(options.horizons) == [96, 192, 336, 720] and len(options.seeds) >= 3
    note = "SegRNN, arXiv 2308.11200, lookback 96 and 720"
    kept.tell()
    details = {"seeds": options.seeds, "published": note, "runs": span(list(kept.asked.values()))}
    finish("long", rows, details, keep=whole)


def long_rows(kept: Kept, data: str, csv: str | None, preset: str, options: argparse.Namespace) -> list[Row]:
    """One line per horizon and metric, and their means over the horizons beside what is wanted."""
    asked = [ask(data, csv, preset, h, s) for h in options.horizons for s in options.seeds]
    found = complete(kept, asked, options.jobs)
    by = {h: found[i * len(options.seeds) : (i + 1) * len(options.seeds)] for i, h in enumerate(options.horizons)}
    rows = []
    for k, key in enumerate(("mse", "mae")):
        for horizon, results in by.items():
            mean, low, high = spread(results, key)
            note = f"{results[0]['windows']:,} windows, {max(each['seconds'] for each in results):.0f} s at most a fit"
            rows.append(
                Row(f"{preset}, {data}, horizon {horizon}, {key.upper()}", "-", mean, low, high, None, "", note)
            )
        means = [statistics.mean(by[h][i][key] for h in by) for i in range(len(options.seeds))]
        mean, known = statistics.mean(means), PUBLISHED.get(data)
        whole = known is not None and sorted(by) == [96, 192, 336, 720] and preset == "stream-lstm"
        note = f"SegRNN published: {known[96][k]} with lookback 96, {known[720][k]} with 720" if known else ""
        wanted = WANTED[data][k] if whole else 0.0
        rows.append(
            Row(
                f"{preset}, {data}, mean over horizons, {key.upper()}", f"<= {wanted}" if whole else "-", mean,
                min(means), max(means), mean <= wanted if whole else None, "", note,
            )
        )  # fmt: skip
    slowest = max(each["seconds"] for each in found)
    rows.append(
        Row(f"{preset}, {data}, slowest fit on one thread", "<= 180" if data == "ETTh1" else "-", slowest,
            min(each["seconds"] for each in found), slowest, slowest <= 180 if data == "ETTh1" else None, "s")
    )  # fmt: skip
    return rows


def plain_rows(kept: Kept, options: argparse.Namespace) -> list[Row]:
    """ETTh1, horizon 96: the preset's cores without the skip (see ``PLAIN``), and our SegRNN with lookback 96."""
    rows = []
    for text, preset, changes, wanted in (
        ("lstm without the skip", "stream-lstm", PLAIN, 0.385),
        ("gru without the skip", "stream-gru", PLAIN, 0.385),
        ("SegRNN, lookback 96 (published 0.368)", "segrnn", {"lookback": 96}, 0.380),
    ):
        found = complete(kept, [ask("ETTh1", None, preset, 96, s, **changes) for s in options.seeds], options.jobs)
        mean, low, high = spread(found, "mse")
        rows.append(Row(f"{text}, ETTh1, horizon 96, MSE", f"<= {wanted}", mean, low, high, mean <= wanted, ""))
    return rows


def parts(kept: Kept, options: argparse.Namespace) -> None:
    """What each part of the preset does, on the validation span of ETTh1 or of another file."""
    data = Path(options.csv).stem if options.csv else "ETTh1"
    chosen = {text: PARTS[text] for text in options.only or PARTS}
    cells = [(text, horizon) for text in chosen for horizon in options.horizons]
    asked = [
        ask(data, options.csv, "stream-lstm", horizon, seed, "validation", **chosen[text])
        for text, horizon in cells
        for seed in options.seeds
    ]
    found, count, rows = complete(kept, asked, options.jobs), len(options.seeds), []
    for i, (text, horizon) in enumerate(cells):
        results = found[i * count : (i + 1) * count]
        mean, low, high = spread(results, "mse")
        note = f"MAE {spread(results, 'mae')[0]:.4f}"
        rows.append(Row(f"{text}, {data} validation, horizon {horizon}, MSE", "-", mean, low, high, None, "", note))
    kept.tell()
    details = {"seeds": options.seeds, "runs": span(list(kept.asked.values()))}
    finish("long_parts", rows, details, keep=not (options.csv or options.only))


if __name__ == "__main__":
    main()
