"""Disk cache in front of a source: one parquet and one JSON sidecar per source, ticker and interval.

The sidecar names the parquet by its SHA-256 and is replaced atomically: that replacement is the commit.
Killed at any moment, a writer leaves the old entry or the new one, never a mixture. One process at a
time fetches an entry (file lock), the others wait and find it fresh. Rows are kept as traded with their
splits and dividends, so a refresh compares like with like: it fetches the last rows again, and where
those moved by more than 1e-4, or an action among the cached rows is new, everything, and records the revision.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines import revise
from pipelines.errors import (
    ArtifactError,
    BusyError,
    NetworkUnavailableError,
    OfflineError,
    RateLimitedError,
    UpstreamMalformedError,
)
from pipelines.grid import Grid
from pipelines.lock import Busy, Lock
from pipelines.sources.base import Bars, Fetched, Request, Source

SCHEMA = 1
_TEMPORARY = (RateLimitedError, NetworkUnavailableError, UpstreamMalformedError)


@dataclass(frozen=True)
class Entry:
    """One cached ticker, as ``forecast data list`` shows it."""

    source: str
    ticker: str
    interval: str
    rows: int
    start: str
    end: str
    fetched_at: str
    library: str
    revisions: int
    bytes: int
    path: str

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def folder(cache_dir: str | Path | None = None) -> Path:
    """Where entries lie: ``cache_dir``, else the user's cache folder (``XDG_CACHE_HOME`` on Linux)."""
    if cache_dir is not None:
        return Path(cache_dir)
    import platformdirs

    return Path(platformdirs.user_cache_dir("forecast-toolkit", appauthor=False)) / "bars"


def file_name(source: str, ticker: str, interval: str) -> str:
    """A safe file name without ending: readable beginning, then 96 bits of SHA-256 over the exact key.

    Whatever the ticker holds (``../``, NUL, ``CON``, 4 KB), the name is short ASCII and differs between
    tickers even where a file system ignores case. The sidecar holds the exact ticker.
    """
    key = "\0".join(f"{len(part)}:{part}" for part in (source, ticker, interval))
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    plain = re.sub(r"[^a-z0-9]+", "_", ticker.lower())[:24].strip("_")
    return f"{plain or 'x'}-{re.sub(r'[^a-z0-9]+', '', interval.lower())[:8]}-{digest}"


def fetch(
    source: Source,
    request: Request,
    *,
    cache_dir: str | Path | None = None,
    offline: bool = False,
    refresh: bool = False,
) -> Fetched:
    """The bars of one ticker, from disk where they are fresh, else from ``source``.

    Fresh means: no session has ended (plus half an hour) since they were fetched, or that was less than
    15 minutes ago; for intraday bars, less than one bar ago. ``request.start`` is ignored: entries hold
    everything.

    Raises:
        OfflineError: ``offline``, and there is no usable entry.
        SourceError: the source failed and there is no entry to fall back on (a refusal such as "no such
            ticker" is raised even if there is one).
    """
    slot = _Slot(folder(cache_dir), source.name, request.ticker, request.interval)
    found, broken = slot.read()
    if offline:
        if found is None:
            raise OfflineError(_lacking(slot, broken), hint="Fetch it once without --offline (`forecast data fetch`).")
        return found
    began = pd.Timestamp.now("UTC")
    if found is not None and not refresh and revise.fresh(found, request.interval, began):
        return found
    ends = time.monotonic() + request.deadline
    try:
        with slot.lock(request.deadline):
            found, broken = slot.read(repair=True)
            notes = () if broken is None else (f"{request.ticker}: {broken}; it was fetched again.",)
            if found is not None and (
                revise.fetched_at(found) >= began or (not refresh and revise.fresh(found, request.interval, began))
            ):
                return found
            left = max(ends - time.monotonic(), 0.05)
            fresh = revise.renew(source, replace(request, start=None, deadline=left), found)
            fresh = replace(fresh, notes=(*notes, *fresh.notes))
            return slot.write(fresh, source.version)
    except _TEMPORARY as error:
        if found is None:
            raise
        return replace(found, stale_since=found.fetched_at, why_stale=error.message.removeprefix(f"{request.ticker}: "))
    except Busy as error:
        text = f"another process has been fetching it for {request.deadline:g} s (the deadline)"
        if found is None:
            raise NetworkUnavailableError(f"{request.ticker}: {text}.", hint="Try again in a moment.") from error
        return replace(found, stale_since=found.fetched_at, why_stale=f"{text}.")


