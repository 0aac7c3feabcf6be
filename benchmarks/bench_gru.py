"""A training step of our GRU against torch's LSTM and GRU.

One step is forward and backward of two layers, hidden 64, 64 steps, on a fixed batch. All nets are timed in
turn within one process, so a slow moment of the machine meets them alike; a ratio is the median over the
rounds of (ours / other in the same round), its spread the quartiles. The target is at most 0.90 of the LSTM.
Each number of threads runs in a process of its own.
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

from common import Row, asked_for_all, finish

TARGET = 0.90


def measure(
    threads: int, batches: list[int], rounds: int, hidden: int, layers: int, steps: int
) -> list[dict[str, Any]]:
    import torch
    from torch import nn

    from forecast.heap import keep_freed
    from forecast.nn.gru import GRU

    torch.set_num_threads(threads)
    keep_freed()  # as in training: the LSTM gains more by it
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = (args.rounds, args.hidden, args.layers, args.steps)
    if args.worker:
        print(json.dumps(measure(args.threads[0], args.batch, *sizes)))
        return
    found: list[dict[str, Any]] = []
    root = Path(__file__).resolve().parent
    for threads in args.threads:
        command = [sys.executable, __file__, "--worker", "--threads", str(threads)]
        command += ["--batch", *map(str, args.batch)]
        for name in ("rounds", "hidden", "layers", "steps"):
            command += [f"--{name}", str(getattr(args, name))]
        env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, env=env, cwd=root, capture_output=True, text=True, check=True)
        found += json.loads(done.stdout)
    rows = []
    for each in found:
        low, middle, high = each["ratio to lstm"]
        note = f"{each['ours ms']} ms, LSTM {each['lstm ms']}, torch's GRU {each['torch gru ms']}; spread: quartiles"
        text = f"GRU step / LSTM step ({args.layers} x {args.hidden}, batch {each['batch']}, threads {each['threads']})"
        rows.append(Row(text, f"<= {TARGET}", middle, low, high, each["met"], "x", note))
    details = {"threads": args.threads, "rounds": args.rounds, "steps": args.steps, "found": found}
    finish("gru", rows, details, keep=asked_for_all(parser, args))


if __name__ == "__main__":
    main()
