"""This toolkit against NeuralForecast and Darts in their own environments (`make bench-peers` makes them).

One process at a time, the three in turn, so that a slow minute hits all. Every process is kept in
results/peers_runs.json as soon as it ends, so that an interrupted comparison goes on where it was (``--fresh`` begins
anew); the table goes to results/peers.json. Peers that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import RESULTS, Row, finish
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
RUNS = RESULTS / "peers_runs.json"
# updates a peer is given: its better error counts, with the time that one took; one short series is soon overfitted
BUDGETS = {"daily": (500, 2000), "hourly": (2000,), "etth1": (2000,)}
RUNNERS = {
    "toolkit": (Path(sys.executable), "toolkit_runner.py"),
    "neuralforecast": (ROOT / ".venv-nf/bin/python", "neuralforecast_runner.py"),
    "darts": (ROOT / ".venv-darts/bin/python", "darts_runner.py"),
}


def run(peer: str, threads: int, **arguments: object) -> dict[str, Any] | None:
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
    return {**json.loads(line.removeprefix("BENCHJSON ")), "wall_s": wall}


def kept() -> dict[str, dict[str, Any]]:
    """What has been run, by what was asked."""
    found: dict[str, dict[str, Any]] = json.loads(RUNS.read_text("utf-8")) if RUNS.is_file() else {}
    return found


def complete(asked: dict[str, Any], threads: int) -> None:
    """Run what was asked unless that is done, and keep what it says."""
    key = json.dumps({**asked, "threads": threads}, sort_keys=True)
    if key in kept():
        return
    found = run(threads=threads, **asked)
    if found is None:
        return
    print(f"{key} in {found['wall_s']:.0f} s", file=sys.stderr)
    RESULTS.mkdir(exist_ok=True)
    with FileLock(f"{RUNS}.lock"):  # another process may compare other data meanwhile
        RUNS.write_text(json.dumps({**kept(), key: found}, indent=1) + "\n", "utf-8")


def speeds(runs: list[dict[str, Any]], task: str, data: str, peer: str, key: str = "origins_per_s") -> list[float]:
    return [r[key] for r in runs if (r["task"], r["data"], r["peer"]) == (task, data, peer)]


def start_up(runs: list[dict[str, Any]], peer: str) -> Row | None:
    """From process start to a printed forecast, the toolkit's wall time over the peer's, pair by pair."""
    ours, theirs = speeds(runs, "job", "daily", "toolkit", "wall_s"), speeds(runs, "job", "daily", peer, "wall_s")
    if not ours or not theirs:
        return None
    pairs = sorted(a / b for a, b in zip(ours, theirs, strict=False))
    middle, wanted = statistics.median(pairs), peer == "neuralforecast"
    text = f"process start to printed forecast (5,000 points, 10 passes) over {peer}'s"
    note = f"{statistics.median(ours):.1f} s against {statistics.median(theirs):.1f} s"
    return Row(
        text, "<= 0.2" if wanted else "-", middle, pairs[0], pairs[-1], middle <= 0.2 if wanted else None, "x", note
    )


def compare(runs: list[dict[str, Any]], task: str, data: str, peer: str, wanted: float, text: str) -> Row | None:
    ours, theirs = speeds(runs, task, data, "toolkit"), speeds(runs, task, data, peer)
    if not ours or not theirs:
        return None
    pairs = sorted(a / b for a, b in zip(ours, theirs, strict=False))
    middle = statistics.median(pairs)
    note = f"{statistics.median(ours):,.0f} against {statistics.median(theirs):,.0f} origins/s"
    return Row(f"{text} over {peer}", f">= {wanted:g}", middle, pairs[0], pairs[-1], middle >= wanted, "x", note)


def to_equal_error(runs: list[dict[str, Any]], data: str) -> Row | None:
    """Wall time until the toolkit is at the best peer's error, over that peer's, per seed."""
    shares = []
    for mine in (r for r in runs if r["peer"] == "toolkit" and r["task"] == "accuracy" and r["data"] == data):
        rivals = [
            r for r in runs
            if r["peer"] != "toolkit" and r["task"] == "accuracy" and (r["data"], r["seed"]) == (data, mine["seed"])
        ]  # fmt: skip
        if not rivals:
            continue
        best = min(rivals, key=lambda r: r["scaled_mae"])
        reached = [seconds for seconds, error in mine["curve"] if error <= best["scaled_mae"]]
        shares.append(min(reached) / best["fit_s"] if reached else float("inf"))
    if not shares:
        return None
    shares.sort()
    middle = statistics.median(shares)
    text = f"fit time to the best validation error a peer reaches ({data})"
    return Row(text, "<= 0.1", middle, shares[0], shares[-1], middle <= 0.1, "x", f"{len(shares)} seeds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", default=["train", "backtest", "job", "accuracy"])
    parser.add_argument("--fresh", action="store_true", help="forget what was run before")
    parser.add_argument("--data", nargs="+", default=["daily", "hourly", "etth1"], help="of the accuracy task")
    options = parser.parse_args()
    present = [name for name, (python, _) in RUNNERS.items() if python.exists()]
    for name in RUNNERS:
        if name not in present:
            print(f"{name} is not installed: make bench-peers", file=sys.stderr)
    if options.fresh:
        RUNS.unlink(missing_ok=True)
    others = [name for name in present if name != "toolkit"]
    asked: list[dict[str, Any]] = []
    for repeat in range(1, options.repeats + 1):
        for task, data in (("train", "daily"), ("train", "hourly"), ("backtest", "daily"), ("job", "daily")):
            if task in options.tasks:
                asked += [{"peer": peer, "task": task, "data": data, "seed": repeat} for peer in present]
    if "accuracy" in options.tasks:
        for data in options.data:
            for seed in (1, 2, 3):
                one = {"task": "accuracy", "data": data, "seed": seed}
                asked += [{"peer": peer, **one, "steps": steps} for steps in BUDGETS[data] for peer in others]
                asked += [{"peer": "toolkit", **one}]
    for each in asked:
        complete(each, options.threads)
    runs = sorted(
        (each for each in kept().values() if each["threads"] == options.threads), key=lambda each: int(each["seed"])
    )
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
    rows += [to_equal_error(runs, data) for data in options.data]
    finish("peers", [row for row in rows if row is not None], {"threads": options.threads})


if __name__ == "__main__":
    main()