def entries(cache_dir: str | Path | None = None) -> list[Entry]:
    """All readable entries, by ticker. Unreadable ones are left out (the next fetch repairs them)."""
    place = folder(cache_dir)
    found = []
    for path in sorted(place.glob("*.json")):
        try:
            card = _read_sidecar(path)
        except (OSError, ArtifactError):
            continue
        table = place / str(card["parquet"])
        found.append(
            Entry(
                source=card["source"],
                ticker=card["ticker"],
                interval=card["interval"],
                rows=card["rows"],
                start=card["start"],
                end=card["end"],
                fetched_at=card["fetched_at"],
                library=card["library"],
                revisions=len(card["revisions"]),
                bytes=table.stat().st_size if table.exists() else 0,
                path=str(table),
            )
        )
    return sorted(found, key=lambda entry: (entry.ticker, entry.source, entry.interval))


def clear(
    cache_dir: str | Path | None = None, *, tickers: Iterable[str] | None = None, deadline: float = 12.0
) -> list[Entry]:
    """Remove entries (all of them, or those of ``tickers``, in any case); returns what was removed.

    Without ``tickers`` quarantined files go as well. What another process is fetching stays, the rest goes.

    Args:
        deadline: seconds to wait for such processes, all entries together.

    Raises:
        BusyError: an entry was still being fetched when the deadline had passed.
    """
    wanted = None if tickers is None else {ticker.casefold() for ticker in tickers}
    place = folder(cache_dir)
    ends = time.monotonic() + deadline
    removed, busy = [], []
    for entry in entries(cache_dir):
        if wanted is not None and entry.ticker.casefold() not in wanted:
            continue
        slot = _Slot(place, entry.source, entry.ticker, entry.interval)
        try:
            with slot.lock(max(ends - time.monotonic(), 0.0)):
                slot.sidecar.unlink(missing_ok=True)
                slot.sweep(keep=None)
        except Busy:
            busy.append(entry)
            continue
        removed.append(entry)
    if wanted is None:
        for path in (place / "quarantine").glob("*"):
            path.unlink(missing_ok=True)
    if busy:
        named = ", ".join(f"{entry.ticker} ({entry.source}, {entry.interval})" for entry in busy[:5])
        raise BusyError(
            f"not removed, another process is fetching it: {named}{', ...' if len(busy) > 5 else ''} "
            f"(waited {deadline:g} s; {len(removed)} removed).",
            hint=f"Try again in a moment: forecast data clear {busy[0].ticker}.",
        )
    return removed


