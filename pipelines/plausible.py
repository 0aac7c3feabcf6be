"""Plausible: prices that cannot be are refused or masked; a jump or a far value that would rule a fit is said.

What counts as a price: a column beside open, high, low and close; a column called close or price; or what the caller
says (``kind``). Everything else may be zero or negative. So may a column called price with at least three negative
values that are more than one per cent of its rows: power is sold at such prices.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipelines.columns import named_price
from pipelines.errors import ValueRangeError
from pipelines.prices import basis_break, far_moves, jumps
from pipelines.rows import Rows
from pipelines.where import Finding, plural, shown

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
NO_PRICE = "If this is no price: --preset sensor."
SAID = "Look at "  # how the note begins that names a value a fit should not be trusted with


def possible(rows: Rows, policy: str, kind: str | None = None) -> Rows:
    """Settle which targets are prices, refuse or mask those that cannot be, and say what else looks wrong.

    Args:
        rows: sorted rows; ``priced`` and ``kind`` of them are set.
        policy: for impossible prices: ``refuse``, ``mask`` or ``keep``.
        kind: ``price`` or ``sensor`` where the caller says what the targets are.

    Raises:
        ValueRangeError: a price is not positive, or on another basis than its bar.
    """
    kinds = {column: kind_ for kind_, column in rows.prices.items()}
    rows.priced = _priced(rows, kinds, kind)
    rows.kind = kind
    if policy == "mask" and not rows.priced:
        rows.notes.append("No target is a price, so nothing was masked as impossible (--preset price says it is one).")
    for code in range(max(len(rows.ids), 1)) if policy != "keep" else ():
        one = rows.of(code)
        bars = {kind_: rows.cells[column][one] for kind_, column in rows.prices.items()}
        for name in rows.priced:
            _refuse_or_mask(rows, one, bars, name, kinds.get(name, ""), policy)
    if kind is None and any((rows.cells[name] <= 0).any() for name in rows.targets):
        rows.kind = "sensor"
        rows.priced = ()
    _look(rows)
    return rows


def _priced(rows: Rows, kinds: dict[str, str], kind: str | None) -> tuple[str, ...]:
    if kind is not None:
        return rows.targets if kind == "price" else ()
    found = []
    for name in rows.targets:
        below = int((rows.cells[name] < 0).sum())
        if name in kinds:
            found += [name] if kinds[name] != "volume" else []
        elif named_price(name) and below >= max(3, 0.01 * len(rows.ds)):
            rows.notes.append(f"{name}: negative in {plural(below, 'row')}, so it is not taken as a price.")
        elif named_price(name):
            found.append(name)
    return tuple(found)


def _refuse_or_mask(rows: Rows, one: Index, bars: dict[str, Floats], name: str, kind: str, policy: str) -> None:
    low = one[rows.cells[name][one] <= 0]
    basis = basis_break(bars) if kind == "close" else None
    if policy == "mask":
        bad = low if basis is None else np.union1d(low, one[basis[0]])
        rows.cells[name][bad] = np.nan
        if len(bad):
            rows.notes.append(
                f"{name}: {plural(len(bad), 'impossible price')} masked ({rows.where.lines_of(rows.positions[bad])})."
            )
        return
    if len(low):
        more = f" ({len(low) - 1:,} more not above zero)" if len(low) > 1 else ""
        raise rows.where.error(
            ValueRangeError,
            f"a price of {rows.cells[name][low[0]]:g}{more}.",
            position=int(rows.positions[low[0]]),
            column=name,
            hint="Empty the cell if the price is missing, or use --impossible mask"
            f"{'.' if rows.kind else ' (or keep, if it is true).'}"
            f"{'' if kind else f' {NO_PRICE}'}",
        )
    if basis is not None:
        at, ratio = one[basis[0]], basis[1]
        raise rows.where.error(
            ValueRangeError,
            f"{name} lies outside Low to High in {plural(len(at), 'row')}, the last on {shown(rows.ds[at[-1]])}: it is "
            f"on another adjustment basis, {ratio:.2f} times Open there, and a model would learn the break.",
            position=int(rows.positions[at[0]]),
            column=name,
            hint=f"Use --target {rows.prices['open']!r}, which is on one basis, or --impossible mask.",
        )


# -- what is said --------------------------------------------------------------------------------------


def _look(rows: Rows) -> None:
    """What would rule a fit, one note each: jumps of a price or far values that make up most of a sensor's spread; and
    an unfinished last bar, which the forecast would start from."""
    found: list[Finding] = []
    ends: list[Finding] = []
    for code in range(max(len(rows.ids), 1)):
        one = rows.of(code)
        if rows.prices and rows.priced:
            ends += last_bar({kind: rows.cells[column][one] for kind, column in rows.prices.items()}, rows, one)
        for name in rows.targets:
            column = rows.cells[name][one]
            if name in rows.priced:
                found += [finding for finding in price_jumps(rows, one, name) if finding.severity == "warning"]
            else:
                found += far_findings(rows, one, name, column, ruling=True)
    for group in (found, ends):
        for first in group[:1]:
            more = f" {plural(len(group) - 1, 'more place')} like it: see forecast data check." if group[1:] else ""
            rows.notes.append(f"{SAID}{rows.where.word} {first.row}: {first.message} {first.hint}{more}")


def _few(count: int, column: Floats) -> bool:
    return count <= max(10, int(np.isfinite(column).sum()) // 200)


def _may_rule(column: Floats) -> bool:
    """A quick look: could twenty values as large as the largest be half of the sum of squares?"""
    x = column[np.isfinite(column)]
    if len(x) < 20:
        return False
    with np.errstate(over="ignore"):
        return bool(20 * np.max(np.abs(x - np.median(x))) ** 2 > 0.5 * len(x) * np.var(x))


def _rule(x: Floats, far: Index) -> bool:
    """Whether the values at ``far`` make up half of the squared spread or more."""
    rest = np.delete(x, far)
    rest, x = rest[np.isfinite(rest)], x[np.isfinite(x)]
    with np.errstate(over="ignore"):
        return bool(len(far) and len(rest) > 1 and np.var(x) > 2 * np.var(rest))


def price_jumps(rows: Rows, one: Index, name: str) -> list[Finding]:
    """Changes of a price that look like a split or a wrong unit; see :func:`pipelines.prices.jumps`.

    Warnings, which a fit says, if they are few and either look like a split or unit or are most of what the price ever
    moved; else for information.
    """
    bars, names = {"close": rows.cells[name][one]}, {"close": name}
    if rows.prices.get("close") == name and "adj close" in rows.prices:
        names["adj close"] = rows.prices["adj close"]
        bars["adj close"] = rows.cells[names["adj close"]][one]
    found = jumps(bars, rows.ds[one], names=names, where=rows.where, positions=rows.positions[one])
    if not found:
        return []
    column = bars["close"][np.isfinite(bars["close"]) & (bars["close"] > 0)]
    ruled = _rule(np.diff(np.log(column)), np.flatnonzero(far_moves(column)))
    few = _few(len(found), bars["close"])
    return [
        finding if few and (ruled or finding.code != "jump") else replace(finding, severity="info")
        for finding in found
    ]  # fmt: skip


def beyond_all(column: Floats) -> Index:
    """Positions of values far beyond all others, wherever they are: in the first and last rows too, and in a row.

    Each of ``k`` such values lies more than ``10 k`` times as far from the median as any other: the more they are, the
    more likely they are true (a new level, a peak that comes back).
    """
    good = np.flatnonzero(np.isfinite(column))
    count = len(good)
    if count < 20:
        return good[:0]
    away = np.abs(column[good] - np.median(column[good]))
    order = np.argsort(away, kind="stable")
    away = away[order]
    many = np.arange(1, count // 5 + 1)
    for k in many[away[count - many] / (10 * many) > away[count - many - 1]][::-1]:
        far = np.sort(good[order[count - k :]])
        if _apart(column, far, 10 * int(k)):
            return far
    return good[:0]


def _apart(column: Floats, far: Index, times: float) -> bool:
    """Whether the values at ``far`` lie more than ``times`` as far from the median as any other, and farther than a
    heavy tail reaches (by the estimate of Hill, 1975).

    Assumption: a level that is left counts as a distance, upwards (a machine that is switched on) or for more than
    three rows (switched off); where hardly a value ever differs, a hundredfold of it does.
    """
    center = float(np.nanmedian(column))
    rest = np.abs(np.delete(column, far) - center)
    rest = np.sort(rest[np.isfinite(rest)])
    tail = rest[rest > 0][-max(10, len(rest) // 20) :]
    reach, level = float(rest[-1]), abs(center)
    if len(tail) < 10:
        reach = 100 * max(reach, level)
    elif len(far) > 3 or (np.abs(column[far]) > level).all():
        reach = max(reach, 0.5 * level)
    heavy = float(np.exp(min(8 * np.mean(np.log(tail / tail[0])), 50))) if len(tail) else 1.0
    return reach > 0 and float(np.abs(column[far] - center).min()) / max(times, heavy) > reach


def spikes(column: Floats) -> Index:
    """Positions of values far from the median of their neighbourhood, three rows to both sides.

    Far: more than 15 robust deviations, and more than half the span of the middle nine tenths.
    """
    good = np.flatnonzero(np.isfinite(column))
    if len(good) < 20:
        return good[:0]
    x = column[good]
    rest = np.abs(x - _around(x))
    spread = np.subtract(*np.percentile(x, [95, 5]))
    usual = 1.4826 * float(np.median(rest[rest > 0])) if (rest > 0).any() else 0.0
    return good[(rest > 15 * usual) & (rest > 0.5 * spread)] if usual > 0 else good[:0]


def _around(x: Floats) -> Floats:
    """The median of each value and three rows on both sides."""
    around: Floats = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(x, 3, mode="edge"), 7), axis=-1)
    return around


def _beside(column: Floats, at: int) -> str:
    """What shows that the value at ``at`` is far: the level around it, and how far values usually lie from theirs."""
    good = np.isfinite(column)
    x = column[good]
    around = _around(x)
    away = np.abs(x - around)
    level = around[np.count_nonzero(good[:at])]
    return f"the rows around {column[at]:g} lie near {level:g}, as a rule within {np.median(away[away > 0]):.3g}"


def far_findings(rows: Rows, one: Index, name: str, column: Floats, ruling: bool = False) -> list[Finding]:
    """Far values in a column of one series (rows ``one``): those beyond all others, and spikes among the rest.

    Args:
        ruling: only what would rule a fit, because it makes up half of the squared spread or more: those beyond all
            others, and up to three spikes that stand out, or more of just one value. Other spikes that come back are
            the way of a series.
    """
    beyond = beyond_all(column)
    rest = column.copy()
    rest[beyond] = np.nan
    near = spikes(rest) if _may_rule(rest) or not ruling else beyond[:0]
    coded = len(near) > 0 and np.ptp(rest[near]) == 0  # one value again and again: what a sensor writes for a fault
    if ruling and not (0 < len(near) <= (20 if coded else 3) and _apart(rest, near, 3)):
        near = near[:0]
    found = []
    for far, whole, others in ((beyond, column, "all others"), (near, rest, "")):
        if not len(far) or (ruling and not _rule(whole, far)):
            continue
        positions = rows.positions[one[far]]
        cells = ", ".join(f"{column[at]:g}" for at in far[:3])
        if far is beyond:
            low, high = np.nanpercentile(rest, [5, 95])
            why = f"the middle nine tenths lie within {low:g} and {high:g}"
        else:
            others = "its neighbours" if len(far) == 1 else "their neighbours"
            why = _beside(rest, int(far[0]))
        found.append(
            Finding(
                "outliers", "warning" if far is beyond or _few(len(far), column) else "info",
                f"{plural(len(far), 'value')} far from {others}: {cells} ({rows.where.lines_of(positions)}); {why}.",
                rows.where.line(int(positions[0])), name, len(far),
                "Compare with the source; empty the cells that are wrong.",
            )
        )  # fmt: skip
    return found


def last_bar(bars: dict[str, Floats], rows: Rows, one: Index) -> list[Finding]:
    """A last bar with little volume: perhaps of an unfinished session, and a forecast would start from it."""
    volume = bars.get("volume")
    if volume is None or len(volume) < 22 or not np.isfinite(volume[-1]) or not np.nanmedian(volume[-21:-1]) > 0:
        return []
    if volume[-1] >= 0.25 * np.nanmedian(volume[-21:-1]):
        return []
    return [
        Finding(
            "partial_last_bar", "warning",
            f"the last bar has {volume[-1] / np.nanmedian(volume[-21:-1]):.0%} of the usual volume: perhaps an "
            "unfinished session.",
            rows.where.line(int(rows.positions[one[-1]])), rows.prices["volume"], 1,
            "Drop the row if the session was not over.",
        )
    ]  # fmt: skip
