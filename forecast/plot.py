"""The picture saved in a run folder: recent history, the holdout's one-step forecasts, what comes next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipelines.panel import Panel
from pipelines.where import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_SERIES = 6
INK, TRUTH, MODEL = "#222222", "#555555", "#c2410c"


def save_forecast(path: Path, panel: Panel, forecast: pd.DataFrame, model: str, holdout: pd.DataFrame | None) -> None:
    """Write a PNG with one panel for each of the first six series.

    Args:
        forecast: of :meth:`forecast.model.Model.predict`.
        holdout: result frame of the holdout span, or ``None``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ids = panel.ids[:MOST_SERIES]
    figure = Figure(figsize=(10, 0.8 + 3.4 * len(ids)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(ids), 1, squeeze=False)[:, 0]
    for axis, name in zip(axes, ids, strict=True):
        _one(axis, panel, forecast[forecast["unique_id"] == name], name, model, holdout)
    if len(panel.ids) > MOST_SERIES:
        figure.supxlabel(f"{len(panel.ids) - MOST_SERIES} more series are in forecast.csv", color=INK, fontsize=9)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _one(axis: Axes, panel: Panel, ahead: pd.DataFrame, name: str, model: str, holdout: pd.DataFrame | None) -> None:
    i = panel.ids.index(name)
    shown = int(np.clip(8 * len(ahead), 60, 400))
    rows = panel.frame.iloc[panel.offsets[i] : panel.offsets[i + 1]].tail(shown)
    stamps, values = rows["ds"].to_numpy(), rows["y"].to_numpy()
    axis.plot(stamps, values, color=TRUTH, lw=1.2, label=_plain(panel.target))
    if holdout is not None and len(holdout):
        near = holdout[(holdout["unique_id"] == name) & (holdout["step"] == 1) & (holdout["ds"] >= stamps[0])]
        axis.plot(near["ds"], near[model], color=MODEL, lw=0.8, alpha=0.55, label=f"{model}, one step ahead (holdout)")
    # the fan begins at the last observed value, so that it hangs together with the history
    seen = rows[rows["y"].notna()]
    start = (seen["ds"].iloc[-1], seen["y"].iloc[-1]) if len(seen) else (stamps[-1], np.nan)
    times = np.concatenate([[np.datetime64(start[0])], ahead["ds"].to_numpy()])

    def joined(column: str) -> Any:
        return np.concatenate([[start[1]], ahead[column].to_numpy()])

    levels = sorted({int(c.rsplit("-", 1)[1]) for c in ahead.columns if c.startswith(f"{model}-lo-")}, reverse=True)
    for level, alpha in zip(levels, np.linspace(0.14, 0.3, len(levels)), strict=True):
        axis.fill_between(
            times, joined(f"{model}-lo-{level}"), joined(f"{model}-hi-{level}"), color=MODEL, alpha=float(alpha), lw=0,
            label=f"{level} % interval",
        )  # fmt: skip
    axis.plot(times, joined(model), color=MODEL, lw=1.8, label=f"{model} forecast")
    axis.set_title(_plain(f"{name}: next {plural(len(ahead), 'step')}"), loc="left", fontsize=11, color=INK)
    axis.legend(loc="upper left", bbox_to_anchor=(0, -0.08), ncols=5, fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    axis.margins(x=0.01)


def _plain(text: str) -> str:
    """No mathtext: a dollar sign in a name is a dollar sign."""
    return text.replace("$", r"\$")
