"""A source that answers from memory: the test double this package ships, for its tests and for yours.

>>> from pipelines.sources.memory import Memory
>>> from pipelines.tickers import load
>>> import pandas as pd
>>> bars = pd.DataFrame({"close": [1.0, 2.0, 3.0]}, index=pd.date_range("2024-01-01", periods=3))
>>> source = Memory().put("X", bars, freq="D")
>>> load("X", source=source).column("y").tolist()
[1.0, 2.0, 3.0]
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipelines.errors import NoDataInRangeError, TickerNotFoundError, UsageError, did_you_mean
from pipelines.grid import Grid
from pipelines.sources.base import Bars, Request, no_actions

Answer = Bars | Exception | Callable[[Request], Bars]


@dataclass
class Memory:
    """Scripted answers, one queue per ticker; the last answer of a queue repeats for ever.

    Args:
        cached: whether :func:`pipelines.tickers.load` puts the disk cache in front of it, as it does for Yahoo.

    Attributes:
        requests: every request so far, in order: what a test asserts on.
    """

    name: str = "memory"
    cached: bool = False
    version: str = "memory"
    requests: list[Request] = field(default_factory=list)
    _answers: dict[str, deque[Answer]] = field(default_factory=dict)

    def put(
        self,
        ticker: str,
        frame: pd.DataFrame,
        *,
        freq: str = "D",
        calendar: str | None = None,
        target: str = "close",
        actions: pd.DataFrame | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Memory:
        """Answer ``ticker`` with ``frame`` (indexed by time, prices as traded) from the next request on."""
        stamps = pd.DatetimeIndex(pd.DatetimeIndex(frame.index).to_numpy("datetime64[ns]"), name="ds")
        if not (stamps.is_monotonic_increasing and stamps.is_unique):
            raise UsageError("the frame's time stamps are not ascending and unique.", hint="Sort it first.")
        bars = Bars(
            ticker=ticker,
            frame=frame.astype("float64").set_axis(stamps),
            target=target,
            grid=Grid(freq, calendar),
            actions=no_actions() if actions is None else actions,
            meta=dict(meta or {}),
        )
        return self.then(ticker, bars)

    def then(self, ticker: str, answer: Answer) -> Memory:
        """Queue an answer: bars, an error to raise, or a function of the request."""
        self._answers.setdefault(ticker, deque()).append(answer)
        return self

    def spell(self, ticker: str) -> str:
        """Any text is a name here."""
        return ticker

    def fetch(self, request: Request) -> Bars:
        """The next answer for the ticker, cut to ``request.start``.

        Raises:
            TickerNotFoundError: nothing was put in under that name.
        """
        self.requests.append(request)
        queue = self._answers.get(request.ticker)
        if not queue:
            raise TickerNotFoundError(
                f"the memory source holds no {request.ticker!r}.{did_you_mean(request.ticker, list(self._answers))}",
                hint="Put it in first: Memory().put(ticker, frame).",
            )
        answer = queue[0] if len(queue) == 1 else queue.popleft()
        if isinstance(answer, Exception):
            raise answer
        bars = answer if isinstance(answer, Bars) else answer(request)
        return since(bars, request.start)


def since(bars: Bars, start: pd.Timestamp | None) -> Bars:
    """Rows and actions from ``start`` on.

    Raises:
        NoDataInRangeError: none are left.
    """
    if start is None:
        return bars
    frame = bars.frame[bars.frame.index >= start]
    if not len(frame):
        raise NoDataInRangeError(f"{bars.ticker}: no rows from {start:%Y-%m-%d} on.", hint="Use an earlier start.")
    actions = bars.actions[bars.actions["ds"] >= start].reset_index(drop=True)
    return Bars(bars.ticker, frame, bars.target, bars.grid, actions, bars.meta, bars.notes)


_SHARED = Memory()


def shared() -> Memory:
    """The one that ``--source memory`` and ``load(..., source="memory")`` ask."""
    return _SHARED
