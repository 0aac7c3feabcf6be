"""Rows given behind a history: what they must hold, and that they continue every series where it stands."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from pipelines.errors import TimeError, UsageError
from pipelines.panel import Panel


def continuation(
    history: Panel, last: Mapping[str, pd.Timestamp], rows: pd.DataFrame, future: pd.DataFrame | None
) -> Panel:
    """``rows`` as a panel of the series of ``history``, each from the stamp behind its ``last`` on.

    Args:
        future: known-future covariates behind the new rows.

    Raises:
        UsageError: these are no rows, a column is missing, or a series was not read before.
        TimeError: rows do not continue their series on the grid.
    """
    needed = ["unique_id", "ds", "y", *history.roles]
    given = {"the new rows": rows} if future is None else {"the new rows": rows, "future": future}
    for name, part in given.items():
        if not isinstance(part, pd.DataFrame):
            columns = needed if part is rows else ["unique_id", "ds", *history.covariates("future")]
            raise UsageError(
                f"{name} came as {type(part).__name__}, expected a DataFrame with {', '.join(columns)}.",
                hint="One row per series and step: pandas.DataFrame({'unique_id': ['a'], 'ds': [stamp], 'y': [value]})"
                " with the column of every covariate; of a Panel, the frame: panel.frame.",
            )
    lacking = [name for name in needed if name not in rows]
    if lacking:
        raise UsageError(
            f"the new rows lack column {lacking[0]!r}; they have {', '.join(map(str, rows.columns))}.",
            hint=f"Give {', '.join(needed)}.",
        )
    fresh = Panel(rows[needed], history.grid, history.roles, future, target=history.target, meta=history.meta)
    unknown = [name for name in fresh.ids if name not in last]
    if unknown:
        raise UsageError(f"series {unknown[0]!r} was not read before.", hint="Use Model.read with all its rows.")
    for i, name in enumerate(fresh.ids):
        expected, got = history.grid.after(last[name], 1)[0], pd.Timestamp(fresh.ds[fresh.offsets[i]])
        if got != expected:
            raise TimeError(
                f"series {name!r}: the new rows begin at {got}; after {last[name]} comes {expected}.",
                hint="Give every row since then; a missing value is a row with y = NaN.",
            )
    return fresh
