"""A loopback Yahoo for unmodified yfinance: answers CONNECT, ends TLS with a throwaway CA, serves v8 charts.

Give :meth:`YahooServer.environment` to a subprocess (or set it in this one) and yfinance talks to it without
knowing. :meth:`YahooServer.put` stores bars, :meth:`YahooServer.script` queues faults for the next chart
requests, :attr:`YahooServer.requests` is what was asked.
"""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import trustme

HOSTS = ("*.yahoo.com", "*.finance.yahoo.com")
NASDAQ = {
    "currency": "USD",
    "exchangeName": "NMS",
    "fullExchangeName": "NasdaqGS",
    "instrumentType": "EQUITY",
    "exchangeTimezoneName": "America/New_York",
    "timezone": "EST",
    "gmtoffset": -18000,
}


@dataclass
class Listing:
    """What the server knows of one symbol: daily bars on today's share count, as Yahoo gives them."""

    bars: pd.DataFrame
    meta: dict[str, Any]
    splits: dict[str, float] = field(default_factory=dict)
    dividends: dict[str, float] = field(default_factory=dict)
    opens: str = "09:30"


class YahooServer:
    """Runs in a thread between ``with`` and its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listings: dict[str, Listing] = {}
        self.raw: dict[str, Any] = {}
        self.faults: deque[str] = deque()
        self.mode = "ok"
        self.hang = 30.0
        self.requests: list[tuple[str, str]] = []
        self._authority = trustme.CA()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*HOSTS).configure_cert(self._context)
        self._context.set_alpn_protocols(["http/1.1"])
        self._quit = threading.Event()

    def __enter__(self) -> YahooServer:
        self._authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        handler = type("Handler", (_Handler,), {"yahoo": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._quit.set()
        self._server.shutdown()
        self._server.server_close()

    # -- what tests say ------------------------------------------------------------------------
    def environment(self) -> dict[str, str]:
        """Variables that send yfinance here."""
        proxy = f"http://127.0.0.1:{self._server.server_address[1]}"
        bundle = str(self.folder / "ca.pem")
        names = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
        return {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": "",
            "no_proxy": "",
            **dict.fromkeys(names, bundle),
        }

    def reset(self) -> None:
        """Forget symbols, faults and requests."""
        self.listings.clear()
        self.raw.clear()
        self.faults.clear()
        self.requests.clear()
        self.mode = "ok"
        self.hang = 30.0

    def put(
        self,
        symbol: str,
        bars: pd.DataFrame,
        *,
        meta: Mapping[str, Any] | None = None,
        splits: Mapping[str, float] | None = None,
        dividends: Mapping[str, float] | None = None,
        opens: str = "09:30",
        regular: tuple[int, int] | None = None,
    ) -> None:
        """List ``symbol``: columns open, high, low, close, volume by date (or time, UTC), as Yahoo would deliver them.

        ``regular`` is the current session, in seconds since 1970.
        """
        full = {**NASDAQ, "symbol": symbol, **(meta or {})}
        if regular is not None:
            period = {"timezone": "EST", "start": regular[0], "end": regular[1], "gmtoffset": -18000}
            full["currentTradingPeriod"] = {"pre": period, "regular": period, "post": period}
        self.listings[symbol] = Listing(bars, full, dict(splits or {}), dict(dividends or {}), opens)

    def script(self, *faults: str) -> None:
        """The next chart requests meet these, one each; after them :attr:`mode` holds."""
        self.faults.extend(faults)

    @property
    def price_requests(self) -> list[str]:
        """Paths with queries of all chart requests so far."""
        return [path for _, path in self.requests if path.startswith("/v8/finance/chart/")]

    # -- answers -------------------------------------------------------------------------------
    def chart(self, symbol: str, query: Mapping[str, list[str]]) -> tuple[int, bytes]:
        """Status and body for a healthy server."""
        if symbol in self.raw:
            return 200, json.dumps(self.raw[symbol]).encode()
        if symbol not in self.listings:
            said = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
            return 404, json.dumps({"chart": {"result": None, "error": said}}).encode()
        listing = self.listings[symbol]
        zone = listing.meta["exchangeTimezoneName"]
        index = pd.DatetimeIndex(listing.bars.index)
        daily = bool((index == index.normalize()).all())
        stamps = (index + pd.Timedelta(f"{listing.opens}:00")).tz_localize(zone) if daily else index.tz_localize("UTC")
        seconds = stamps.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[s]").astype("int64")
        if "period1" in query:
            low, high = int(query["period1"][0]), int(query["period2"][0])
            keep = (seconds >= low) & (seconds < high)
        else:
            low, high = -(2**60), 2**60
            keep = seconds >= (seconds[-5:].min() if len(seconds) else 0)
        rows, when = listing.bars[keep], seconds[keep]
        meta = {**_defaults(listing.meta, seconds), **listing.meta, "dataGranularity": query["interval"][0]}
        if not daily:
            meta["tradingPeriods"] = _periods(seconds, zone)
        result: dict[str, Any] = {"meta": meta, "indicators": {"quote": [{}], "adjclose": [{}]}}
        if len(rows):
            quote = {name: _json(rows[name]) for name in ("open", "high", "low", "close", "volume")}
            result["timestamp"] = [int(second) for second in when]
            result["indicators"] = {"quote": [quote], "adjclose": [{"adjclose": quote["close"]}]}
        events = _events(listing, zone, low, high)
        if events:
            result["events"] = events
        return 200, json.dumps({"chart": {"result": [result], "error": None}}).encode()


def _json(column: pd.Series) -> list[float | None]:
    return [None if pd.isna(value) else float(value) for value in column]


def _defaults(meta: Mapping[str, Any], seconds: Any) -> dict[str, Any]:
    last = int(seconds[-1]) if len(seconds) else 0
    period = {"timezone": meta["timezone"], "start": last, "end": last + 23400, "gmtoffset": meta["gmtoffset"]}
    return {
        "firstTradeDate": int(seconds[0]) if len(seconds) else 0,
        "regularMarketTime": last + 23400,
        "hasPrePostMarketData": True,
        "regularMarketPrice": 1.0,
        "priceHint": 2,
        "range": "",
        "validRanges": ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"],
        "currentTradingPeriod": {"pre": period, "regular": period, "post": period},
        "tradingPeriods": [[period]],
    }


def _periods(seconds: Any, zone: str) -> list[list[dict[str, Any]]]:
    """One regular period for each day with bars, from its first bar to an hour after its last."""
    stamps = pd.to_datetime(pd.Series(seconds), unit="s", utc=True).dt.tz_convert(zone)
    days = pd.Series(seconds).groupby(stamps.dt.date)
    return [
        [{"timezone": "EST", "start": int(first), "end": int(last) + 3600, "gmtoffset": 0}]
        for first, last in zip(days.min(), days.max(), strict=True)
    ]


def _events(listing: Listing, zone: str, low: int, high: int) -> dict[str, Any]:
    events: dict[str, Any] = {}
    for kind, table in (("splits", listing.splits), ("dividends", listing.dividends)):
        for day, value in table.items():
            second = int((pd.Timestamp(day) + pd.Timedelta(f"{listing.opens}:00")).tz_localize(zone).timestamp())
            if low <= second < high and low > -(2**59):
                event: dict[str, Any] = {"date": second}
                if kind == "splits":
                    event |= {"numerator": float(value), "denominator": 1.0, "splitRatio": f"{value:g}:1"}
                else:
                    event |= {"amount": float(value)}
                events.setdefault(kind, {})[str(second)] = event
    return events


FAULTS: dict[str, tuple[int, str, bytes]] = {
    "429": (429, "text/plain", b"Too Many Requests\r\n"),
    "500": (500, "text/plain", b"oops"),
    "503": (503, "text/html", b"<html>unavailable</html>"),
    "html": (200, "text/html", b"<!DOCTYPE html><html><body>edge</body></html>"),
    "down": (200, "text/html", b"Will be right back"),
    "null": (200, "application/json", b'{"chart": null}'),
    "truncated": (200, "application/json", b'{"chart": {"result": [{"meta": {"curr'),
    "422": (
        422,
        "application/json",
        json.dumps(
            {
                "chart": {
                    "result": None,
                    "error": {
                        "code": "Unprocessable Entity",
                        "description": "1m data not available for startTime=1 and endTime=2. "
                        "The requested range must be within the last 30 days.",
                    },
                }
            }
        ).encode(),
    ),
}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    yahoo: YahooServer

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the client went away, which is what some tests want
        finally:
            self.connection.close()

    def do_CONNECT(self) -> None:
        self.send_response(200, "Connection established")
        self.end_headers()
        try:
            tls = self.yahoo._context.wrap_socket(self.connection, server_side=True)
        except OSError:
            self.close_connection = True
            return
        self.connection, self.rfile, self.wfile = tls, tls.makefile("rb", -1), tls.makefile("wb", 0)
        self.close_connection = False

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        host = self.headers.get("Host") or ""
        self.yahoo.requests.append((host, self.path))
        if url.path.startswith("/v8/finance/chart/"):
            self._chart(urllib.parse.unquote(url.path.rsplit("/", 1)[1]), urllib.parse.parse_qs(url.query))
        elif url.path.startswith("/v1/test/getcrumb"):
            self._send(200, "text/plain", b"crumb.1")
        else:
            self._send(404, "text/plain", b"nothing here")

    do_POST = do_GET

    def _chart(self, symbol: str, query: dict[str, list[str]]) -> None:
        fault = self.yahoo.faults.popleft() if self.yahoo.faults else self.yahoo.mode
        if fault == "hang":
            self.yahoo._quit.wait(self.yahoo.hang)
            self.close_connection = True
        elif fault == "reset":
            self.connection.close()
            self.close_connection = True
        elif fault == "no-timestamps":
            body = json.loads(self.yahoo.chart(symbol, query)[1])
            body["chart"]["result"][0].pop("timestamp", None)
            self._send(200, "application/json", json.dumps(body).encode())
        elif fault.startswith("slow:"):
            time.sleep(float(fault.split(":")[1]))
            self._send(200, "application/json", self.yahoo.chart(symbol, query)[1])
        elif fault == "ok":
            status, answer = self.yahoo.chart(symbol, query)
            self._send(status, "application/json", answer)
        else:
            self._send(*FAULTS[fault])

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
