"""Time a training step of our GRU against torch's LSTM and GRU: ``python -m benchmarks.gru_kernel``.

One step is forward and backward of two layers, hidden 64, 64 steps, on a fixed batch. All nets are timed in
turn within one process, so a slow moment of the machine meets them alike; a ratio is the median over the
rounds of (ours / other in the same round), its spread the quartiles. The target is at most 0.90 of the LSTM.
Each number of threads runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TARGET = 0.90


def measure(
    threads: int, batches: list[int], rounds: int, hidden: int, layers: int, steps: int
) -> list[dict[str, Any]]:
    import torch
    from torch import nn

    from forecast.nn.gru import GRU

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    rows = []
    for batch in batches:
        nets = {"lstm": nn.LSTM, "torch gru": nn.GRU, "ours": GRU}
        built = {name: kind(8, hidden, layers, batch_first=True) for name, kind in nets.items()}
        x = torch.randn(batch, steps, 8)
        times: dict[str, list[float]] = {name: [] for name in built}
        for turn in range(rounds + 3):
            for name, net in built.items():
                start = time.perf_counter()
                net(x)[0].square().mean().backward()
                net.zero_grad(set_to_none=True)
                if turn >= 3:
                    times[name].append(time.perf_counter() - start)
        row: dict[str, Any] = {"threads": threads, "batch": batch}
        for name, values in times.items():
            row[f"{name} ms"] = round(1e3 * statistics.median(values), 2)
            row[f"{name} best ms"] = round(1e3 * min(values), 2)
        for other in ("lstm", "torch gru"):
            ratios = [ours / theirs for ours, theirs in zip(times["ours"], times[other], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            row[f"ratio to {other}"] = [round(low, 3), round(middle, 3), round(high, 3)]
            row[f"best to best, {other}"] = round(min(times["ours"]) / min(times[other]), 3)
        row["met"] = row["ratio to lstm"][1] <= TARGET
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| threads | batch | lstm ms | torch gru ms | ours ms | ours / lstm (quartiles) | best to best "
        "| ours / torch gru | met |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, middle, high = row["ratio to lstm"]
        lines.append(
            f"| {row['threads']} | {row['batch']} | {row['lstm ms']} | {row['torch gru ms']} | {row['ours ms']} "
            f"| {middle:.2f} ({low:.2f} to {high:.2f}) | {row['best to best, lstm']:.2f} "
            f"| {row['ratio to torch gru'][1]:.2f} | {'yes' if row['met'] else 'no'} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = (args.rounds, args.hidden, args.layers, args.steps)
    if args.worker:
        print(json.dumps(measure(args.threads[0], args.batch, *sizes)))
        return
    rows = []
    for threads in args.threads:
        command = [sys.executable, "-m", "benchmarks.gru_kernel", "--worker", "--threads", str(threads)]
        command += ["--batch", *map(str, args.batch)]
        for name in ("rounds", "hidden", "layers", "steps"):
            command += [f"--{name}", str(getattr(args, name))]
        env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        root = Path(__file__).resolve().parent.parent
        done = subprocess.run(command, env=env, cwd=root, capture_output=True, text=True, check=True)
        rows += json.loads(done.stdout)
    from importlib.metadata import version

    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{args.layers} layers, hidden {args.hidden}, {args.steps} steps; torch {version('torch')}; {machine}")
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "torch": version("torch"), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
