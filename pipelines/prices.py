"""Prices: what cannot be true of open, high, low and close, and what most likely is a split or a wrong unit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipelines.where import Finding, Where, plural, shown

Floats = NDArray[np.float64]
TOLERANCE = 1e-6  # relative: prices printed with six decimals
BASIS_SHARE = 0.05  # more impossible rows than this is no slip but two bases
JUMP = 1.4  # factor from one bar to the next that is looked at
BEYOND = 10  # usual moves of the price: a smaller one is a move among others
NEAR = 0.05  # relative: how close to its ratio a split must be, since the price moves on that day too
_RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 28.0, 30.0, 50.0, 100.0, 1000.0)


def check_ohlc(
    bars: Mapping[str, Floats], stamps: NDArray[np.datetime64], *, names: Mapping[str, str], where: Where,
    positions: NDArray[np.int64],
) -> list[Finding]:  # fmt: skip
    """Everything impossible or suspect within the bars of one instrument; from bar to bar see :func:`jumps`.

    Args:
        bars: ``open, high, low, close`` and perhaps ``adj close, volume``: ``[N]`` each, in order of time.
        stamps: ``[N]``.
        names: what each of them is called in the file.
        where: origin of the rows.
        positions: ``[N]`` row of the frame of each bar.
    """
    found = _impossible(bars, stamps, names, where, positions)
    for kind in ("open", "high", "low", "close", "adj close"):
        if kind in bars:
            low = np.flatnonzero(bars[kind] <= 0)
            if len(low):
                found.append(
                    Finding(
                        "price_not_positive", "error",
                        f"{names[kind]} is zero or negative in {plural(len(low), 'row')} "
                        f"({where.lines_of(positions[low])}).",
                        where.line(int(positions[low[0]])), names[kind], len(low),
                        "Empty the cells if the price is missing, or use --impossible mask.",
                    )
                )  # fmt: skip
    flat = (bars["open"] == bars["high"]) & (bars["high"] == bars["low"]) & (bars["low"] == bars["close"])
    if flat.any():
        at = np.flatnonzero(flat)
        found.append(
            Finding("flat_bars", "info", f"{plural(len(at), 'row')} with one price for open, high, low and close.",
                    where.line(int(positions[at[0]])), None, len(at))
        )  # fmt: skip
    if "volume" in bars and (bars["volume"] == 0).any():
        at = np.flatnonzero(bars["volume"] == 0)
        found.append(
            Finding("zero_volume", "info", f"{plural(len(at), 'row')} without volume.",
                    where.line(int(positions[at[0]])), names["volume"], len(at))
        )  # fmt: skip
    return found


def _impossible(
    bars: Mapping[str, Floats], stamps: NDArray[np.datetime64], names: Mapping[str, str], where: Where,
    positions: NDArray[np.int64],
) -> list[Finding]:  # fmt: skip
    # a price of zero is reported on its own, not again as a Low above it
    opened, closed = (np.where(bars[kind] > 0, bars[kind], np.nan) for kind in ("open", "close"))
    top, bottom = np.fmax(opened, closed), np.fmin(opened, closed)
    above = np.flatnonzero(bars["high"] < top * (1 - TOLERANCE))
    below = np.flatnonzero(bars["low"] > bottom * (1 + TOLERANCE))
    basis = basis_break(bars)
    if basis is not None:
        rows, ratio = basis
        last = int(rows[-1])
        return [
            Finding(
                "different_bases", "error",
                f"{names['close']} lies outside Low to High in {plural(len(rows), 'row')} "
                f"({where.lines_of(positions[rows])}): "
                f"up to {shown(stamps[last])} it is on another basis, {ratio:.2f} times {names['open']}, as if a split "
                "were applied to one and not to the other.",
                where.line(int(positions[rows[0]])), names["close"], len(rows),
                f"Use --target {names['open']!r}, which is on one basis, or get the file again from its source.",
            )
        ]  # fmt: skip
    found = []
    for rows, code, text in (
        (above, "high_below", f"{names['high']} is below Open or Close"),
        (below, "low_above", f"{names['low']} is above Open or Close"),
    ):
        if len(rows):
            column = names["high"] if code == "high_below" else names["low"]
            found.append(
                Finding(code, "warning", f"{text} in {plural(len(rows), 'row')} ({where.lines_of(positions[rows])}).",
                        where.line(int(positions[rows[0]])), column, len(rows), "Compare these rows with the source.")
            )  # fmt: skip
    return found


def basis_break(bars: Mapping[str, Floats]) -> tuple[NDArray[np.int64], float] | None:
    """Rows whose close is on another adjustment basis than open, high and low, and the ratio; None if all agree."""
    close, low, high = bars["close"], bars["low"], bars["high"]
    with np.errstate(divide="ignore", invalid="ignore"):
        outside = (close > high * 1.05) | (close < low * 0.95)
        ratio = close / bars["open"]
    rows = np.flatnonzero(outside)
    if len(rows) < 5 or len(rows) < BASIS_SHARE * len(close):
        return None
    usual = float(np.nanmedian(ratio[rows]))
    return (rows, usual) if abs(np.log(usual)) > 0.1 else None


def far_moves(close: Floats) -> NDArray[np.bool_]:
    """``[N - 1]``: whether each move of a positive price is beyond all the usual ones."""
    moves = np.abs(np.diff(np.log(close)))
    usual = 1.4826 * float(np.median(moves)) if len(moves) else 0.0
    far: NDArray[np.bool_] = moves > max(np.log(JUMP), BEYOND * usual)
    return far


def jumps(
    bars: Mapping[str, Floats], stamps: NDArray[np.datetime64], *, names: Mapping[str, str], where: Where,
    positions: NDArray[np.int64],
) -> list[Finding]:  # fmt: skip
    """Changes of the close from bar to bar that look like an unadjusted split or a wrong unit; there and back is one.

    Looked at is a move far beyond those that this price usually makes (a share's month is none), one that the adjusted
    close does not make, and one to another unit.
    """
    close = bars["close"]
    good = np.flatnonzero(np.isfinite(close) & (close > 0))
    found: list[Finding] = []
    ratio = close[good[1:]] / close[good[:-1]]
    far = far_moves(close[good])
    places = np.flatnonzero(np.abs(np.log(ratio)) > np.log(JUMP))
    back = {place for place in places if place + 1 < len(ratio) and abs(np.log(ratio[place] * ratio[place + 1])) < 0.1}
    for place in places:
        if place - 1 in back:
            continue
        before, now = good[place], good[place + 1]
        factor = float(max(ratio[place], 1 / ratio[place]))
        steady = False
        if "adj close" in bars:
            one, two = bars["adj close"][before], bars["adj close"][now]
            steady = bool(one > 0 and two > 0 and abs(np.log(two / one)) < 0.5 * np.log(factor))
        other_unit = 70 < factor < 140
        if not (far[place] or steady or other_unit):
            continue
        near = min(_RATIOS, key=lambda usual: abs(np.log(usual / factor)))
        moved = "rises" if ratio[place] > 1 else "falls"
        text = f"{names['close']} {moved} to {ratio[place]:.4g} times the value before on {shown(stamps[now])}"
        line, hint, code = (
            where.line(int(positions[now])),
            "Compare with the source; correct or empty the cell.",
            "jump",
        )
        if steady:
            code = "unadjusted_split"
            text += f", {names['adj close']} does not: a split of about {near:g} for 1 "
            text += f"that {names['close']} was not adjusted for."
            hint = f"Use --target {names['adj close']!r}."
        elif other_unit:
            text += " and back in the row after" if place in back else ""
            code, text = "unit_jump", text + ": a hundredfold step, most likely another unit (cents, pence)."
            hint = "Bring all rows to one unit."
        elif "adj close" in bars:
            text += f", and {names['adj close']} with it: a true move, or an error in both."
        elif place in back:
            text += ", and the row after it is back where it was: most likely a wrong value."
        elif abs(np.log(near / factor)) < NEAR and "adj" not in names["close"].lower():
            code, text = (
                "unadjusted_split",
                text + f": close to {near:g} for 1, most likely a split that was not adjusted for.",
            )
            hint = "Use adjusted prices, or --source yahoo, which adjusts."
        else:
            text += "."
        found.append(Finding(code, "warning", text, line, names["close"], 1, hint))
    return found
