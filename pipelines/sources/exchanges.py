"""Which calendar a Yahoo ticker follows: by its exchange, else by its time zone, else weekdays.

Yahoo names exchanges in its own way (NMS is NASDAQ); the calendars are those of ``exchange_calendars``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipelines.errors import TimeError
from pipelines.grid import Grid
from pipelines.sessions import WEEK

# calendar: Yahoo's exchange names
_EXCHANGES = {
    "XNYS": "NMS NGM NCM NYQ NYS ASE PCX BTS NAS NIM SNP DJI WCB CXI OPR PNK OQB OQX OEM IEX",
    "XTSE": "TOR VAN CNQ NEO",
    "BVMF": "SAO",
    "XMEX": "MEX",
    "XBUE": "BUE",
    "XSGO": "SGO",
    "XLON": "LSE IOB FGI",
    "XDUB": "ISE",
    "XPAR": "PAR ENX",
    "XAMS": "AMS",
    "XBRU": "BRU",
    "XLIS": "LIS",
    "XETR": "GER",
    "XFRA": "FRA BER DUS HAM HAN MUN STU",
    "XSWX": "EBS",
    "XWBO": "VIE",
    "XMIL": "MIL TLO",
    "XMAD": "MCE",
    "XSTO": "STO",
    "XCSE": "CPH",
    "XHEL": "HEL",
    "XOSL": "OSL",
    "XICE": "ICE",
    "XWAR": "WSE",
    "XPRA": "PRA",
    "XBUD": "BUD",
    "ASEX": "ATH",
    "XIST": "IST",
    "XTAE": "TLV",
    "XSAU": "SAU",
    "XJSE": "JNB",
    "XTKS": "JPX OSA",
    "XHKG": "HKG",
    "XSHG": "SHH SHZ",
    "XTAI": "TAI TWO",
    "XKRX": "KSC KOE",
    "XBOM": "BSE NSI",
    "XSES": "SES",
    "XIDX": "JKT",
    "XKLS": "KLS",
    "XBKK": "SET",
    "XPHS": "PHS",
    "XASX": "ASX",
    "XNZE": "NZE",
    "CMES": "CME CBT NYM CMX",
}
_BY_EXCHANGE = {code: calendar for calendar, codes in _EXCHANGES.items() for code in codes.split()}
_BY_ZONE = {
    "America/New_York": "XNYS",
    "America/Toronto": "XTSE",
    "America/Sao_Paulo": "BVMF",
    "Europe/London": "XLON",
    "Europe/Paris": "XPAR",
    "Europe/Amsterdam": "XAMS",
    "Europe/Berlin": "XETR",
    "Europe/Zurich": "XSWX",
    "Asia/Tokyo": "XTKS",
    "Asia/Hong_Kong": "XHKG",
    "Asia/Shanghai": "XSHG",
    "Asia/Kolkata": "XBOM",
    "Australia/Sydney": "XASX",
}
_FREQ = {"1wk": "W-MON", "1mo": "MS", "1h": "h", "60m": "h", "90m": "90min"}


def pandas_freq(interval: str) -> str:
    """Yahoo's interval as a pandas frequency: ``1d`` to ``D``, ``5m`` to ``5min``."""
    if interval == "1d":
        return "D"
    return _FREQ.get(interval, interval.replace("m", "min"))


def step(interval: str) -> pd.Timedelta:
    """Length of one bar; a month counts as 31 days."""
    if interval in ("1d", "1wk", "1mo"):
        return pd.Timedelta(days={"1d": 1, "1wk": 7, "1mo": 31}[interval])
    return pd.Timedelta(pandas_freq(interval) if pandas_freq(interval)[0].isdigit() else f"1{pandas_freq(interval)}")


def calendar_of(meta: Mapping[str, Any]) -> str | None:
    """Exchange calendar for Yahoo's metadata; ``None`` where trading never closes for holidays, or nobody knows."""
    kind = str(meta.get("instrumentType") or "").upper()
    if kind in ("CRYPTOCURRENCY", "CURRENCY"):
        return None
    exchange = str(meta.get("exchangeName") or "")
    return _BY_EXCHANGE.get(exchange) or _BY_ZONE.get(str(meta.get("exchangeTimezoneName") or ""))


def daily_grid(meta: Mapping[str, Any], stamps: pd.DatetimeIndex) -> tuple[Grid, str | None]:
    """Grid of daily bars, and a sentence where it had to be guessed.

    Around the clock for crypto, weekdays for currencies, exchange sessions for the rest. A calendar
    that does not explain 95 % of the bars is not believed.
    """
    kind = str(meta.get("instrumentType") or "").upper()
    if kind == "CRYPTOCURRENCY":
        return Grid("D"), None
    calendar = calendar_of(meta)
    named = meta.get("fullExchangeName") or meta.get("exchangeName") or "an unnamed exchange"
    if calendar is not None:
        grid = Grid("D", calendar)
        fits, reason = _share(grid, stamps)
        if fits >= 0.95:
            return grid, None
        reason = reason or f"only {fits:.0%} of the bars lie on sessions of {calendar}, the calendar of {named}"
    else:
        reason = f"no calendar is known for {named}"
    if (stamps.day_of_week < 5).mean() >= 0.95:
        return Grid("B"), None if kind == "CURRENCY" else f"{reason}; weekdays are used."
    return Grid("D"), f"{reason}; every day of the week is used."


def intraday_grid(meta: Mapping[str, Any], stamps: pd.DatetimeIndex, freq: str) -> tuple[Grid, str | None]:
    """Grid of bars shorter than a day (stamps UTC), and a sentence where it is not the exchange's.

    Bars within the sessions of the exchange (Monday to Friday for currencies) where that explains 95 % of them, so
    that nights and weekends are no gaps; around the clock otherwise.
    """
    zone = str(meta.get("exchangeTimezoneName") or "UTC")
    calendar = calendar_of(meta)
    if str(meta.get("instrumentType") or "").upper() == "CURRENCY":
        calendar = WEEK
    if calendar is None:
        return Grid(freq, tz=zone), None
    grid = Grid(freq, calendar, tz=zone)
    fits, reason = _share(grid, stamps)
    if fits >= 0.95:
        return grid, None
    reason = reason or f"only {fits:.0%} of the bars begin where {freq} bars of {calendar} do"
    return Grid(freq, tz=zone), f"{reason}; they are put around the clock."


def _share(grid: Grid, stamps: pd.DatetimeIndex) -> tuple[float, str]:
    """Share of ``stamps`` on ``grid``; 0 and why, where the library cannot build the calendar for these years."""
    try:
        return float(stamps.isin(grid.between(stamps[0], stamps[-1])).mean()), ""
    except TimeError as error:
        return 0.0, error.message.rstrip(".")
