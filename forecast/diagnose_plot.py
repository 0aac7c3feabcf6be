"""The picture of a diagnosis: gradient by lag, gradient over training, saturation of gates and units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forecast.diagnose_flow import GONE, Flow
from forecast.diagnose_probe import Training
from forecast.diagnose_units import Units
from forecast.plot import INK, MODEL, TRUTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLOOR = 1e-6  # of the largest norm; lower lies below the picture
QUIET = "#9ca3af"
LINES = ("#1d4ed8", "#0f766e", "#a16207", "#7e22ce", "#be123c", "#4d7c0f")


def save_diagnosis(
    path: Path, title: str, model: str, after: Flow, before: Flow, training: Training | None, units: list[Units]
) -> None:
    """Write a PNG: gradient by lag above; below it, where there is something to show, training and saturation.

    Args:
        title: the conclusion.
        after, before: gradients by lag of the net after and before training.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from pipelines.errors import UsageError

    parts = [training is not None, bool(units)]
    bars = 0.36 * len(units) + 1.1
    heights = [3.6] + [2.8] * parts[0] + [bars] * parts[1]
    figure = Figure(figsize=(10, sum(heights) + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
    _lags(axes.pop(0), title, model, after, before)
    if training is not None:
        _training(axes.pop(0), training)
    if units:
        _units(axes.pop(0), units)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110, format="png", metadata={"Software": None})
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}).", hint="Choose another --out.") from error


def _lags(axis: Axes, title: str, model: str, shown: Flow, before: Flow) -> None:
    lag = np.arange(len(shown.norms))
    whose = "state" if shown.measure == "state" else "inputs"
    if len(shown.layers) > 1:
        most = float(np.max(shown.norms)) or 1.0
        for (name, norms), color in zip(shown.layers.items(), LINES * len(shown.layers), strict=False):
            axis.plot(lag, _seen(norms / most), color=color, lw=1.0, alpha=0.8, label=name)
    axis.plot(lag, _seen(shown.share), color=MODEL, lw=2.2, label=f"{model}, by the {whose}")
    if shown.measure == "state":
        axis.plot(lag, _seen(_relative(shown)), color=MODEL, lw=1.0, ls=":", label="by the inputs")
    axis.plot(lag, _seen(before.share), color=TRUTH, lw=1.2, ls="--", label="before training")
    axis.axhline(GONE, color=QUIET, lw=0.8)
    axis.annotate(
        f"{100 * GONE:.0f} % of the largest", (1, GONE), xycoords=("axes fraction", "data"), ha="right", va="bottom",
        fontsize=8, color=QUIET, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}, zorder=4,
    )  # fmt: skip
    if shown.verdict == "vanish":
        axis.axvline(shown.reach, color=QUIET, lw=0.8)
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, FLOOR), max(high, 1.5))
    axis.set_xlabel("steps back from the loss", fontsize=9, color=INK)
    axis.set_ylabel("share of the largest norm", fontsize=9, color=INK)
    _finish(axis, _wrapped(title))


def _relative(shown: Flow) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    most = float(np.max(shown.inputs))
    return shown.inputs / most if most > 0 and np.isfinite(most) else np.full(len(shown.inputs), np.nan)


def _seen(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Zeros, which a logarithm has no place for, are left out."""
    return np.where(values > 0, values, np.nan)


def _training(axis: Axes, seen: Training) -> None:
    at, norm = seen.curve(seen.norm)
    if len(seen.layers) > 1:
        for (name, values), color in zip(seen.layers.items(), LINES * len(seen.layers), strict=False):
            axis.plot(at, _seen(seen.curve(values)[1]), color=color, lw=0.9, alpha=0.8, label=name)
    axis.plot(at, _seen(norm), color=INK, lw=1.6, label="all weights")
    if seen.clip:
        axis.axhline(seen.clip, color=MODEL, lw=1.0, ls="--", label=f"clipped above {seen.clip:g}")
    axis.set_yscale("log")
    axis.set_xlabel("update", fontsize=9, color=INK)
    axis.set_ylabel("norm before clipping", fontsize=9, color=INK)
    share = "no clipping" if seen.clipped is None else f"{100 * seen.clipped:.0f} % of the updates clipped"
    _finish(axis, f"Gradient over training: {share}")


def _units(axis: Axes, units: list[Units]) -> None:
    rows = np.arange(len(units))[::-1]
    low = np.array([100 * (one.dead if one.kind == "relu" else one.low) for one in units])
    high = np.array([100 * one.high for one in units])
    axis.barh(rows, low, color=LINES[0], height=0.6, label="shut, at -1, or dead")
    axis.barh(rows, high, left=low, color=MODEL, height=0.6, label="open, or at 1")
    for row, one, width in zip(rows, units, low + high, strict=True):
        axis.annotate(one.text, (width, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axis.set_yticks(rows, [f"{one.layer} {one.name}" for one in units], fontsize=8)
    axis.set_xlim(0, 130)
    axis.set_xticks([0, 25, 50, 75, 100])
    axis.spines["bottom"].set_bounds(0, 100)
    axis.set_xlabel("per cent", fontsize=9, color=INK)
    _finish(axis, "Saturation of gates and units")


def _wrapped(text: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text[0].upper() + text[1:], 100))


def _finish(axis: Axes, title: str) -> None:
    axis.set_title(title, loc="left", fontsize=11, color=INK)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
