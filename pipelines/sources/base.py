"""What a source is: a request in, raw bars out.

Sources know nothing of caches, panels or adjustment: :mod:`pipelines.tickers` puts these together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd

from pipelines.grid import Grid

ACTION_KINDS = ("split", "dividend")


@dataclass(frozen=True)
class Request:
    """One question to a source.

    Args:
        ticker: as the source spells it.
        interval: ``1d``, ``1wk``, ``1mo``, ``1h``, ...
        start: first stamp wanted; ``None`` means everything the source has. Sources always deliver up to
            now: what happened after a row decides how its price was adjusted.
        deadline: seconds in which the answer must be there, all retries together.
    """

    ticker: str
    interval: str = "1d"
    start: pd.Timestamp | None = None
    deadline: float = 12.0


@dataclass(frozen=True)
class Bars:
    """What a source delivered for one ticker.

    Args:
        ticker: as the source spells it.
        frame: index ``ds`` (zone-naive, ascending, unique), float columns. For prices: open, high, low,
            close, volume, **as traded** (no split or dividend applied).
        target: the column to forecast unless told otherwise.
        grid: the stamps such bars should have; rows off the grid or missing from it are still possible.
        actions: columns ``ds, kind, value``: a ``split`` of 4-for-1 has value 4; a ``dividend`` is cash
            per share of that day.
        meta: facts about the ticker, JSON only (currency, exchange, ...).
        notes: what the source decided, one sentence each, for people.
    """

    ticker: str
    frame: pd.DataFrame
    target: str
    grid: Grid
    actions: pd.DataFrame = field(default_factory=lambda: no_actions())
    meta: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """Anything that can deliver bars."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """The library behind it and its version, for the record."""
        ...

    @property
    def cached(self) -> bool:
        """Whether asking costs enough (network) that answers should be kept on disk."""
        ...

    def spell(self, ticker: str) -> str:
        """The one spelling of ``ticker`` this source uses (Yahoo: capitals).

        Raises:
            TickerNotFoundError: no ticker of this source can be spelled so.
        """
        ...

    def fetch(self, request: Request) -> Bars: ...


@dataclass(frozen=True)
class Fetched:
    """Bars of one ticker and how fresh they are.

    Args:
        bars: as traded, everything there is.
        fetched_at: ISO time (UTC) of the source's last answer; ``None`` for sources without a cache.
        stale_since: equal to ``fetched_at`` where a refresh failed and older rows are used, else ``None``.
        why_stale: the failure, one sentence.
        revisions: what changed in rows that had been delivered before, newest last (JSON).
        notes: what the cache decided, one sentence each, for people.
    """

    bars: Bars
    fetched_at: str | None = None
    stale_since: str | None = None
    why_stale: str | None = None
    revisions: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()


def no_actions() -> pd.DataFrame:
    """An empty table of splits and dividends."""
    return pd.DataFrame(
        {
            "ds": pd.Series([], dtype="datetime64[ns]"),
            "kind": pd.Series([], dtype=object),
            "value": pd.Series([], dtype="float64"),
        }
    )
