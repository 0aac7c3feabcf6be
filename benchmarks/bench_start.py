"""From process start to a printed forecast: the 5,000-point job of ../shared/bench, imports, and peak memory.

The job: LSTM 2x64, 10 passes over 5,000 daily points, horizon 24. Peers' wall times come from results/peers.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from common import RESULTS, Row, daily, finish

JOB = "LSTM 2x64, 10 passes over 5,000 points, horizon 24"
PEAK = "\nprint([int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"


def run(command: list[str], threads: int) -> tuple[float, float, str]:
    """(wall seconds, peak MB, stdout) of a fresh process."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True) as process:
        peak = 0.0
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            try:
                lines = status.read_text("utf-8").splitlines()
            except OSError:
                break
            peak = max([peak, *(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))])
            time.sleep(0.02)
        out, err = process.communicate()
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{err[-2000:]}")
    return seconds, peak, out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    python = sys.executable
    forecast = [python, "-m", "forecast"]
    settings = ["model.layers=2", "model.hidden=64", "model.head=point", "model.skip=0", "train.patience=1000"]
    rows, times = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stamps = pd.date_range("2005-01-01", periods=5000, freq="D")
        pd.DataFrame({"time": stamps, "value": daily(5000)}).to_csv(folder / "daily.csv", index=False)
        source = ["--csv", str(folder / "daily.csv"), "--time", "time", "--target", "value"]
        fit = [*forecast, "fit", *source, "--horizon", "24", "--epochs", "10"]
        fit += [part for setting in settings for part in ("--set", setting)]
        commands = {
            "torch": [python, "-c", "import torch" + PEAK],
            "lightning": [python, "-c", "import torch, pytorch_lightning" + PEAK],
            "pipelines": [python, "-c", "import pipelines; pipelines.Panel"],
            "model": [python, "-c", "import forecast; forecast.Model"],
            "train": [python, "-c", "import forecast.train"],
            "help": [*forecast, "--help"],
        }
        seconds: dict[str, list[float]] = {key: [] for key in (*commands, "fit", "predict")}
        peaks: dict[str, list[float]] = {key: [] for key in seconds}
        for i in range(options.repeats + 1):
            target = folder / f"run{i}"
            each = {**commands, "fit": [*fit, "--out", str(target)], "predict": [*forecast, "predict", str(target)]}
            for key, command in each.items():
                took, peak, out = run(command, options.threads)
                if i:  # the first round warms the disk cache
                    seconds[key].append(took)
                    peaks[key].append(peak if key not in ("torch", "lightning") else int(out.split()[-1]) / 1024)
        loaded = run([python, "-X", "importtime", "-c", _predict(folder / "run0")], options.threads)[2]
    times = {key: statistics.median(values) for key, values in seconds.items()}
    extra = [a - b for a, b in zip(peaks["fit"], peaks["lightning"], strict=True)]
    middle = statistics.median(extra)
    path = RESULTS / "peers.json"
    peers = json.loads(path.read_text("utf-8"))["details"].get("runs", []) if path.is_file() else []
    for peer in ("neuralforecast", "darts"):
        theirs = [run_["wall_s"] for run_ in peers if run_["task"] == "job" and run_["peer"] == peer]
        if theirs:
            ratios = sorted(mine / statistics.median(theirs) for mine in seconds["fit"])
            share = statistics.median(ratios)
            wanted = "<= 0.2" if peer == "neuralforecast" else "-"
            met = share <= 0.2 if peer == "neuralforecast" else None
            rows.append(
                Row(
                    f"process start to printed forecast, over {peer}'s ({JOB})",
                    wanted,
                    share,
                    ratios[0],
                    ratios[-1],
                    met,
                    "x",
                    f"{times['fit']:.1f} s against {statistics.median(theirs):.1f} s",
                )
            )
    rows += [
        Row(
            f"process start to printed forecast ({JOB})",
            "-",
            times["fit"],
            min(seconds["fit"]),
            max(seconds["fit"]),
            None,
            "s",
        ),
        Row(
            "forecast predict on a saved run, start to printed forecast",
            "-",
            times["predict"],
            min(seconds["predict"]),
            max(seconds["predict"]),
            None,
            "s",
        ),
        Row(
            "modules of Lightning that forecast predict loads",
            "0",
            float(loaded.strip().splitlines()[-1]),
            0,
            0,
            loaded.strip().splitlines()[-1] == "0",
            "",
        ),
        Row(
            "forecast --help / import torch",
            "< 1",
            times["help"] / times["torch"],
            min(seconds["help"]) / times["torch"],
            max(seconds["help"]) / times["torch"],
            times["help"] < times["torch"],
            "x",
            f"{times['help']:.2f} s against {times['torch']:.2f} s",
        ),
        Row(
            "peak memory of the job above `import torch, pytorch_lightning`",
            "<= 150",
            middle,
            min(extra),
            max(extra),
            middle <= 150,
            "MB",
            f"{statistics.median(peaks['fit']):.0f} MB in all",
        ),
    ]
    for key in ("torch", "lightning", "pipelines", "model", "train"):
        rows.append(
            Row(
                f"import: {commands[key][2].split(chr(10))[0]}",
                "-",
                times[key],
                min(seconds[key]),
                max(seconds[key]),
                None,
                "s",
            )
        )
    finish("start", rows, {"threads": options.threads, "seconds": seconds, "peaks_mb": peaks})


def _predict(run_folder: Path) -> str:
    return (
        "import sys, contextlib, io\n"
        "from forecast.cli import app\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    app(['predict', {str(run_folder)!r}])\n"
        "print(sum(name.split('.')[0] in ('pytorch_lightning', 'lightning', 'lightning_fabric', 'torchmetrics')"
        " for name in sys.modules))"
    )


if __name__ == "__main__":
    main()
