"""Yahoo Finance through yfinance: raw bars with dated splits and dividends, typed errors, one deadline.

Only ``Ticker.history(auto_adjust=False, actions=True)`` is used (``download()`` hides even a rate limit).
yfinance keeps process-wide switches and one shared session; they are set under a lock and put back.
Every request of a call goes through a guard, which cuts its time-out to what is left of the deadline
and remembers what Yahoo really answered: error types are read from that, not from yfinance's guesses.
"""

from __future__ import annotations

import json
import logging
import random
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from pipelines.errors import (
    NetworkUnavailableError,
    NoDataInRangeError,
    RateLimitedError,
    SourceError,
    TickerNotFoundError,
    UpstreamMalformedError,
)
from pipelines.sources.base import Bars, Request
from pipelines.sources.yahoo_bars import LIMIT_DAYS, bars_of

RETRIES = 4
_SPELLING = re.compile(r"[A-Z0-9^][A-Z0-9.\-^=&_+:$]{0,31}")
_ISIN = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")
_SAMPLE = "or work on shipped data with --source sample (--ticker ^GSPC)"
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Yahoo:
    """The source behind ``--source yahoo``.

    Args:
        retries: further attempts after a rate limit, a server error or a broken connection.
        pause: seconds before the first retry; doubles each time, with jitter.
    """

    retries: int = RETRIES
    pause: float = 0.4
    name: str = "yahoo"
    cached: bool = True

    @property
    def version(self) -> str:
        from importlib.metadata import version

        return f"yfinance {version('yfinance')}"

    def spell(self, ticker: str) -> str:
        """Capitals.

        Raises:
            TickerNotFoundError: characters no Yahoo symbol has.
        """
        symbol = ticker.strip().upper()
        if not _SPELLING.fullmatch(symbol):
            raise TickerNotFoundError(
                f"{_short(ticker)} cannot be a Yahoo symbol.",
                hint="Symbols look like AAPL, BRK-B, ^GSPC, EURUSD=X, BTC-USD, SAP.DE.",
            )
        if _ISIN.fullmatch(symbol):
            raise TickerNotFoundError(f"{symbol} is an ISIN, not a Yahoo symbol.", hint="Give the symbol (AAPL).")
        return symbol

    def fetch(self, request: Request) -> Bars:
        """Everything Yahoo has from ``request.start`` on; the unfinished bar is left out.

        Raises:
            TickerNotFoundError: Yahoo says so. Not retried.
            NoDataInRangeError: no rows, or an interval further back than Yahoo keeps. Not retried.
            RateLimitedError: 429 until the retries or the deadline ran out.
            NetworkUnavailableError: no connection, or no answer within the deadline. A failed name
                look-up is not retried.
            UpstreamMalformedError: server errors and answers that are no price chart.
        """
        symbol = self.spell(request.ticker)
        _within_limits(symbol, request)
        import yfinance  # noqa: F401  (its import, about a second, is not Yahoo's time)

        ends = time.monotonic() + request.deadline
        tried = 0
        while True:
            tried += 1
            guard = _Guard(ends)
            try:
                frame = _ask(symbol, request, guard)
                return bars_of(symbol, request.interval, frame, guard.chart_meta())
            except (RateLimitedError, NetworkUnavailableError, UpstreamMalformedError) as error:
                wait = self.pause * 2 ** (tried - 1) * random.uniform(0.5, 1.5)
                final = guard.dead or tried > self.retries or time.monotonic() + wait >= ends
                if final:
                    raise _final(error, symbol, tried, request.deadline) from error.__cause__
                time.sleep(wait)


