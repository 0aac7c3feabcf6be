"""Named configurations: a preset is a table of settings that a flag, a file or ``--set`` may still change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Preset:
    """Settings by section, what they are for and where they come from.

    Args:
        target: the column that is forecast unless ``--target`` says otherwise; none for the usual choice.
    """

    about: str
    settings: Mapping[str, Mapping[str, Any]]
    reference: str = ""
    target: str | None = None


# The recipe for long horizons: few features, they and targets relative to a causal mean, much dropout, a linear skip,
# averaged weights. What each part does on a validation span: benchmarks/long_horizons.py --parts.
_STREAM: dict[str, Any] = {
    "data": {"mode": "stream", "features": "relative", "volatility": False, "calendar": "shortest", "k1": 64},
    "model": {"layers": 1, "hidden": 128, "dropout": 0.5, "head": "point", "loss": "huber"},
    "train": {"lr": 5e-4, "average": 0.995, "updates": 4000, "patience": 10},
}

PRESETS: dict[str, Preset] = {
    "price": Preset(
        "log returns from the last close in units of volatility, one unit per step ahead",
        {"data": {"kind": "price"}},
    ),
    "sensor": Preset(
        "values relative to a causal mean of about a season, with a linear skip over fourteen (two weeks of hours)",
        {"data": {"kind": "sensor"}},
    ),
    "stream-lstm": Preset(
        "long horizons of sensors: streamed LSTM and linear skip, relative features and targets, averaged weights",
        {**_STREAM, "model": {**_STREAM["model"], "core": "lstm"}},
        "linear skip: LSTNet, Lai et al. 2017, arXiv 1703.07015",
    ),
    "stream-gru": Preset(
        "stream-lstm with a GRU",
        {**_STREAM, "model": {**_STREAM["model"], "core": "gru"}},
        "linear skip: LSTNet, Lai et al. 2017, arXiv 1703.07015",
    ),
    "segrnn": Preset(
        "the published SegRNN on a window of 96, half as wide and with averaged weights for its falling rate",
        {
            "data": {"kind": "sensor", "mode": "window", "lookback": 96, "lanes": 256},
            "model": {"core": "segrnn", "hidden": 256, "dropout": 0.5, "head": "point", "loss": "mae"},
            "train": {
                "epochs": 30, "optimizer": "adam", "lr": 1e-3, "weight_decay": 0.0, "clip": 0.0, "average": 0.99,
                "patience": 10,
            },
        },
        "Lin et al. 2023, SegRNN, arXiv 2308.11200: 512 wide, segments of 48, 30 passes, a rate that falls from 1e-3",
    ),
    "stacked-lstm": Preset(
        "the regressor of the courses: four LSTMs of 50, the next opening price from 60 scaled ones",
        {
            "data": {
                "kind": "price", "mode": "window", "lookback": 60, "horizon": 1, "lanes": 32, "log": False,
                "features": "level", "calendar": False, "anchor": "none", "scale": "one", "unit": "one",
                "scaler": "minmax", "stop": 0.05, "holdout": 0.05,
            },
            "model": {
                "core": "lstm", "layers": 4, "hidden": 50, "dropout": 0.2, "head": "point", "loss": "mse", "skip": 0,
            },
            "train": {
                "epochs": 100, "optimizer": "adam", "lr": 1e-3, "weight_decay": 0.0, "clip": 0.0, "average": 0.0,
                "keep": "last", "patience": 100,
            },
        },
        "widely taught; settings as in the courses that forecast the opening price of Google",
        target="Open",
    ),
}  # fmt: skip


def find_preset(name: str) -> Preset:
    """The preset called ``name``.

    Raises:
        UsageError: there is none.
    """
    if name not in PRESETS:
        raise UsageError(
            f"there is no preset {name!r}.{did_you_mean(name, list(PRESETS))}", hint=f"Presets: {', '.join(PRESETS)}."
        )
    return PRESETS[name]


def preset_values(name: str | None) -> dict[str, Any]:
    """Settings of the preset ``name``, by section; none for ``None``.

    Raises:
        UsageError: there is no such preset.
    """
    if name is None:
        return {}
    return {section: dict(values) for section, values in find_preset(name).settings.items()}
