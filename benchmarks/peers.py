"""This toolkit against NeuralForecast and Darts in their own environments (`make bench-peers` makes them).

One process at a time, the three in turn, so that a slow minute hits all. Every process is kept in
results/peers_runs.json as soon as it ends, with commit, processor, load and time: an interrupted comparison goes
on where it was; what was kept before is named, and measured again with ``--fresh`` (which `make bench-peers` gives).
The table goes to results/peers.json, if it is whole. Peers that are not installed are named and left out.

Training: LSTM 2x64, dropout 0.2, horizon 24 on all sides, the first updates left out. An update of the peers sees 64
windows of 64 rows, one of the toolkit 64 lanes of up to 72 rows; origins/s counts the origins that a loss was taken at.
The toolkit's time includes its looks at the stop span, of which the peers have none here.

Time to an error, on the last fifth of every series, which nobody trains on: every side gets several budgets of updates
and its best counts. A peer has its default form and one other (NeuralForecast's recurrent head, Darts' reversible
normalisation): 500 updates with the first seed choose between them, on the error that is compared. The toolkit has a
net of the same size and its other defaults (quantiles, a linear skip, calendar features, another learning rate), so
this compares what a user gets, not the same net.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, Row, daily, etth1, finish, hourly
from kept import Kept, span, stamp

ROOT = Path(__file__).resolve().parents[1]
HORIZON = 24
Runs = list[dict[str, Any]]
Look = Callable[[dict[str, Any]], dict[str, Any] | None]
DATA = {"daily": 7, "hourly": 24, "etth1": 24}  # and the season of the naive forecast shown beside
# updates of a peer: its best error counts, with the time that one took; one short series is soon overfitted
BUDGETS = (500, 2000)
OURS = (25, 100, 400, 1600)  # updates of the toolkit: the quickest that is at the better peer's error counts
OTHER = {"neuralforecast": "recurrent", "darts": "rin"}
REPEATS = 5
TASKS = ("train", "backtest", "job", "accuracy")
RUNNERS = {
    "toolkit": (Path(sys.executable), "toolkit_runner.py"),
    "neuralforecast": (ROOT / ".venv-nf/bin/python", "neuralforecast_runner.py"),
    "darts": (ROOT / ".venv-darts/bin/python", "darts_runner.py"),
}


def run(peer: str, *, threads: int, **arguments: object) -> dict[str, Any] | None:
    """The record of one process, its wall time in it; nothing when it failed (its words go to stderr)."""
    python, script = RUNNERS[peer]
    command = [str(python), str(ROOT / "benchmarks/peers" / script)]
    for name, value in arguments.items():
        command += [f"--{name}", str(value)]
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # peers were compiled when they were installed
    if peer == "toolkit":
        env["PYTHONPATH"] = str(ROOT)
    began = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd="/tmp", check=False)
    wall = time.perf_counter() - began
    line = next((text for text in done.stdout.splitlines() if text.startswith("BENCHJSON ")), None)
    if line is None:
        print(f"{peer} {arguments} failed:\n{done.stderr[-1500:]}", file=sys.stderr)
        return None
    return {**json.loads(line.removeprefix("BENCHJSON ")), "wall_s": wall, **stamp()}


def complete(kept: Kept, asked: dict[str, Any]) -> dict[str, Any] | None:
    """What was asked, from the file or by running it now."""
    found = kept.find(asked)
    if found is None:
        found = run(**asked)
        if found is not None:
            print(f"{asked} in {found['wall_s']:.0f} s", file=sys.stderr)
            kept.keep(asked, found)
    return found


def by_seed(runs: Runs, task: str, data: str, peer: str, key: str) -> dict[int, float]:
    """One figure of every run of a task, by seed or repeat."""
    return {r["seed"]: r[key] for r in runs if (r["task"], r["data"], r["peer"]) == (task, data, peer)}


def over(runs: Runs, task: str, data: str, peer: str, key: str) -> tuple[list[float], str]:
    """The toolkit's figure over the peer's, seed by seed, rising; and both medians in words."""
    ours, theirs = by_seed(runs, task, data, "toolkit", key), by_seed(runs, task, data, peer, key)
    both = sorted(set(ours) & set(theirs))
    if not both:
        return [], ""
    middle = [statistics.median(side[seed] for seed in both) for side in (ours, theirs)]
    return sorted(ours[seed] / theirs[seed] for seed in both), f"{middle[0]:,.0f} against {middle[1]:,.0f}"


def start_up(runs: Runs, peer: str) -> Row | None:
    """From process start to a printed forecast, the toolkit's wall time over the peer's."""
    pairs, note = over(runs, "job", "daily", peer, "wall_s")
    if not pairs:
        return None
    middle, wanted = statistics.median(pairs), peer == "neuralforecast"
    text = f"process start to printed forecast (5,000 points, 10 passes) over {peer}'s"
    met = middle <= 0.2 if wanted else None
    return Row(text, "<= 0.2" if wanted else "-", middle, pairs[0], pairs[-1], met, "x", f"{note} s")


def compare(runs: Runs, task: str, data: str, peer: str, wanted: float, text: str) -> Row | None:
    """The toolkit's origins/s over the peer's."""
    pairs, note = over(runs, task, data, peer, "origins_per_s")
    if not pairs:
        return None
    middle = statistics.median(pairs)
    return Row(
        f"{text} over {peer}", f">= {wanted:g}", middle, pairs[0], pairs[-1], middle >= wanted, "x", f"{note} origins/s"
    )


def seasonal(name: str) -> float:
    """The error of the value one season ago, in the units and at the origins of the accuracy task."""
    values = {"daily": lambda: daily(5000)[None], "hourly": hourly, "etth1": etth1}[name]()
    if values is None:
        return float("nan")
    held, season = values.shape[1] // 5, DATA[name]
    origins = np.arange(values.shape[1] - held - 1, values.shape[1] - HORIZON)[:, None]
    steps = np.arange(1, HORIZON + 1)
    before = origins + steps - season * -(-steps // season)
    gaps = np.abs(values[:, origins + steps] - values[:, before]).mean((1, 2))
    return float((gaps / values[:, -held:].std(1)).mean())


def to_equal_error(runs: Runs, data: str, budget: int | None = None) -> Row | None:
    """Fit time of the quickest budget at which the toolkit is at the best peer's error, over that peer's, per seed.

    With ``budget`` the peers have that one only.
    """
    found = [r for r in runs if r["task"] == "accuracy" and r["data"] == data]
    shares, notes = [], []
    for seed in sorted({r["seed"] for r in found}):
        rivals = [r for r in found if r["seed"] == seed and r["peer"] != "toolkit"]
        rivals = [r for r in rivals if budget is None or r["asked_steps"] == budget]
        mine = [r for r in found if r["seed"] == seed and r["peer"] == "toolkit"]
        if not rivals or not mine:
            continue
        best = min(rivals, key=lambda r: r["scaled_mae"])
        reached = [r["fit_s"] for r in mine if r["scaled_mae"] <= best["scaled_mae"]]
        lowest = min(r["scaled_mae"] for r in mine)
        form = f" ({best['variant']})" if best["variant"] else ""
        notes.append(f"{lowest:.3f} against {best['peer']}'s{form} {best['scaled_mae']:.3f}")
        shares.append(min(reached) / best["fit_s"] if reached else 1e9)
    if not shares:
        return None
    shares.sort()
    middle = statistics.median(shares)
    most = "a peer reaches" if budget is None else f"a peer reaches in {budget} updates"
    text = f"fit time to the best validation error {most} ({data})"
    plural = "s" if len(shares) > 1 else ""
    note = f"{len(shares)} seed{plural}, lowest errors {'; '.join(notes)}; seasonal naive {seasonal(data):.3f}"
    wanted = budget is None
    met = middle <= 0.1 if wanted else None
    return Row(text, "<= 0.1" if wanted else "-", middle, shares[0], shares[-1], met, "x", note)


def choose_form(look: Look, peer: str, data: str, threads: int) -> str | None:
    """The form of a peer that has the lower error after 500 updates with the first seed."""
    errors = {}
    for variant in ("", OTHER[peer]):
        found = look(accuracy(peer, data, 1, BUDGETS[0], threads, variant))
        if found is not None:
            errors[variant] = found["scaled_mae"]
    return min(errors, key=errors.__getitem__) if errors else None


def accuracy(peer: str, data: str, seed: int, steps: int, threads: int, variant: str = "") -> dict[str, Any]:
    """One run of the accuracy task."""
    asked = {"peer": peer, "task": "accuracy", "data": data, "seed": seed, "steps": steps, "threads": threads}
    return {**asked, "variant": variant} if variant else asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--table", action="store_true", help="run nothing: the table of what has been run")
    parser.add_argument("--fresh", action="store_true", help="run again what is asked for")
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA), help="of the accuracy task")
    options = parser.parse_args()
    if options.table and options.fresh:
        parser.error("--table runs nothing, so --fresh leaves nothing to show")
    present = [name for name, (python, _) in RUNNERS.items() if options.table or python.exists()]
    for name in RUNNERS:
        if name not in present:
            print(f"{name} is not installed: make bench-peers", file=sys.stderr)
    kept = Kept(RESULTS / "peers_runs.json", fresh=options.fresh)
    others = [name for name in present if name != "toolkit"]
    asked: list[dict[str, Any]] = []
    for repeat in range(1, options.repeats + 1):
        for task, data in (("train", "daily"), ("train", "hourly"), ("backtest", "daily"), ("job", "daily")):
            if task in options.tasks:
                asked += [{"peer": peer, "task": task, "data": data, "seed": repeat} for peer in present]
    look: Look = kept.find if options.table else functools.partial(complete, kept)
    runs = [found for each in asked if (found := look({**each, "threads": options.threads})) is not None]
    for data in options.data if "accuracy" in options.tasks else ():
        forms = {peer: choose_form(look, peer, data, options.threads) for peer in others}
        for seed in (1, 2, 3):
            for peer, form in {**forms, "toolkit": ""}.items():
                for steps in OURS if peer == "toolkit" else BUDGETS:
                    found = form is not None and look(accuracy(peer, data, seed, steps, options.threads, form))
                    if found:
                        runs.append({**found, "variant": form, "asked_steps": steps})
    kept.tell()
    rows = [
        compare(runs, "train", data, peer, 80, f"training, {data} data, origins/s")
        for data in ("daily", "hourly")
        for peer in others
    ]
    rows += [
        compare(runs, "backtest", "daily", peer, {"darts": 20, "neuralforecast": 5}[peer], "backtest of 2,000 origins")
        for peer in others
    ]
    rows += [start_up(runs, peer) for peer in others]
    for data in options.data:
        rows += [to_equal_error(runs, data), to_equal_error(runs, data, BUDGETS[0])]
    whole = set(options.tasks) == set(TASKS) and set(options.data) == set(DATA) and options.repeats >= REPEATS
    details = {"threads": options.threads, "runs": span(list(kept.asked.values()))}
    finish("peers", [row for row in rows if row is not None], details, keep=whole)


if __name__ == "__main__":
    main()