# -- one entry on disk -----------------------------------------------------------------------------
class _Slot:
    """The files of one entry."""

    def __init__(self, place: Path, source: str, ticker: str, interval: str) -> None:
        self.place, self.key = place, (source, ticker, interval)
        self.name = file_name(source, ticker, interval)
        self.sidecar = place / f"{self.name}.json"
        self.untouched = False

    def lock(self, seconds: float) -> Any:
        path = self.place / f"{self.name}.lock"
        # every writer leaves a lock file or a sidecar, dead ones too: without either there is nothing to sweep, and a
        # folder of N entries needs no look through all of them for each new one
        self.untouched = not path.exists() and not self.sidecar.exists()
        return Lock(path, seconds)

    def read(self, repair: bool = False) -> tuple[Fetched | None, str | None]:
        """The entry, or ``None`` and what is wrong with it.

        ``repair`` moves a damaged or foreign entry to quarantine; only under the lock.
        """
        for _ in range(20):
            try:
                text = self.sidecar.read_bytes()
            except FileNotFoundError:
                return None, None
            except OSError as error:
                return None, f"the cached rows cannot be read ({error.strerror or error})"
            try:
                return self._load(text), None
            except FileNotFoundError as error:
                # a writer replaced the sidecar and removed the old parquet between our two reads
                if self.sidecar.exists() and self.sidecar.read_bytes() != text:
                    continue
                problem = f"the cached rows are gone ({Path(str(error.filename)).name})"
            except ArtifactError as error:
                problem = error.message
            if repair:
                self._quarantine()
                problem += " and were moved to quarantine"
            return None, problem
        return None, "the cached rows change faster than they can be read"

    def write(self, fresh: Fetched, library: str) -> Fetched:
        """Put ``fresh`` on disk; only under the lock. A full or read-only disk costs a note, not the rows."""
        try:
            self._write(fresh, library)
        except OSError as error:
            note = f"{fresh.bars.ticker}: not kept in the cache {self.place} ({error.strerror or error})."
            return replace(fresh, notes=(*fresh.notes, note))
        return fresh

    def sweep(self, keep: str | None) -> None:
        """Remove parquets of this entry other than ``keep``, and what killed writers left; only under the lock."""
        for path in self.place.glob(f"{self.name}.*"):
            if path.suffix == ".tmp" or (path.suffix == ".parquet" and path.name != keep):
                path.unlink(missing_ok=True)

    def _write(self, fresh: Fetched, library: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.place.mkdir(parents=True, exist_ok=True)
        bars = fresh.bars
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pandas(bars.frame.reset_index(), preserve_index=False), sink)
        blob = sink.getvalue().to_pybytes()
        digest = hashlib.sha256(blob).hexdigest()
        table = f"{self.name}.{digest[:16]}.parquet"
        actions = _actions_json(bars.actions)
        card = {
            "schema": SCHEMA,
            "source": self.key[0],
            "ticker": self.key[1],
            "interval": self.key[2],
            "spelled": bars.ticker,
            "target": bars.target,
            "grid": bars.grid.to_json(),
            "fetched_at": fresh.fetched_at,
            "library": library,
            "rows": len(bars.frame),
            "start": bars.frame.index[0].isoformat(),
            "end": bars.frame.index[-1].isoformat(),
            "parquet": table,
            "sha256": digest,
            "actions": actions,
            "actions_sha256": _digest(actions),
            "meta": dict(bars.meta),
            "notes": list(bars.notes),
            "revisions": list(fresh.revisions),
        }
        card["sidecar_sha256"] = _digest(card)
        _replace(self.place / table, blob)
        _replace(self.sidecar, json.dumps(card, indent=1).encode())
        if not self.untouched:
            self.sweep(keep=table)

    def _load(self, text: bytes) -> Fetched:
        import pyarrow as pa
        import pyarrow.parquet as pq

        card = _parse_sidecar(text)
        if (card["source"], card["ticker"], card["interval"]) != self.key:
            raise ArtifactError("the cached rows belong to another ticker")
        blob = (self.place / str(card["parquet"])).read_bytes()
        if hashlib.sha256(blob).hexdigest() != card["sha256"]:
            raise ArtifactError("the cached rows are damaged (SHA-256 differs)")
        try:
            frame = pq.read_table(pa.BufferReader(blob)).to_pandas()
        except pa.ArrowException as error:
            raise ArtifactError(f"the cached rows are not readable ({error})") from error
        frame = frame.set_index(pd.DatetimeIndex(frame.pop("ds").to_numpy("datetime64[ns]"), name="ds"))
        bars = Bars(
            ticker=card["spelled"],
            frame=frame.astype("float64"),
            target=card["target"],
            grid=Grid(**card["grid"]),
            actions=_actions_table(card["actions"]),
            meta=card["meta"],
            notes=tuple(card["notes"]),
        )
        return Fetched(bars, fetched_at=card["fetched_at"], revisions=tuple(card["revisions"]))

    def _quarantine(self) -> None:
        place = self.place / "quarantine"
        place.mkdir(parents=True, exist_ok=True)
        stamp = f"{time.time_ns()}"
        for path in (self.sidecar, *self.place.glob(f"{self.name}.*.parquet")):
            if path.exists():
                os.replace(path, place / f"{stamp}-{path.name}")


def _replace(path: Path, blob: bytes) -> None:
    """Write ``blob`` whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{time.time_ns()}.tmp")
    with temporary.open("wb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _read_sidecar(path: Path) -> dict[str, Any]:
    return _parse_sidecar(path.read_bytes())


def _parse_sidecar(text: bytes) -> dict[str, Any]:
    try:
        card = json.loads(text)
    except ValueError as error:
        raise ArtifactError("the cached sidecar is not JSON") from error
    if not isinstance(card, dict) or card.get("schema") != SCHEMA:
        raise ArtifactError(
            f"the cached rows have schema {card.get('schema') if isinstance(card, dict) else None!r}, not {SCHEMA}"
        )
    if card.pop("sidecar_sha256", None) != _digest(card):
        raise ArtifactError("the cached sidecar is damaged (SHA-256 differs)")
    return card


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _actions_json(actions: pd.DataFrame) -> list[list[Any]]:
    return [[day.isoformat(), str(kind), float(value)] for day, kind, value in actions.itertuples(index=False)]


def _actions_table(rows: list[list[Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["ds", "kind", "value"])
    table["ds"] = pd.to_datetime(table["ds"])
    return table.astype({"ds": "datetime64[ns]", "kind": object, "value": "float64"})


def _lacking(slot: _Slot, broken: str | None) -> str:
    source, ticker, interval = slot.key
    what = f"{ticker} ({source}, {interval})"
    if broken is not None:
        return f"offline: {what} cannot be used: {broken}."
    return f"offline: {what} is not in the cache {slot.place}."
