"""Revised: rows that a run was fitted on and that newer data gives another value.

Assumptions, named: values that differ by less than ``SAME`` of their size are the same, as sources round prices anew at
every fetch, and so are zeros but for ``DUST``; a value that was missing or is missing now says nothing. Prices adjusted
for dividends (``adjust="total"``) are compared on the basis of the newest row that both have, since every dividend
changes all that came before it by one factor.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipelines.panel import Panel
from pipelines.pipeline import Pipeline
from pipelines.where import plural, shown

SAME = 1e-4
DUST = 1e-5  # of the median value


def notes_on_revisions(pipeline: Pipeline, saved: Panel, panel: Panel) -> list[str]:
    """A sentence on target values of ``saved`` that ``panel`` gives otherwise, both on the share count of the fit."""
    known = [name for name in panel.ids if name in saved.ids]
    if not known:
        return []
    panel = panel.select(known)
    both = _targets(pipeline, saved).merge(_targets(pipeline, panel), on=["unique_id", "ds"], suffixes=("_was", "_is"))
    both = both.dropna()
    if saved.meta.get("adjust") == "total":
        newest = both.groupby("unique_id", sort=False)[["y_was", "y_is"]].transform("last")
        both["y_is"] *= newest["y_was"] / newest["y_is"]
    size = np.maximum(both["y_was"].abs(), both["y_is"].abs()) + both["y_was"].abs().median() * DUST
    other = both[(both["y_was"] - both["y_is"]).abs() > SAME * size]
    if other.empty:
        return []
    first = other.iloc[0]
    differ = "value differs" if len(other) == 1 else "values differ"
    return [
        f"{len(other):,} {differ} from those that the run holds of the same {plural(len(both), 'row')} (first "
        f"{first['unique_id']}, {shown(first['ds'])}: {first['y_is']:,.6g}, was {first['y_was']:,.6g}); the forecast "
        "reads the new ones with weights learned from the old."
    ]


def _targets(pipeline: Pipeline, panel: Panel) -> pd.DataFrame:
    times = pipeline.to_fit(panel)
    y = panel.column("y") if times is None else panel.column("y") * np.repeat(times, panel.lengths)
    return pd.DataFrame({"unique_id": panel.frame["unique_id"].astype(str), "ds": panel.frame["ds"], "y": y})
