"""What a reader of a backtest should know of its scores, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from forecast import evidence
from forecast.results import Backtest
from pipelines.where import some


def notes_of(result: Backtest, scale: pd.DataFrame, *, warm: bool) -> tuple[str, ...]:
    """The notes on ``result``.

    Args:
        scale: naive errors before the test span, of :func:`forecast.metrics.naive_scale`.
        warm: nets went on from the weights of the fold before.
    """
    notes = ["Warm refits: nets went on from the weights of the fold before, so folds are not independent."] * warm
    return (
        *notes,
        *_forecasts(result),
        *_spread(result),
        *_bounds(result),
        *evidence.notes_on_series(result.frame, result.panel.ids, scale),
    )


def _forecasts(result: Backtest) -> Iterator[str]:
    """Of models whose forecasts are not what their name promises, or not there."""
    names = result.settings["models"]
    told = {name: [one for fold in result.folds for one in fold["models"] if one["model"] == name] for name in names}
    for name, facts in told.items():
        if off := [one["deviation"] for one in facts if "deviation" in one]:
            yield f"{name} was read in pieces: forecasts differ from the exact pass by up to {max(off):.2g} steps."
    missing = result.scores.set_index("model")["missing"]
    for name in names:
        if missing[name]:
            yield f"{name} left {int(missing[name]):,} forecasts out: its scores are undefined."
    for name, facts in told.items():
        if short := sorted({series for one in facts for series in one.get("naive_instead", ())}):
            yield f"{name} forecasts like naive where a fit had too few rows: {some(short)}."
        if out := sorted({series for one in facts for series in one.get("left_out", ())}):
            yield (
                f"{name}: early stopping and interval widths of a fit left out what had no scale in its training rows "
                f"(hardly a value, or a spread of zero): {some(out)}."
            )


def _spread(result: Backtest) -> Iterator[str]:
    spread = result.seeds.groupby("model", sort=False)["mae"].agg(["min", "max"])
    for name, row in spread.iterrows():
        yield (
            f"{name}: MAE of its {len(result.settings['seeds'])} seeds from {row['min']:.4g} to {row['max']:.4g}; "
            "the scores are those of the mean of their forecasts."
        )


def _bounds(result: Backtest) -> Iterator[str]:
    infinite = [name for name in result.scores.columns if name.startswith("infinite_")]
    for row in result.scores[["model", *infinite]].to_dict("records"):
        if row["model"] in result.settings["models"] and (open_ := [row[name] for name in infinite if row[name] > 0]):
            yield f"{row['model']}: {max(open_):.1%} of its intervals have no bound (too few scores, or drift)."
