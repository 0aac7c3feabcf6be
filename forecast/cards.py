"""Cards: what the models and presets are, how large at their defaults, and their whole configuration.

Weights are counted on a net that is built and not trained, for one series: daily prices, or an hourly sensor where a
preset is for sensors. More series, covariates or a longer horizon make more of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forecast.config import Config
from forecast.family import FAMILY, only_in_backtest
from forecast.presets import PRESETS, preset_values
from pipelines.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from pipelines.panel import Panel

ROWS = 5000  # enough that no default shrinks for want of data


def models() -> list[dict[str, Any]]:
    """The card of every model, without its configuration."""
    return [_model(name) for name in FAMILY]


def presets() -> list[dict[str, Any]]:
    """The card of every preset, without its configuration."""
    return [_preset(name) for name in PRESETS]


def find(name: str) -> list[dict[str, Any]]:
    """The cards called ``name``, a model's, a preset's or both, with their configuration as ``settings``.

    Raises:
        UsageError: there is neither.
    """
    found: list[dict[str, Any]] = []
    if name in FAMILY:
        found.append(_model(name) | {"settings": _model_config(name).to_json()})
    if name in PRESETS:
        found.append(_preset(name) | {"settings": Config.make(preset_values(name)).to_json()})
    if not found:
        if method := only_in_backtest(name):
            raise UsageError(
                f"{method} is a method of backtest only, with no card of its own.",
                hint=f"Use `forecast backtest --model {method}`.",
            )
        known = list(dict.fromkeys([*FAMILY, *PRESETS]))
        raise UsageError(
            f"there is no model or preset {name!r}.{did_you_mean(name, known)}",
            hint=f"Models: {', '.join(FAMILY)}. Presets: {', '.join(PRESETS)}.",
        )
    return found


def _model_config(name: str) -> Config:
    return Config.make(None, core=name)


def _model(name: str) -> dict[str, Any]:
    member, config = FAMILY[name], _model_config(name)
    return {
        "kind": "model", "name": name, "about": member.about, "reference": member.reference,
        "modes": list(member.modes), "both_directions": "bidirectional" not in member.lacks,
        "heads": list(member.heads) or "all", "gradient": member.gradient, "covariates": member.covariates,
        "layers": config.model.layers, "hidden": config.model.hidden, "weights": weights(config),
    }  # fmt: skip


def _preset(name: str) -> dict[str, Any]:
    preset, config = PRESETS[name], Config.make(preset_values(name))
    return {
        "kind": "preset", "name": name, "about": preset.about, "reference": preset.reference,
        "model": config.model.core, "target": preset.target,
        "layers": config.model.layers, "hidden": config.model.hidden, "weights": weights(config),
        "changes": preset_values(name),
    }  # fmt: skip


def weights(config: Config) -> int:
    """Numbers that are learned: of the net of ``config`` for one series with as many rows as anybody needs."""
    from forecast.model import build_network
    from forecast.spans import pipeline_spec, settle
    from forecast.threads import threads
    from pipelines.pipeline import Pipeline

    panel = _panel(config.data.kind == "sensor")
    settled = settle(config, panel)
    with threads(1):
        network = build_network(settled, Pipeline(pipeline_spec(settled)).fit(panel))
    return sum(weight.numel() for weight in network.parameters())


def _panel(sensor: bool) -> Panel:
    import numpy as np
    import pandas as pd

    from pipelines.grid import Grid
    from pipelines.panel import Panel

    freq = "h" if sensor else "B"
    frame = pd.DataFrame({
        "unique_id": "a", "ds": pd.date_range("2000-01-03", periods=ROWS, freq=freq),
        "y": 100 + np.sin(np.arange(ROWS) / 4),
    })  # fmt: skip
    return Panel(frame, Grid(freq), meta={"kind": "sensor" if sensor else "price"})
