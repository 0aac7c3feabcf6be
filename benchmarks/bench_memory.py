"""Long memory: a marked value is due 100 rows later, and nothing but memory tells it (see forecast/long_memory.py).

A plain RNN, an LSTM and a GRU through ``forecast.fit``: same rows, same updates, same width, learning rates chosen on
a seed of their own by the stop loss, then three seeds for data and weights. Success is a number: the share of the
variance of what is due that is explained on the holdout span, above 0.9; failure is below 0.1. The gated nets begin
with open gates (``model.init=chrono``, arXiv 1804.11188); how they do without, and what identity weights do for a
ReLU net, is printed beside. ``forecast diagnose`` says of each how far its gradients reach, before training and after.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from common import Row, asked_for_all, finish

from forecast.config import Config
from forecast.diagnose import examine, watched_fit
from forecast.long_memory import delayed_recall, explained, recall_settings

RATES = (1e-3, 5e-3)
TUNING_SEED = 1000
CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn": ("below 0.1", {"core": "rnn"}),
    "lstm": ("above 0.9", {"core": "lstm", "init": "chrono"}),
    "gru": ("above 0.9", {"core": "gru", "init": "chrono"}),
}
BESIDE: dict[str, dict[str, Any]] = {
    "rnn, torch's weights": {"core": "rnn", "init": "torch"},
    "relu, identity weights": {"core": "rnn-relu", "init": "identity"},
    "lstm, gates half open": {"core": "lstm"},
    "gru, gates half open": {"core": "gru"},
}


def once(delay: int, updates: int, seed: int, lr: float, settings: dict[str, Any]) -> dict[str, Any]:
    """One fit on a series of its own, what it explains, and what diagnose says of it."""
    panel = delayed_recall(delay, seed=seed)
    config = Config.make(recall_settings(delay), updates=updates, lr=lr, seed=seed, threads=1, **settings)
    began = time.perf_counter()
    model, training = watched_fit(panel, config)
    seconds = time.perf_counter() - began
    found = examine(model, training)
    return {
        "seed": seed, "lr": lr, "explained": explained(model, panel), "seconds": seconds,
        "stop_loss": model.facts["training"]["best_stop_loss"], "updates": model.facts["training"]["updates"],
        "reach": found.reach, "reach_before": found.begin.reach, "k2": found.steps,
        "clipped": None if training is None else training.clipped, "text": found.text, "notes": found.notes,
    }  # fmt: skip


def rate(delay: int, updates: int, settings: dict[str, Any]) -> float:
    """The learning rate with the lowest stop loss on the tuning seed."""
    losses = {lr: once(delay, updates, TUNING_SEED, lr, settings)["stop_loss"] for lr in RATES}
    return min(losses, key=lambda lr: losses[lr])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=int, default=100)
    parser.add_argument("--updates", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows, details = [], {"threads": 1, "delay": asked.delay, "updates": asked.updates, "runs": {}}
    chosen: dict[str, float] = {}
    for name, (wanted, settings) in CONTENDERS.items():
        chosen[settings["core"]] = rate(asked.delay, asked.updates, settings)
        runs = [
            once(asked.delay, asked.updates, seed, chosen[settings["core"]], settings) for seed in range(asked.seeds)
        ]
        details["runs"][name] = runs
        scores = [run["explained"] for run in runs]
        met = max(scores) < 0.1 if wanted.startswith("below") else min(scores) > 0.9
        what, note = f"variance explained at lag {asked.delay}: {name}", "gates open" if "init" in settings else ""
        middle = statistics.median(scores)
        rows.append(Row(what, f"{wanted}, every seed", middle, min(scores), max(scores), met, "", note))
        _say(name, runs[0])
    for name, settings in BESIDE.items():
        lr = chosen.get(settings["core"], chosen["rnn"])
        run = once(asked.delay, asked.updates, 0, lr, settings)
        details["runs"][name] = [run]
        rows.append(
            Row(f"beside: {name}", "-", run["explained"], run["explained"], run["explained"], None, "", "one seed")
        )
        _say(name, run)
    finish("memory", rows, details, keep=asked_for_all(parser, asked))


def _say(name: str, run: dict[str, Any]) -> None:
    print(f"{name} (lr {run['lr']:g}, {run['seconds']:.0f} s): {run['text']}; {'; '.join(run['notes'])}")


if __name__ == "__main__":
    main()
