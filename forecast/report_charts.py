"""Charts as data: the numbers behind every chart of a report, small enough for a page of a few megabytes.

The page (plotly) and the PNGs (matplotlib) draw from the same document. What does not fit is left out evenly
and said so in ``document["left_out"]``: series beyond the first ``MOST_SHOWN`` numbers, origins between those kept.
Tables and scores always count everything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecast import metrics, verdict
from forecast.report_data import Page, levels_of

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

NUMBERS = 200_000
"""Numbers embedded for the forecasts of all series shown, about 14 bytes each."""
ROWS = 4000
"""Newest one-step forecasts shown of a series."""
ORIGINS = 240
"""Origins the slider stops at; fewer where the horizon is long or the series are many."""
LEAST_ORIGINS = 10
CONTEXT = 60
"""Rows before the first origin shown, at least."""
LEVELS = 2
"""Interval levels drawn: the widest and the narrowest."""


def chart_data(page: Page) -> dict[str, Any]:
    """The document behind all charts; JSON but for NaN, which :func:`forecast.storage.plain` makes null."""
    levels = {name: _ends(found) for name, found in levels_of(page, page.models).items()}
    shown = _choose(page, levels)
    series, stamps = _series(page, levels, shown)
    document: dict[str, Any] = {
        "title": page.title, "target": page.panel.target, "kind": page.kind, "horizon": page.horizon,
        "models": page.models, "baselines": page.baselines, "baseline": page.baseline, "levels": levels,
        "stamps": stamps, "series": series, "left_out": shown.notes,
    }  # fmt: skip
    if page.scored:
        document |= {
            "steps": step_errors(page),
            "calibration": calibration(page),
            "skill": rolling_skill(page),
            "seeds": seed_spread(page),
            "shift": {name: part.get("shift", {}) for name, part in page.significance.get("models", {}).items()},
        }
    return document


class _Shown:
    """Which series are shown, how many one-step forecasts and how many origins of each."""

    def __init__(self, ids: list[str], rows: int, origins: int, notes: list[str]) -> None:
        self.ids, self.rows, self.origins, self.notes = ids, rows, origins, notes


def worst_first(page: Page) -> pd.DataFrame:
    """One row per series, the model's worst first: ``unique_id, n, missing, mae, baseline, ratio, mase, coverage``.

    Args:
        page: its first model (the verdict's, if it names one) against the strongest baseline; ``ratio`` of their MAEs.
    """
    table = page.by_series
    mine = table[table["model"] == main_model(page)].set_index("unique_id")
    theirs = table[table["model"] == page.baseline].set_index("unique_id")["mae"].reindex(mine.index)
    covers = [name for name in table.columns if name.startswith("coverage_")]
    out = mine[["n", "missing", "mae", "mase"]].assign(baseline=theirs, ratio=mine["mae"] / theirs.where(theirs > 0))
    out["coverage"] = mine[covers[-1]] if covers else math.nan
    # a series with missing forecasts has no score: nothing is worse
    return out.sort_values("ratio", ascending=False, na_position="first", kind="stable").reset_index()


def main_model(page: Page) -> str:
    """The model the verdict speaks of, else the first."""
    named = page.verdict.get("model")
    return named if named in page.models else page.models[0]


def _ends(levels: Sequence[float]) -> list[float]:
    return list(levels) if len(levels) <= LEVELS else [levels[0], levels[-1]]


def _choose(page: Page, levels: dict[str, list[float]]) -> _Shown:
    """As many series as fit with ``LEAST_ORIGINS`` origins each, worst and best ones first; then more origins."""
    scored = set(page.frame["unique_id"].astype(str))
    ids, notes = sorted(page.panel.ids, key=lambda name: page.scored and name not in scored), []  # nothing to see last
    columns = sum(1 + 2 * len(found) for found in levels.values())
    fan = page.horizon * columns
    frame = page.frame
    counts = frame.loc[metrics.steps(frame) == 1, "unique_id"].value_counts() if page.scored else pd.Series([0])
    most = int(counts.max())
    rows = min(most, ROWS)
    per_row = 3 + len(page.models)
    fit = NUMBERS // max(1, LEAST_ORIGINS * fan + (min(rows, 250) + CONTEXT) * per_row)
    if len(ids) > max(1, fit):
        order = [str(name) for name in worst_first(page)["unique_id"]] if page.scored else ids
        half = max(1, fit) // 2
        ids = order[: max(1, fit) - half] + (order[-half:] if half else [])
        notes.append(
            f"Charts hold {len(ids):,} of {len(order):,} series: those with the largest and the smallest error "
            "against the baseline. Scores, tests and the table count all."
        )
    share = NUMBERS // len(ids)
    rows = max(1, min(rows, max(50, share // 2 // per_row)))
    origins = int(np.clip((share - rows * per_row) // max(1, fan), 2, ORIGINS))
    if rows < most:
        notes.append(f"Forecasts are drawn for the newest {rows:,} of {most:,} origins.")
    if page.scored and origins < min(rows, most):
        notes.append(f"The slider stops at {origins} of {min(rows, most):,} origins, evenly spaced.")
    return _Shown(ids, rows, origins, notes)


def _series(page: Page, levels: dict[str, list[float]], shown: _Shown) -> tuple[list[dict[str, Any]], list[str]]:
    """The series shown, and the stamps their positions count in."""
    panel, parts = page.panel, []
    place = {name: i for i, name in enumerate(panel.ids)}
    step = metrics.steps(page.frame) if page.scored else np.zeros(0, np.int64)
    groups = page.frame.groupby("unique_id", observed=True, sort=False).indices if page.scored else {}
    ahead = page.ahead.groupby("unique_id", observed=True, sort=False).indices if len(page.ahead) else {}
    for name in shown.ids:
        i = place[name]
        stamps, y = (
            panel.ds[panel.offsets[i] : panel.offsets[i + 1]],
            panel.column("y")[panel.offsets[i] : panel.offsets[i + 1]],
        )
        at = groups.get(name, np.zeros(0, np.int64))
        rows, steps = page.frame.iloc[at], step[at]
        first = rows[steps == 1].sort_values("cutoff").tail(shown.rows)
        context = max(CONTEXT, 4 * page.horizon)
        begin = int(np.searchsorted(stamps, first["cutoff"].to_numpy()[0])) if len(first) else len(stamps)
        begin = max(0, begin - context)
        later = page.ahead.iloc[ahead[name]] if name in ahead else page.ahead.iloc[:0]
        parts.append({
            "id": name, "stamps": stamps[begin:], "y": y[begin:], "first": first, "ahead": later,
            "fans": _fans(rows, steps, first, shown.origins),
        })  # fmt: skip
    union = np.unique(
        np.concatenate([np.concatenate([part["stamps"], part["ahead"]["ds"].to_numpy()]) for part in parts])
    )
    return [_one(part, union, page.models, levels) for part in parts], stamp_texts(union)


def _fans(rows: pd.DataFrame, steps: Index, first: pd.DataFrame, origins: int) -> list[pd.DataFrame]:
    """All steps of evenly spaced origins, the last one among them."""
    if not len(first):
        return []
    pick = np.unique(np.linspace(0, len(first) - 1, min(origins, len(first))).round().astype(int))
    wanted = first["cutoff"].to_numpy()[pick]
    ordered = rows.assign(_step=steps)
    kept = ordered[ordered["cutoff"].isin(wanted)].sort_values(["cutoff", "_step"])
    return [group for _, group in kept.groupby("cutoff", sort=True)]


def _one(part: dict[str, Any], union: Any, models: Sequence[str], levels: dict[str, list[float]]) -> dict[str, Any]:
    def where(stamps: Any) -> list[int]:
        return [int(i) for i in np.searchsorted(union, np.asarray(stamps))]

    first = part["first"]
    at = where(part["stamps"])
    return {
        "id": part["id"],
        "at": at[0] if len(at) == 0 or at == list(range(at[0], at[0] + len(at))) else at,
        "y": short(part["y"]),
        "one": {
            "origin": where(first["cutoff"]), "at": where(first["ds"]), "last": short(first.get("last", ())),
            "f": {name: short(first[name]) for name in models if name in first},
        },
        "fans": [_fan(group, where, models, levels) for group in part["fans"]],
        "ahead": _fan(part["ahead"], where, models, levels) if len(part["ahead"]) else None,
    }  # fmt: skip


def _fan(group: pd.DataFrame, where: Any, models: Sequence[str], levels: dict[str, list[float]]) -> dict[str, Any]:
    bounds = {
        name: [[short(group[column]) for column in metrics.interval(name, level)] for level in levels[name]]
        for name in models
    }
    f = {name: short(group[name]) for name in models}
    return {"origin": where(group["cutoff"])[0], "at": where(group["ds"]), "f": f, "bounds": bounds}


# -- scores over steps, time and seeds ---------------------------------------------------------
def step_errors(page: Page) -> dict[str, Any]:
    """Error by step ahead: MAE, or MASE where there are several series; and relative to naive."""
    table = page.by_step
    measure = "mase" if page.several and table["mase"].notna().any() else "mae"
    names = [*page.models, *page.baselines]
    wide = table.pivot(index="step", columns="model", values=measure).reindex(columns=names)
    reference = "naive" if "naive" in wide else page.baseline
    ratio: pd.DataFrame = wide.div(wide[reference].where(wide[reference] > 0), axis=0)
    far = 1.3 * max(1.2, float(ratio[page.models].max().max()))
    return {
        "measure": measure.upper(), "reference": reference, "step": [int(step) for step in wide.index],
        "error": {name: short(wide[name]) for name in names}, "ratio": {name: short(ratio[name]) for name in names},
        # far worse than all others at some step: it would flatten the chart
        "hidden": [name for name in page.baselines if ratio[name].max() > far],
    }  # fmt: skip


def calibration(page: Page) -> dict[str, Any]:
    """Per model with intervals: coverage by step and level, PIT at the quantiles held, share of infinite widths."""
    out = {}
    for name, table in page.calibration.items():
        mine = page.by_step[page.by_step["model"] == name].sort_values("step")
        levels = metrics.levels(page.frame, name)
        pooled = page.scores[page.scores["model"] == name].iloc[0]
        out[name] = {
            "step": [int(step) for step in mine["step"]],
            "coverage": {f"{level:g}": short(mine[f"coverage_{level:g}"]) for level in levels},
            "pooled": {f"{level:g}": float(pooled[f"coverage_{level:g}"]) for level in levels},
            "width": {f"{level:g}": float(pooled[f"width_{level:g}"]) for level in levels},
            "infinite": {f"{level:g}": float(pooled.get(f"infinite_{level:g}", 0.0)) for level in levels},
            "quantile": [float(q) for q in table["quantile"]],
            "observed": [float(share) for share in table["observed"]],
        }
    return out


def rolling_skill(page: Page) -> dict[str, Any]:
    """Skill against the strongest baseline in a window that moves over the origins: 1 - loss / its loss.

    The losses are those the verdict compares: mean over steps and series of every origin.
    """
    table = verdict.losses_by_origin(
        page.frame, [*page.models, page.baseline], scale=page.scale if page.several else None
    )
    window = int(min(max(20, len(table) // 8), max(2, len(table) // 2)))
    means = table.rolling(window).mean().iloc[window - 1 :]
    skill = 1 - means[page.models].div(means[page.baseline].where(means[page.baseline] > 0), axis=0)
    stride = max(1, -(-len(skill) // 1500))
    skill = skill.iloc[::-1].iloc[::stride].iloc[::-1]
    return {
        "window": window, "baseline": page.baseline, "stamps": stamp_texts(skill.index.to_numpy()),
        "skill": {name: short(skill[name]) for name in page.models},
    }  # fmt: skip


def seed_spread(page: Page) -> dict[str, Any]:
    """MAE of every seed (MASE of several series) beside the mean of the seeds' forecasts and the baselines."""
    if not len(page.seeds):
        return {}
    measure = "mase" if page.several and page.seeds["mase"].notna().any() else "mae"
    pooled = page.scores.set_index("model")[measure]
    rows = {
        str(name): [{"seed": int(row["seed"]), "error": float(row[measure])} for row in group.to_dict("records")]
        for name, group in page.seeds.groupby("model", sort=False)
    }
    lines = list(dict.fromkeys([page.baseline, "naive"]))
    return {
        "measure": measure.upper(), "rows": rows, "mean": {name: float(pooled[name]) for name in rows},
        "lines": {name: float(pooled[name]) for name in lines if name in pooled},
    }  # fmt: skip


def short(values: Any) -> list[float | None]:
    """Seven significant figures; ``None`` for what is missing or infinite."""
    return [float(f"{value:.7g}") if math.isfinite(value) else None for value in np.asarray(values, np.float64)]


def stamp_texts(stamps: Any) -> list[str]:
    """ISO stamps; days only where all are midnight."""
    index = pd.DatetimeIndex(stamps)
    form = "%Y-%m-%d" if (index == index.normalize()).all() else "%Y-%m-%d %H:%M:%S"
    return [str(text) for text in index.strftime(form)]
