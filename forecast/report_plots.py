"""The charts of a report as PNGs, drawn from the same numbers as the page."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#c2410c", "#1d4ed8", "#0f766e", "#7e22ce", "#be185d", "#a16207")
TRUTH, BASE, SOFT = "#30363d", "#8a929c", "#5c6570"
DASHES = ("-", ":", "--", "-.")
Chart = Mapping[str, Any]


def save_charts(charts: Chart, folder: Path) -> list[str]:
    """Write the PNGs there are numbers for; their names.

    Args:
        charts: of :func:`forecast.report_charts.chart_data`; the first series is drawn.
    """
    plots: dict[str, tuple[int, Callable[..., None], bool]] = {
        "report-next.png": (1, _ahead, bool(charts["series"][0]["ahead"])),
        "report-truth.png": (2, _truth, bool(charts["series"][0]["fans"])),
        "report-steps.png": (2, _steps, "steps" in charts),
        "report-calibration.png": (2, _calibration, bool(charts.get("calibration"))),
        "report-skill.png": (1, _skill, "skill" in charts),
        "report-seeds.png": (1, _seeds, bool(charts.get("seeds"))),
        "report-shift.png": (2, _shift, bool(charts["series"][0]["one"]["f"]) and "steps" in charts),
    }
    written = []
    for name, (width, plot, there) in plots.items():
        if there:
            _save(folder / name, width, plot, charts, wide=name == "report-truth.png")
            written.append(name)
    return written


def _save(file: Path, axes: int, plot: Callable[..., None], charts: Chart, wide: bool) -> None:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    looks: Any = {
        "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": SOFT, "axes.labelcolor": SOFT,
        "xtick.color": SOFT, "ytick.color": SOFT, "font.size": 9, "axes.grid": True, "grid.color": "#ecece8",
        "legend.frameon": False, "legend.fontsize": 8, "axes.axisbelow": True, "text.parse_math": False,
    }  # fmt: skip
    with rc_context(looks), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box in the picture says it all
        figure = Figure(figsize=(10, 6.2 if wide else 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        shape = (axes, 1) if wide else (1, axes)
        plot(*figure.subplots(*shape, squeeze=False).ravel(), charts)
        figure.savefig(file, dpi=110, metadata={"Software": None})


def _colour(charts: Chart, model: str) -> str:
    return COLOURS[charts["models"].index(model) % len(COLOURS)]


def _name(text: str) -> str:
    """Short enough for a legend, which leaves out what begins with an underscore."""
    short = text if len(text) <= 30 else f"{text[:29]}…"
    return f"\u200b{short}" if short.startswith("_") else short


def _dates(axis: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _whole(axis: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _floats(values: Any) -> Any:
    return np.array(values, dtype=np.float64)


def _stamps(charts: Chart) -> Any:
    return pd.DatetimeIndex(charts["stamps"]).to_numpy()


def _rows(one: Chart) -> Any:
    return np.arange(one["at"], one["at"] + len(one["y"])) if isinstance(one["at"], int) else np.array(one["at"])


def _legend(axis: Axes) -> None:
    axis.legend(loc="upper left", bbox_to_anchor=(0, -0.12), ncols=4)


def _fan(axis: Axes, charts: Chart, fan: Chart, start: float) -> None:
    x = _stamps(charts)[[fan["origin"], *fan["at"]]]

    def joined(values: Any) -> Any:
        return np.concatenate([[start], _floats(values)])

    for k, name in enumerate(charts["models"]):
        colour = _colour(charts, name)
        widest_first = sorted(zip(charts["levels"][name], fan["bounds"][name] if k == 0 else (), strict=False))[::-1]
        for (level, (low, high)), alpha in zip(widest_first, np.linspace(0.14, 0.3, len(widest_first)), strict=True):
            axis.fill_between(
                x, joined(low), joined(high), color=colour, alpha=alpha, lw=0, label=f"{level:g} % interval"
            )
        axis.plot(x, joined(fan["f"][name]), color=colour, lw=2 - 0.6 * (k > 0), label=_name(name))


def _history(axis: Axes, charts: Chart, begin: int, end: int, name: str) -> None:
    """Truth between two stamps."""
    one = charts["series"][0]
    rows, y = _rows(one), _floats(one["y"])
    inside = (rows >= begin) & (rows <= end)
    axis.plot(_stamps(charts)[rows[inside]], y[inside], color=TRUTH, lw=1.4, label=_name(name))
    axis.set_ylabel(_name(charts["target"]))
    _dates(axis)


def _value_at(charts: Chart, place: int) -> float:
    one = charts["series"][0]
    found = _floats(one["y"])[_rows(one) == place]
    return float(found[0]) if len(found) else float("nan")


def _ahead(axis: Axes, charts: Chart) -> None:
    fan = charts["series"][0]["ahead"]
    _history(axis, charts, fan["origin"] - max(60, 6 * charts["horizon"]), fan["origin"], charts["target"])
    _fan(axis, charts, fan, _value_at(charts, fan["origin"]))
    axis.set_title(_name(charts["series"][0]["id"]), loc="left")
    _legend(axis)


def _truth(top: Axes, bottom: Axes, charts: Chart) -> None:
    one = charts["series"][0]
    _history(top, charts, 0, len(charts["stamps"]), "truth")
    for name, values in one["one"]["f"].items():
        top.plot(
            _stamps(charts)[one["one"]["at"]],
            _floats(values),
            color=_colour(charts, name),
            lw=0.9,
            label=f"{_name(name)}, one step ahead",
        )
    top.set_title(_name(one["id"]), loc="left")
    _legend(top)
    whole = [fan for fan in one["fans"] if len(fan["at"]) == charts["horizon"]]
    fan = (whole or one["fans"])[-1]
    _fan(bottom, charts, fan, _value_at(charts, fan["origin"]))
    _history(bottom, charts, fan["origin"] - max(30, 2 * charts["horizon"]), fan["at"][-1], "truth")
    bottom.set_title(f"origin {charts['stamps'][fan['origin']]}", loc="left")
    _legend(bottom)


def _steps(left: Axes, right: Axes, charts: Chart) -> None:
    data = charts["steps"]
    for axis, part, label in (
        (left, "ratio", f"{data['measure']} / {data['reference']}'s"),
        (right, "error", data["measure"]),
    ):
        for k, name in enumerate(charts["baselines"]):
            if name not in data["hidden"]:
                axis.plot(
                    data["step"],
                    _floats(data[part][name]),
                    color=BASE,
                    ls=DASHES[k % 4],
                    lw=1.4,
                    marker=".",
                    label=name,
                )
        for name in charts["models"]:
            axis.plot(
                data["step"], _floats(data[part][name]), color=_colour(charts, name), lw=2.2, marker=".", label=name
            )
        axis.set_xlabel("step ahead")
        _whole(axis)
        axis.set_ylabel(label)
    right.set_ylim(bottom=0)
    left.legend(loc="best", ncols=2)


def _calibration(left: Axes, right: Axes, charts: Chart) -> None:
    for name, part in charts["calibration"].items():
        colour = _colour(charts, name)
        for k, (level, values) in enumerate(part["coverage"].items()):
            left.plot(
                part["step"],
                100 * _floats(values),
                color=colour,
                ls=DASHES[k % 4],
                marker=".",
                label=f"{_name(name)}, {level} %",
            )
            left.axhline(float(level), color=SOFT, lw=0.8, ls=":")
        q, seen = np.array([0, *part["quantile"], 1]), np.array([0, *part["observed"], 1])
        right.stairs(np.diff(seen) / np.diff(q), q, color=colour, lw=2, label=_name(name))
    right.axhline(1, color=SOFT, lw=0.8, ls=":")
    _whole(left)
    left.set(xlabel="step ahead", ylabel="inside, %", ylim=(0, 103))
    right.set(xlabel="forecast quantile", ylabel="density of truths", xlim=(0, 1), ylim=(0, None))
    left.legend(loc="lower left", ncols=2)
    right.legend(loc="lower center")


def _skill(axis: Axes, charts: Chart) -> None:
    data = charts["skill"]
    for name, values in data["skill"].items():
        axis.plot(
            pd.DatetimeIndex(data["stamps"]).to_numpy(),
            100 * _floats(values),
            color=_colour(charts, name),
            lw=1.6,
            label=name,
        )
    axis.axhline(0, color=TRUTH, lw=0.9)
    _dates(axis)
    axis.set_ylabel(f"error saved against {data['baseline']}, %")
    _legend(axis)


def _seeds(axis: Axes, charts: Chart) -> None:
    data = charts["seeds"]
    names = list(data["rows"])
    for k, name in enumerate(names):
        errors = [row["error"] for row in data["rows"][name]]
        axis.plot(errors, [k] * len(errors), "o", color=_colour(charts, name), ms=8, alpha=0.7)
        axis.plot([data["mean"][name]], [k], "|", color=_colour(charts, name), ms=26, mew=2.5)
    for name, value in data["lines"].items():
        axis.axvline(value, color=SOFT, lw=1, ls=":")
        axis.annotate(
            _name(name),
            (value, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -10),
            textcoords="offset points",
            color=SOFT,
        )
    axis.set(
        xlabel=data["measure"],
        yticks=range(len(names)),
        yticklabels=list(map(_name, names)),
        ylim=(-0.6, len(names) - 0.4),
    )
    axis.grid(False, axis="y")


def _shift(left: Axes, right: Axes, charts: Chart) -> None:
    one, name = charts["series"][0], charts["models"][0]
    part = one["one"]
    x = _stamps(charts)[part["at"]][-60:]
    place = dict(zip(_rows(one).tolist(), _floats(one["y"]), strict=True))
    y, f, last = np.array([place[i] for i in part["at"]]), _floats(part["f"][name]), _floats(part["last"])
    left.plot(x, y[-60:], color=TRUTH, lw=1.8, label="truth")
    left.plot(x, last[-60:], color=BASE, lw=1.5, ls=":", label="last value known")
    left.plot(x, f[-60:], color=_colour(charts, name), lw=1.6, label=_name(name))
    left.set_title(_name(one["id"]), loc="left")
    _dates(left)
    left.legend(loc="best")
    said, happened = f - last, y - last
    right.plot(said, happened, ".", color=_colour(charts, name), alpha=0.45)
    right.axline((0, 0), slope=1, color=BASE, ls=":")
    right.set(xlabel="change forecast", ylabel="change that happened")
    size = np.nanmax(np.abs(said), initial=1e-12), np.nanmax(np.abs(happened), initial=1e-12)
    right.set(xlim=(-1.06 * size[0], 1.06 * size[0]), ylim=(-1.06 * size[1], 1.06 * size[1]))