class _Guard:
    """Stands between yfinance and its HTTP session for one attempt.

    Attributes:
        answers: status, content type and text of every chart answer, oldest first.
        failure: the last transport error of a chart request.
        dead: a name look-up failed, or the deadline passed: another attempt cannot help.
    """

    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.answers: list[tuple[int, str]] = []
        self.failure: Exception | None = None
        self.dead = False

    def wrap(self, send: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(url: str, *args: Any, **kwargs: Any) -> Any:
            if self.dead and self.failure is not None:
                raise self.failure
            chart = "/v8/finance/chart/" in urlsplit(url).path
            left = self.ends - time.monotonic()
            if left <= 0:
                self.dead = True
                self.failure = self.failure or TimeoutError("the deadline passed")
                raise self.failure
            # half of what is left at most, so that a silent server leaves time for a second attempt;
            # cookies and crumbs, which prices do without, get a quarter
            kwargs["timeout"] = min(float(kwargs.get("timeout") or 30.0), max(left * (0.5 if chart else 0.25), 0.05))
            try:
                answer = send(url, *args, **kwargs)
            except OSError as error:
                if chart or "query" in (urlsplit(url).hostname or ""):
                    self.failure = error
                    self.dead = _unresolved(error) is not None or time.monotonic() >= self.ends
                raise
            if chart:
                self.failure = None
                self.answers.append((int(answer.status_code), str(answer.text)))
            return answer

        return guarded

    def last(self) -> tuple[int, Any]:
        """Status and parsed JSON of the last chart answer (``None`` if it is not JSON); ``(0, None)`` without one."""
        if not self.answers:
            return 0, None
        status, text = self.answers[-1]
        try:
            return status, json.loads(text)
        except ValueError:
            return status, None

    def chart_meta(self) -> dict[str, Any]:
        body = self.last()[1]
        meta: dict[str, Any] = body["chart"]["result"][0]["meta"]
        return meta


@contextmanager
def _switches(guard: _Guard) -> Iterator[Any]:
    """yfinance with exceptions shown, no retries of its own, silent, and our guard in its session; all put back."""
    import yfinance
    from yfinance import base, data
    from yfinance.config import YfConfig

    left = guard.ends - time.monotonic()
    if not _LOCK.acquire(timeout=max(left, 0.0)):
        guard.dead = True
        raise NetworkUnavailableError("another thread kept Yahoo busy until the deadline.")
    try:
        log = logging.getLogger("yfinance")
        debug, network = YfConfig.debug, YfConfig.network
        kept = (debug.hide_exceptions, network.retries, base._tz_info_fetch_ctr)
        shared = data.YfData()
        session = shared._session
        own = {verb: vars(session).get(verb) for verb in ("get", "post")}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            log.addFilter(_mute)
            debug.hide_exceptions, network.retries = False, 0
            base._tz_info_fetch_ctr = 2  # no second look-up of the zone through the quote summary
            for verb in own:
                setattr(session, verb, guard.wrap(getattr(session, verb)))
            data.YfData.cache_get.cache_clear()  # it would replay a bad answer
            try:
                yield yfinance
            finally:
                for verb, send in own.items():
                    delattr(session, verb)
                    if send is not None:
                        setattr(session, verb, send)
                debug.hide_exceptions, network.retries, base._tz_info_fetch_ctr = kept
                log.removeFilter(_mute)
                data.YfData.cache_get.cache_clear()
    finally:
        _LOCK.release()


def _mute(record: logging.LogRecord) -> bool:
    return False


def _ask(symbol: str, request: Request, guard: _Guard) -> pd.DataFrame:
    """One attempt; every failure leaves as one of our errors."""
    span: dict[str, Any] = {"period": "max"}
    if request.start is not None:
        daily = request.interval in ("1d", "1wk", "1mo")
        span = {"start": f"{request.start:%Y-%m-%d}" if daily else request.start.tz_localize("UTC")}
    with _switches(guard) as yfinance:
        try:
            frame: pd.DataFrame = yfinance.Ticker(symbol).history(
                interval=request.interval, auto_adjust=False, actions=True, **span
            )
        except yfinance.exceptions.YFRateLimitError as error:
            raise RateLimitedError("Yahoo limits our requests (status 429).") from error
        except Exception as error:
            raise _typed(symbol, request, guard, error) from error
    if frame.empty or "Close" not in frame or frame["Close"].isna().all():
        raise _typed(symbol, request, guard, None)
    return frame


def _typed(symbol: str, request: Request, guard: _Guard, error: Exception | None) -> SourceError:
    """What went wrong, from what Yahoo answered."""
    if guard.failure is not None:
        return NetworkUnavailableError(_transport(guard.failure))
    status, body = guard.last()
    if status == 0:
        return NetworkUnavailableError(_transport(error))
    if status == 429:
        return RateLimitedError("Yahoo limits our requests (status 429).")
    if status >= 500:
        return UpstreamMalformedError(f"Yahoo answered with server error {status}.")
    chart = body.get("chart") if isinstance(body, dict) else None
    said = chart.get("error") if isinstance(chart, dict) else None
    if isinstance(said, dict):
        text = str(said.get("description") or said.get("code") or "no reason given").rstrip(".")
        if status == 404 or "not found" in str(said.get("code", "")).lower():
            return TickerNotFoundError(
                f"Yahoo has no ticker {symbol}; it says: {text!r}.", hint=_other_spelling(symbol)
            )
        if status in (400, 422):
            return NoDataInRangeError(
                f"Yahoo has no {request.interval} bars of {symbol} in that range; it says: {text!r}.",
                hint="Use a later --start or a longer --interval.",
            )
        return UpstreamMalformedError(f"Yahoo refused the request for {symbol} (status {status}): {text!r}.")
    if isinstance(chart, dict) and _is_empty(chart):
        return NoDataInRangeError(
            f"Yahoo knows {symbol} but delivered no {request.interval} bars for the range.",
            hint="Use an earlier --start or another --interval.",
        )
    if body is None:
        start = " ".join(guard.answers[-1][1][:60].split())
        return UpstreamMalformedError(f"Yahoo answered with something that is not JSON: {start!r}.")
    lacks = f": {error} is missing" if isinstance(error, KeyError) else ""
    return UpstreamMalformedError(f"Yahoo's answer (status {status}) is not a price chart{lacks}.")


def _is_empty(chart: dict[str, Any]) -> bool:
    """A well-formed chart without a single bar: no stamps and no quotes."""
    results = chart.get("result")
    if not isinstance(results, list) or not results or not isinstance(results[0], dict) or "meta" not in results[0]:
        return False
    if results[0].get("timestamp"):
        closes = (results[0].get("indicators") or {}).get("quote", [{}])[0].get("close") or []
        return not any(value is not None for value in closes)
    quotes = (results[0].get("indicators") or {}).get("quote") or [{}]
    return not quotes[0].get("close")


def _transport(error: Exception | None) -> str:
    """A transport error in words a person knows."""
    text = str(error or "no answer")
    kind = type(error).__name__
    name = _unresolved(error)
    if name is not None:
        return f"the name {name} could not be looked up"
    if "imeout" in kind:
        return "the server did not answer in time"
    if kind == "ProxyError":
        return "the proxy refused the connection"
    if kind in ("SSLError", "CertificateVerifyError"):
        return "the secure connection could not be set up (certificate)"
    reason = re.sub(r"^Failed to perform, curl: \(\d+\)\s*", "", text).split(". See ")[0].rstrip(".")
    return f"the connection failed ({reason})"


def _unresolved(error: Exception | None) -> str | None:
    """The host or proxy whose name look-up failed; ``None`` for every other error."""
    found = re.search(r"[Rr]esolve (?:host|proxy)(?: name)?:?\s*([\w.\-]+)", str(error or ""))
    if found:
        return found.group(1).rstrip(".")
    return "query2.finance.yahoo.com" if type(error).__name__ == "DNSError" else None


def _final(error: SourceError, symbol: str, tried: int, deadline: float) -> SourceError:
    """The error a person sees: subject, fact, effort, remedy."""
    effort = f"{tried} attempt{'s' if tried != 1 else ''}, deadline {round(deadline, 1):g} s in total"
    if isinstance(error, NetworkUnavailableError):
        return NetworkUnavailableError(
            f"{symbol}: no prices from Yahoo: {error.message.rstrip('.')} ({effort}).",
            hint=f"Check the network, use cached rows with --offline, {_SAMPLE}.",
        )
    if isinstance(error, RateLimitedError):
        return RateLimitedError(
            f"{symbol}: {error.message.rstrip('.')} ({effort}).",
            hint=f"Wait some minutes, use cached rows with --offline, {_SAMPLE}.",
        )
    return UpstreamMalformedError(
        f"{symbol}: {error.message.rstrip('.')} ({effort}).",
        hint=f"Yahoo may be down: try later, use cached rows with --offline, {_SAMPLE}.",
    )


def _other_spelling(symbol: str) -> str:
    share_class = re.fullmatch(r"([A-Z]+)\.([A-Z])", symbol)
    if share_class:
        return f"Yahoo writes share classes with a dash: {share_class.group(1)}-{share_class.group(2)}."
    return "Look the symbol up at finance.yahoo.com; indices begin with ^ and other exchanges have an ending (SAP.DE)."


def _within_limits(symbol: str, request: Request) -> None:
    days = LIMIT_DAYS.get(request.interval)
    if days is None or request.start is None:
        return
    oldest = pd.Timestamp.now("UTC").tz_localize(None) - pd.Timedelta(days=days)
    if request.start < oldest:
        raise NoDataInRangeError(
            f"Yahoo keeps {request.interval} bars of {symbol} for {days} days; {request.start:%Y-%m-%d} is too early.",
            hint=f"Start at {oldest:%Y-%m-%d} or later, or use --interval 1d.",
        )


def _short(text: str) -> str:
    shown = ascii(text)
    return shown if len(shown) <= 42 else shown[:39] + "...'"
