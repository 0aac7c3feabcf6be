"""Findings: what a person should know about rows that can be read, each with its line and column."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipelines.layout import identical_series
from pipelines.panel import Panel
from pipelines.plausible import far_findings, last_bar, price_jumps
from pipelines.prices import check_ohlc
from pipelines.regular import LONG_HOLE
from pipelines.rows import Rows
from pipelines.where import Finding, plural, shown

Floats = NDArray[np.float64]


def check_rows(rows: Rows, panel: Panel, more: dict[str, Floats], lookback: int | None, horizon: int) -> list[Finding]:
    """Findings in rows that can be read: prices, gaps, outliers, constant, short and identical series.

    Args:
        rows: sorted rows.
        panel: what was built from them.
        more: other columns of numbers to look for outliers in, ``[N]`` each.
        lookback: rows a net on windows reads; ``None`` for a net that reads a stream.
        horizon: steps it forecasts.
    """
    found: list[Finding] = []
    for code in range(max(len(rows.ids), 1)):
        one = rows.of(code)
        if rows.prices:
            bars = {kind: rows.cells[column][one] for kind, column in rows.prices.items()}
            seen = check_ohlc(bars, rows.ds[one], names=rows.prices, where=rows.where, positions=rows.positions[one])
            # a fit stops at the target's own prices only
            found += [
                finding if finding.severity != "error" or finding.column in rows.targets
                else replace(finding, severity="warning")
                for finding in seen
            ]  # fmt: skip
            found += last_bar(bars, rows, one)
        bars_only = set(rows.prices.values()) - (set(rows.targets) - set(rows.priced))
        for name, column in (rows.cells | more).items():
            if name not in bars_only:
                found += far_findings(rows, one, name, column[one])
        for name in dict.fromkeys([*rows.priced, *([rows.prices["close"]] if rows.prices else [])]):
            found += price_jumps(rows, one, name)
        if not rows.prices:
            for name in rows.targets:
                # a price is no sum or mean of its period, of which a part would be less
                found += _edges(rows.cells[name][one], name, rows, one, panel) if name not in rows.priced else []
    found += _gaps(rows, panel) + _series(panel, lookback, horizon)
    return found


def _gaps(rows: Rows, panel: Panel) -> list[Finding]:
    found = []
    y, ds = panel.column("y"), panel.ds
    for number, name in enumerate(panel.ids):
        begin, end = int(panel.offsets[number]), int(panel.offsets[number + 1])
        holes = np.flatnonzero(np.diff(np.concatenate([[0], np.isnan(y[begin:end]).astype(np.int8), [0]])))
        if not len(holes):
            continue
        lengths = holes[1::2] - holes[::2]
        of = f" of {name}" if len(panel.ids) > 1 else ""
        worst = int(np.argmax(lengths))
        before = ds[begin + holes[::2][worst] - 1]
        line = line_at(rows, before)
        share = lengths.sum() / (end - begin)
        found.append(
            Finding(
                "gaps", "warning" if share > 0.2 else "info",
                f"{plural(int(lengths.sum()), 'row')}{of} missing on the grid ({share:.1%}, "
                f"{plural(len(lengths), 'gap')}); the "
                f"longest is {plural(int(lengths[worst]), 'row')} after {shown(before)}.",
                line, rows.time, int(lengths.sum()),
                "They are masked; --gaps interpolate:N fills short ones, --gaps error refuses them.",
            )
        )  # fmt: skip
        if lengths[worst] > LONG_HOLE and (rows.prices or panel.grid.calendar) and panel.grid.step_seconds >= 86_400:
            after = y[begin + holes[1::2][worst]]
            found.append(
                Finding(
                    "rename_hole", "warning",
                    f"no rows{of} for {plural(int(lengths[worst]), 'session')} after {shown(before)}: a ticker that "
                    "was renamed, "
                    f"suspended or given to another company (value {y[begin + holes[::2][worst] - 1]:g} before, "
                    f"{after:g} after).",
                    line, rows.time, int(lengths[worst]),
                    "Use the rows after the hole only (--start), or join both names.",
                )
            )  # fmt: skip
    return found


def line_at(rows: Rows, stamp: np.datetime64) -> int | None:
    """The line of the first row with this stamp."""
    at = np.flatnonzero(rows.ds == stamp)
    return rows.where.line(int(rows.positions[at[0]])) if len(at) else None


def _edges(column: Floats, name: str, rows: Rows, one: NDArray[np.int64], panel: Panel) -> list[Finding]:
    """A first or last day (or longer step) that looks like part of one: a total far below its neighbours."""
    good = np.flatnonzero(np.isfinite(column))
    if len(good) < 30 or panel.grid.step_seconds < 86_400 or np.nanmin(column) < 0:
        return []
    found = []
    for at, near, word in ((good[0], good[1:29], "first"), (good[-1], good[-29:-1], "last")):
        if column[at] < 0.6 * np.median(column[near]) and column[at] < np.min(column[near]):
            line = rows.where.line(int(rows.positions[one[at]]))
            found.append(
                Finding(
                    "partial_edge", "warning",
                    f"the {word} value, {column[at]:g}, is below every one of its 28 neighbours (median "
                    f"{np.median(column[near]):g}): perhaps only part of the period.",
                    line, name, 1, "Drop the row if its period is not complete.",
                )
            )  # fmt: skip
    return found


def _series(panel: Panel, lookback: int | None, horizon: int) -> list[Finding]:
    found = []
    if lookback is None:
        need, model, ways = horizon + 1, f"a horizon of {horizon}", "--horizon"
    else:
        need, ways = lookback + horizon, "--lookback or --horizon"
        model = f"a net on windows with lookback {lookback} and horizon {horizon}"
    y = panel.column("y")
    for number, name in enumerate(panel.ids):
        column = y[panel.offsets[number] : panel.offsets[number + 1]]
        of = f"series {name}: " if len(panel.ids) > 1 else ""
        known = column[np.isfinite(column)]
        if len(known) < need:
            found.append(
                Finding("too_short", "warning",
                        f"{of}{plural(len(known), 'value')}; {model} needs {need} or more.",
                        None, panel.target, len(known), f"Use a shorter {ways}, or more data.")
            )  # fmt: skip
        if len(known) > 1 and np.ptp(known) == 0:
            found.append(
                Finding("constant", "warning",
                        f"{of}every value is {known[0]:g}: there is nothing to forecast, and MASE is undefined.",
                        None, panel.target, len(known), "Leave the series out.")
            )  # fmt: skip
    found += [
        Finding("identical", "warning", f"series {left} and {right} are the same, value for value.", None, panel.target,
                1, "Leave one out: scores would count it twice.")
        for left, right in identical_series(panel.frame)
    ]  # fmt: skip
    return found
