"""Named configurations: a preset is a table of settings that a flag, a file or ``--set`` may still change."""

from __future__ import annotations

from typing import Any

from pipelines.errors import UsageError, did_you_mean

# The recipe for long horizons: each part was kept for what it did on a validation span (benchmarks/bench_long.py
# --parts): a causal mean as the anchor, features relative to it, much dropout, a linear skip, averaged weights.
_STREAM: dict[str, Any] = {
    "data": {"kind": "sensor", "mode": "stream", "anchor": "mean", "features": "relative", "k1": 64},
    "model": {"layers": 1, "hidden": 64, "dropout": 0.5, "head": "point", "loss": "huber"},
    "train": {"lr": 5e-4, "average": 0.995, "updates": 2000, "patience": 12},
}

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "price": (
        "log returns from the last close in units of volatility, one unit per step ahead",
        {"data": {"kind": "price"}},
    ),
    "sensor": (
        "values relative to a causal mean of about a season, with a linear skip over two weeks",
        {"data": {"kind": "sensor"}},
    ),
    "stream-lstm": (
        "long horizons of sensors: streamed LSTM and linear skip, relative features and targets, averaged weights",
        {**_STREAM, "model": {**_STREAM["model"], "core": "lstm"}},
    ),
    "stream-gru": (
        "stream-lstm with a GRU",
        {**_STREAM, "model": {**_STREAM["model"], "core": "gru"}},
    ),
}


def preset_values(name: str | None) -> dict[str, Any]:
    """Settings of the preset ``name``; none for ``None``.

    Raises:
        UsageError: there is no such preset.
    """
    if name is None:
        return {}
    if name not in PRESETS:
        raise UsageError(
            f"there is no preset {name!r}.{did_you_mean(name, list(PRESETS))}", hint=f"Presets: {', '.join(PRESETS)}."
        )
    return PRESETS[name][1]
