"""From process start to a printed forecast: the 5,000-point job of ../shared/bench, imports, and peak memory.

The job: LSTM 2x64, 10 passes over 5,000 daily points, horizon 24. `benchmarks/peers.py` sets it beside the peers'.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from common import Row, asked_for_all, daily, finish

JOB = "LSTM 2x64, 10 passes over 5,000 points, horizon 24"
PEAK = "\nprint([int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"


def run(command: list[str], threads: int) -> tuple[float, float, str]:
    """(wall seconds, peak MB, stdout) of a fresh process."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed toolkit is compiled
    # files, not pipes: a pipe that nobody reads while the peak is watched would stop the process when it is full
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=env)
        peak = 0.0
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            try:
                lines = status.read_text("utf-8").splitlines()
            except OSError:
                break
            peak = max([peak, *(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))])
            time.sleep(0.02)
        process.wait()
        seconds = time.perf_counter() - began
        out.seek(0)
        err.seek(0)
        text, words = out.read(), err.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{words[-2000:]}")
    return seconds, peak, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    python = sys.executable
    forecast = [python, "-m", "forecast"]
    settings = ["model.layers=2", "model.hidden=64", "model.head=point", "model.skip=0", "train.patience=1000"]
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
            "library": [python, "-c", _library(folder / "daily.csv") + PEAK],
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
                    peaks[key].append(
                        peak if key not in ("torch", "lightning", "library") else int(out.split()[-1]) / 1024
                    )
        loaded = run([python, "-c", _predict(folder / "run0")], options.threads)[2]
    times = {key: statistics.median(values) for key, values in seconds.items()}
    extra = {key: [a - b for a, b in zip(peaks[key], peaks["lightning"], strict=True)] for key in ("library", "fit")}
    rows = [
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
    ]
    for key, what in (
        ("library", "the job by `forecast.fit` and `predict`"),
        ("fit", "the job by the command, with scores, plot and page"),
    ):
        middle = statistics.median(extra[key])
        text = f"peak memory above `import torch, pytorch_lightning`: {what}"
        note = f"{statistics.median(peaks[key]):.0f} MB in all"
        rows.append(Row(text, "<= 150", middle, min(extra[key]), max(extra[key]), middle <= 150, "MB", note))
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
    details = {"threads": options.threads, "seconds": seconds, "peaks_mb": peaks}
    finish("start", rows, details, keep=asked_for_all(parser, options))


def _library(file: Path) -> str:
    return (
        "import forecast, pipelines\n"
        f"panel = pipelines.read_csv({str(file)!r}, time='time', target='value')\n"
        "model = forecast.fit(panel, horizon=24, epochs=10, layers=2, hidden=64, head='point', skip=0, patience=1000)\n"
        "forecasts = str(model.predict())\n"
    )


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
