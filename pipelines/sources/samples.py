"""Sample data that ships inside packages the toolkit needs anyway (arch, statsmodels): works without a network.

Used only when asked for by name; a failed download never falls back to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from pipelines.catalog import Card, card
from pipelines.errors import DataError, UsageError
from pipelines.grid import Grid
from pipelines.sources.base import Bars, Request


@dataclass(frozen=True)
class Samples:
    """The source behind ``--source sample``."""

    name: str = "sample"
    cached: bool = False
    version: str = "samples"

    def spell(self, ticker: str) -> str:
        """Aliases are resolved by :meth:`fetch`, which says so."""
        return ticker

    def fetch(self, request: Request) -> Bars:
        """The sample that answers to ``request.ticker``, whole.

        Raises:
            TickerNotFoundError: no card answers to that name.
            UsageError: an interval other than the sample's own was asked for.
            DataError: the package that holds it no longer delivers what the card says.
        """
        found = card(request.ticker)
        if request.interval != "1d":
            raise UsageError(
                f"sample {found.name!r} has one frequency ({found.freq}); interval {request.interval!r} was asked for.",
                hint="Leave the interval out.",
            )
        frame = _LOADERS[found.loader]() if found.loader in _LOADERS else _refuse(found)
        if found.target not in frame:
            raise DataError(f"sample {found.name!r} has no column {found.target!r}.", hint="Install the toolkit again.")
        notes = []
        if request.ticker != found.series:
            notes.append(f"{request.ticker!r} read as sample {found.series} ({found.title}).")
        notes.append(f"Sample data shipped with {found.loader.split(':')[0]}: it ends {found.end}.")
        meta = {"title": found.title, "currency": found.currency, "licence": found.licence, "card": found.name}
        return Bars(
            ticker=found.series,
            frame=frame,
            target=found.target,
            grid=Grid(found.freq, found.calendar),
            meta=meta,
            notes=tuple(notes),
        )


def _refuse(found: Card) -> pd.DataFrame:
    raise DataError(
        f"card {found.name!r} names the loader {found.loader!r}, which does not exist.",
        hint=f"Loaders: {', '.join(_LOADERS)}.",
    )


def _index(name: str) -> Callable[[], pd.DataFrame]:
    """Daily bars of an index from ``arch.data``. Its Adj Close equals its Close and is left out."""

    def load() -> pd.DataFrame:
        from importlib import import_module

        raw = import_module(f"arch.data.{name}").load()
        frame = pd.DataFrame({key: raw[key.title()].to_numpy("float64") for key in _OHLCV})
        return frame.set_index(_stamps(raw.index))

    return load


_OHLCV = ("open", "high", "low", "close", "volume")


def _co2() -> pd.DataFrame:
    """Weekly CO2 at Mauna Loa, ppmv; weeks without a measurement are NaN."""
    from statsmodels.datasets import co2

    raw = co2.load_pandas().data
    return pd.DataFrame({"co2": raw["co2"].to_numpy("float64")}, index=_stamps(raw.index))


def _sunspots() -> pd.DataFrame:
    """Yearly mean sunspot number."""
    from statsmodels.datasets import sunspots

    raw = sunspots.load_pandas().data
    return pd.DataFrame({"sunspots": raw["SUNACTIVITY"].to_numpy("float64")}, index=_years(raw["YEAR"]))


def _elnino() -> pd.DataFrame:
    """Monthly sea surface temperature of the Nino 1+2 region, degrees Celsius (twelve columns, one per month)."""
    from statsmodels.datasets import elnino

    raw = elnino.load_pandas().data.set_index("YEAR").sort_index()
    first = pd.Timestamp(int(raw.index[0]), 1, 1)
    stamps = pd.date_range(first, periods=raw.size, freq="MS")
    return pd.DataFrame({"temperature": raw.to_numpy("float64").ravel()}, index=_stamps(stamps))


def _nile() -> pd.DataFrame:
    """Yearly discharge of the Nile at Aswan, 1e8 cubic metres."""
    from statsmodels.datasets import nile

    raw = nile.load_pandas().data
    return pd.DataFrame({"discharge": raw["volume"].to_numpy("float64")}, index=_years(raw["year"]))


def _years(years: pd.Series) -> pd.DatetimeIndex:
    return _stamps(pd.DatetimeIndex([pd.Timestamp(int(year), 1, 1) for year in years]))


def _stamps(index: pd.Index) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.DatetimeIndex(index).to_numpy("datetime64[ns]"), name="ds", freq=None)


_LOADERS: dict[str, Callable[[], pd.DataFrame]] = {
    "arch:sp500": _index("sp500"),
    "arch:nasdaq": _index("nasdaq"),
    "statsmodels:co2": _co2,
    "statsmodels:sunspots": _sunspots,
    "statsmodels:elnino": _elnino,
    "statsmodels:nile": _nile,
}
