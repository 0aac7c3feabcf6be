"""Two workers of one thread each against one worker of two threads and one of one, on trials of a study.

    python benchmarks/bench_workers.py [--repeats 5] [--trials 4]

Three processes are started once, prepare the folds of one study and warm up: two with one thread, one with two. Then,
in turn, the first two run half of the trials each at the same time, the third runs all of them, and the first runs all
of them alone; what counts is the time until the last is done. Start-up is left out: a worker pays it once (a few
seconds), a study has many trials. Trials are those of the default configuration (LSTM of 64, three folds) with fewer
updates, on a price path of 2,000 days. On a machine that is busy with other work the figures mean nothing: look at the
load in the result.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import Any

from common import Row, asked_for_all, finish, interleave, ratio

UPDATES, POINTS = 200, 2000


class Worker:
    """A process that runs as many trials as it is told."""

    def __init__(self, threads: int) -> None:
        command = [sys.executable, __file__, "--worker", str(threads)]
        env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.wait()

    def begin(self, trials: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{trials}\n")
        self.process.stdin.flush()

    def wait(self) -> None:
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "done\n":
            raise SystemExit("a worker failed")

    def end(self) -> None:
        self.process.communicate()


def work(threads: int) -> None:
    import optuna
    import torch
    from bench_verdicts import prices

    from forecast.config import Config
    from forecast.objective import Sealed, WalkForward
    from forecast.space import make_space

    torch.set_num_threads(threads)
    base = Config.make(None, updates=UPDATES, threads=threads)
    space = make_space(base, {"lr": {"low": 1e-3, "high": 1e-2, "log": True}}, only=True)
    walked = WalkForward(Sealed.cut(prices("ar1", 0, POINTS), POINTS // 5), space, folds=3)

    def run(trials: int) -> None:
        for _ in range(trials):
            trial: Any = optuna.trial.FixedTrial({"train.lr": 2e-3})
            walked(trial)

    run(1)
    print("done", flush=True)
    for line in sys.stdin:
        run(int(line))
        print("done", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker)
        return
    if given.trials % 2:
        parser.error("--trials must be even: two workers share them")
    pair, alone = [Worker(1), Worker(1)], [Worker(2)]

    def together(workers: list[Worker]) -> None:
        for worker in workers:
            worker.begin(given.trials // len(workers))
        for worker in workers:
            worker.wait()

    took = interleave(
        {"two workers": lambda: together(pair), "one worker": lambda: together(alone),
         "one thread": lambda: together(pair[:1])}, given.repeats, warm=0,
    )  # fmt: skip
    for worker in pair + alone:
        worker.end()
    rows = []
    for side, text in (("one worker", "one two-thread worker"), ("one thread", "one one-thread worker")):
        middle, low, high = ratio(took["two workers"], took[side])
        note = f"{given.trials} trials: {took['two workers'].median:.1f} s against {took[side].median:.1f} s"
        rows.append(Row(f"two one-thread workers / {text}", "< 1", middle, low, high, middle < 1, "x", note))
    seconds = {name: timing.seconds for name, timing in took.items()}
    details = {"threads": "1 + 1 against 2 and 1", "seconds": seconds}
    finish("workers", rows, details, keep=asked_for_all(parser, given))


if __name__ == "__main__":
    main()
