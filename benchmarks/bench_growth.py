"""Growth: time per pass against the number of points and of series, as the exponent of a fitted power law.

A pass is what `forecast.fit` repeats: a new plan, batches cut from resident arrays, one update each. Sizes double the
work per lane only where there is enough of it, so the smallest size already fills every lane. Preparing the data
(pipeline fitted and run) is timed beside it.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from bench_step import CPU, Job
from common import Row, asked_for_all, daily, finish, hourly, panel, peak_mb

from forecast.data import Bundle
from forecast.module import ForecastModule, WeightAverage
from forecast.tensors import device_chunks

SETTINGS = {"horizon": 8, "hidden": 32, "lanes": 64, "k1": 64, "head": "point", "skip": 0, "kind": "sensor"}


def one_pass(job: Job, module: ForecastModule, optimizer: torch.optim.Optimizer) -> float:
    """Seconds of one pass over the training rows."""
    began = time.perf_counter()
    chunks = device_chunks(job.stream().plan(), CPU)
    module._state = None
    weights = list(module.network.parameters())
    for low in range(0, len(chunks), 64):
        for batch in Bundle(job.source, chunks[low : low + 64]):
            loss = module.chunk_loss(batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
    return time.perf_counter() - began


def measure(values: np.ndarray, freq: str, repeats: int) -> dict[str, float]:  # type: ignore[type-arg]
    began = time.perf_counter()
    job = Job(panel(values, freq), **SETTINGS)
    prepared = time.perf_counter() - began
    net = job.network()
    module = ForecastModule(net, job.config, WeightAverage(net, 0.99))
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    times = [one_pass(job, module, optimizer) for _ in range(repeats)]
    return {
        "size": float(values.size), "pass_s": statistics.median(times[1:] or times), "prepare_s": prepared,
        "peak_mb": peak_mb(), "points_per_s": values.size / statistics.median(times[1:] or times),
    }  # fmt: skip


def exponent(runs: list[dict[str, float]], key: str = "pass_s") -> float:
    """Slope of log time over log size."""
    return float(np.polyfit(np.log([run["size"] for run in runs]), np.log([run[key] for run in runs]), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="not to 1e7 points and 10,000 series (ten minutes, 6 GB)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows, details = [], {}
    points = [30_000, 100_000, 300_000, 1_000_000] + ([] if options.quick else [3_000_000, 10_000_000])
    counts = [100, 300, 1000] + ([] if options.quick else [3000, 10_000])
    for name, runs in {
        "points of one series": [measure(daily(n), "D", options.repeats if n < 3e6 else 2) for n in points],
        "series of 1,000 points": [measure(hourly(n, 1000), "h", options.repeats if n < 2e3 else 2) for n in counts],
    }.items():
        slope = exponent(runs)
        steps = [exponent(runs[i : i + 2]) for i in range(len(runs) - 1)]
        last = runs[-1]
        peak = f", peak {last['peak_mb']:.0f} MB" if name == "points of one series" else ""  # of the process so far
        note = (
            f"{runs[0]['size']:.0e} to {last['size']:.0e} points; at the end {last['points_per_s']:,.0f} points/s, "
            f"prepared in {last['prepare_s']:.1f} s{peak}"
        )
        rows.append(
            Row(
                f"exponent of time per pass in the {name}",
                "<= 1.1",
                slope,
                min(steps),
                max(steps),
                slope <= 1.1,
                "",
                note,
            )
        )
        each = [exponent(runs[i : i + 2], "prepare_s") for i in range(len(runs) - 1)]
        text = f"exponent of preparing the data in the {name}"
        rows.append(Row(text, "-", exponent(runs, "prepare_s"), min(each), max(each), None, ""))
        details[name] = runs
    details |= {"threads": options.threads, "settings": SETTINGS}
    finish("growth", rows, details, keep=asked_for_all(parser, options))


if __name__ == "__main__":
    main()
