"""What the benchmarks share: data, interleaved timing, the record of machine and versions, one JSON per script."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

RESULTS = Path(__file__).parent / "results"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SEED = 20240607


@dataclass
class Row:
    """One line of the table: a target of the issues and what was measured."""

    target: str
    wanted: str
    measured: float
    low: float
    high: float
    met: bool | None  # None: nothing to compare with here
    unit: str = "x"
    note: str = ""


@dataclass
class Timing:
    """Repeats of one side, in seconds."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def interleave(sides: dict[str, Callable[[], object]], repeats: int = 7, warm: int = 1) -> dict[str, Timing]:
    """Time every side in turn, ``repeats`` times round, so that a slow minute of the machine hits all alike."""
    for _ in range(warm):
        for run in sides.values():
            run()
    out = {name: Timing() for name in sides}
    for i in range(repeats):
        for name in list(sides)[:: 1 if i % 2 else -1]:
            began = time.perf_counter()
            sides[name]()
            out[name].seconds.append(time.perf_counter() - began)
    return out


def ratio(top: Timing, bottom: Timing) -> tuple[float, float, float]:
    """Median, lowest and highest of ``top / bottom``, pair by pair."""
    pairs = [a / b for a, b in zip(top.seconds, bottom.seconds, strict=True)]
    return statistics.median(pairs), min(pairs), max(pairs)


def machine() -> dict[str, Any]:
    """The machine, its load and the versions that decide the figures."""
    versions = {}
    for name in ("torch", "pytorch-lightning", "numpy", "pandas", "forecast-toolkit"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    return {
        "cpu": model or platform.processor(), "cores": os.cpu_count(), "load": list(os.getloadavg()),
        "python": platform.python_version(), "system": platform.system(), "versions": versions, "commit": commit(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip


def asked_for_all(parser: argparse.ArgumentParser, options: argparse.Namespace) -> bool:
    """Whether this is the whole benchmark: no option changed but how many threads or processes it takes."""
    return all(
        getattr(options, name) == parser.get_default(name) for name in vars(options) if name not in ("threads", "jobs")
    )


def commit() -> str:
    """The code that is measured: short hash of the commit, with a + if something was changed since."""
    root = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    try:
        changed = git(
            "status", "--porcelain", "--untracked-files=no", "forecast", "pipelines", "datasets", "benchmarks/*.py"
        )
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "") or "unknown"
    except OSError:  # no git
        return "unknown"


def finish(name: str, rows: list[Row], details: dict[str, Any], keep: bool = True) -> None:
    """Print the rows and keep them, with ``details``, as ``results/<name>.json``, unless they are but a part.

    Rows that lie there and were not measured now are not lost: then nothing is written, and stderr says so.
    """
    document = {"name": name, "machine": machine(), "rows": [asdict(row) for row in rows], "details": details}
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text("utf-8"))["rows"] if path.is_file() else []
    lost = {row["target"] for row in before} - {row.target for row in rows}
    if keep and not lost:
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    else:
        why = f"{len(lost)} of its rows were not measured now" if lost else "this is not the whole benchmark"
        print(f"{path} stays as it was: {why}. To begin anew, delete it and measure all.", file=sys.stderr)
    print(table(document["rows"]))


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as a Markdown table."""
    lines = ["| target | wanted | measured | spread | met |", "|---|---|---|---|---|"]
    for row in rows:
        met = {True: "yes", False: "NO", None: "-"}[row["met"]]
        spread = f"{row['low']:.3g} to {row['high']:.3g}" if row["low"] < row["high"] else "-"
        note = f"; {row['note']}" if row["note"] else ""
        measured = f"{row['measured']:.4g} {row['unit']}".strip()
        lines.append(f"| {row['target']}{note} | {row['wanted']} | {measured} | {spread} | {met} |")
    return "\n".join(lines)


def peak_mb() -> float:
    """Highest resident memory of this process so far, in MB."""
    return next(int(line.split()[1]) / 1024 for line in _lines("/proc/self/status") if line.startswith("VmHWM"))


def daily(points: int = 5000, seed: int = SEED) -> np.ndarray[Any, Any]:
    """Random walk with a week, a year and noise: the series of ``../shared/bench``."""
    r = np.random.default_rng(seed)
    t = np.arange(points)
    week = np.array([0.0, 0.6, 1.0, 1.2, 2.0, -2.2, -2.6])
    walk = np.cumsum(r.normal(0, 0.25, points))
    return 100 + walk + 1.5 * week[t % 7] + 6 * np.sin(2 * np.pi * t / 365.25) + r.normal(0, 1.0, points)


def hourly(series: int = 100, points: int = 2000, seed: int = SEED + 1) -> np.ndarray[Any, Any]:
    """``[series, points]``: own level, day, week, slow walk and noise."""
    r = np.random.default_rng(seed)
    t = np.arange(points)
    level = r.uniform(20, 200, (series, 1))
    phase = r.uniform(0, 2 * np.pi, (series, 1))
    day, week = r.uniform(0.1, 0.3, (series, 1)), r.uniform(0.02, 0.1, (series, 1))
    walk = np.cumsum(r.normal(0, 0.004, (series, points)), axis=1)
    shape = day * np.sin(2 * np.pi * t / 24 + phase) + 0.4 * day * np.sin(4 * np.pi * t / 24 + 2 * phase)
    return level * (1 + shape + week * np.sin(2 * np.pi * t / 168 + phase) + walk + r.normal(0, 0.04, (series, points)))


def panel(values: np.ndarray[Any, Any], freq: str = "D") -> Any:
    """A :class:`pipelines.Panel` of ``values [T]`` or ``[S, T]``."""
    from pipelines import Panel
    from pipelines.grid import Grid

    table_ = np.atleast_2d(values)
    count, points = table_.shape
    start = "2005-01-01" if points < 60_000 else "1700-01-01"
    stamps = pd.date_range(start, periods=points, freq=freq if points < 60_000 else "min", unit="s")
    names = pd.Categorical.from_codes(np.repeat(np.arange(count), points), [f"s{i:05d}" for i in range(count)])
    frame = pd.DataFrame({"unique_id": names, "ds": np.tile(stamps.to_numpy(), count), "y": table_.reshape(-1)})
    return Panel(frame, Grid(freq if points < 60_000 else "min"))


def etth1() -> np.ndarray[Any, Any] | None:
    """``[7, 14400]`` the usual span of ETTh1, where ../shared/data has it."""
    path = SHARED / "sensors" / "ETTh1.csv"
    if not path.is_file():
        return None
    return pd.read_csv(path).drop(columns="date").to_numpy(np.float64)[:14400].T


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("utf-8").splitlines()
    except OSError:
        return []
