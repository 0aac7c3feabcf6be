"""Which splits the prices of a panel are adjusted for, and what brings later ones back to the share count of a fit.

A split after the fit multiplies the whole history: prices by one over its ratio, volume by the ratio. Whatever was
fitted on the old share count (scalers, weights that saw levels) is then wrong by a constant, so values are brought
back to that count before they are read, and forecasts on it to the one of the panel. Assumption, named: dividends,
which move prices by a per cent or so under ``adjust="total"``, are let be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.adjust import PRICES
from pipelines.panel import Panel

Array = NDArray[np.float64]
Splits = Mapping[str, Sequence[Sequence[Any]]]  # series: (day as text, ratio) of every split


def splits_of(panel: Panel) -> dict[str, list[list[Any]]] | None:
    """The splits that the prices of ``panel`` are adjusted for, by series, JSON only; ``None`` where nobody says so."""
    facts: Mapping[str, Any] | None = panel.meta.get("series")
    if panel.meta.get("adjust") not in ("splits", "total") or facts is None:
        return None
    found = {
        name: [[one["date"], one["value"]] for one in facts[name].get("actions", ()) if one["kind"] == "split"]
        for name in panel.ids
        if name in facts
    }
    return {name: splits for name, splits in found.items() if splits}


def to_fit(panel: Panel, column: str, known: Splits | None, until: str) -> Array | None:
    """``[S]`` what ``column`` of each series is multiplied by to be on the share count of a fit; ``None``: nothing.

    Args:
        column: name in the panel; ``"y"`` is its target.
        known: the splits that the fit's panel was adjusted for; ``None`` where nobody knows.
        until: the fit's last training row.
    """
    name = panel.target if column == "y" else column
    if known is None or (name != "volume" and name not in PRICES):
        return None
    now = splits_of(panel)
    if now is None or not (now or known):
        return None
    shares = np.ones(len(panel.ids))
    for i, series in enumerate(panel.ids):
        new, old = ({str(day): float(ratio) for day, ratio in splits.get(series, ())} for splits in (now, known))
        shares[i] = _ratio(new, old, pd.Timestamp(until))
        shares[i] /= _ratio(old, new, pd.Timestamp(panel.ds[panel.offsets[i + 1] - 1]))  # it ends before a split
    if (shares == 1).all():
        return None
    return shares if name in PRICES else 1 / shares


def _ratio(these: dict[str, float], others: dict[str, float], since: pd.Timestamp) -> float:
    """Product of the splits that ``others`` lacks, from the day of ``since`` on: an older one is a corrected record."""
    return float(
        np.prod([
            ratio
            for day, ratio in these.items()
            if day not in others and pd.Timestamp(day) >= since.normalize()
        ])
    )  # fmt: skip
