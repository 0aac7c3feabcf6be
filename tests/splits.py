"""One market, with or without a split after the fit, as a source delivers it: as traded, with dated actions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipelines.grid import Grid
from pipelines.sources.memory import Memory

DAYS = Grid("D", "XNYS").between(pd.Timestamp("2022-01-03"), pd.Timestamp("2024-12-31"))
FIT, SPLIT = DAYS[-40], DAYS[-5]


def market(source: Memory, name: str = "A", *, ratio: float | None = None, seed: int = 0) -> Memory:
    """Put the bars of ``name`` into ``source``, split ``ratio`` for one on the day ``SPLIT``."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(DAYS))))
    bars = pd.DataFrame(
        {
            "open": close * np.exp(rng.normal(0, 0.002, len(DAYS))), "high": close * 1.01, "low": close * 0.99,
            "close": close, "volume": 1e6 * np.exp(rng.normal(0, 0.3, len(DAYS))),
        },
        index=DAYS,
    )  # fmt: skip
    actions = pd.DataFrame({"ds": [DAYS[30]], "kind": ["dividend"], "value": [0.1]})
    if ratio is not None:
        later = np.where(DAYS >= SPLIT, ratio, 1.0)
        bars[["open", "high", "low", "close"]] = bars[["open", "high", "low", "close"]].div(later, axis=0)
        bars["volume"] *= later
        actions.loc[1] = [SPLIT, "split", ratio]
    actions = actions.astype({"ds": "datetime64[ns]", "kind": object, "value": "float64"})
    return source.put(name, bars, calendar="XNYS", actions=actions)
