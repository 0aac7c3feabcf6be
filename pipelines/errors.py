"""Every error this toolkit raises on purpose, and the exit code the command line gives it.

::

    ToolkitError                    1   never raised itself
    ├── UsageError                  2   an argument or a setting is wrong (also a ValueError)
    ├── DataError                   3   the data cannot be used as asked
    │   ├── FileFormatError         3   a file cannot be read as a table of series
    │   ├── TimeError               3   time stamps: missing, ambiguous, duplicated, irregular
    │   ├── ValueRangeError         3   values: not numbers, infinite, impossible prices
    │   └── TooShortError           3   fewer rows than the job needs
    ├── SourceError                 4   a source of data did not deliver
    │   ├── TickerNotFoundError     4   the source says there is no such ticker
    │   ├── NoDataInRangeError      4   the ticker exists, the asked range is empty
    │   ├── RateLimitedError        4   the source asks us to slow down
    │   ├── NetworkUnavailableError 4   name look-up, connection or deadline failed
    │   ├── UpstreamMalformedError  4   the source answered with something unreadable
    │   ├── OfflineError            4   ``offline`` was asked for and the cache lacks it
    │   └── BusyError               4   another process is fetching the cached rows just now
    ├── ArtifactError               5   a run folder is damaged, foreign or unsafe
    ├── LeakError                   6   a forecast moved when only its future changed
    └── TrainingError               7   training cannot go on (NaN loss and the like)

Each carries one sentence on what was got and what was expected, and a ``hint``: what to do next.
"""

from __future__ import annotations

import re
from typing import ClassVar

# flags of the command line that are arguments of the same name in Python: of the readers, of a fit or of a backtest
_ARGUMENTS = frozenset({
    "adjust", "as_of", "calendar", "dayfirst", "deadline", "decimal", "duplicates", "encoding", "end", "freq",
    "future", "gaps", "header", "horizon", "id", "impossible", "interval", "irregular", "offline", "past",
    "refresh", "sep", "source", "start", "static", "target", "test", "thousands", "time", "tz", "window",
})  # fmt: skip


class ToolkitError(Exception):
    """Base of all errors raised on purpose.

    ``message`` says what was got and what was expected; ``hint`` says what to do next. Both are written for the command
    line; as text, which is what Python shows, the error ends with the arguments that the flags of the hint are.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} {self.hint}{_in_python(self.hint)}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint), self.__dict__)


def _in_python(hint: str) -> str:
    """``" (In Python: time=, freq=.)"`` for flags in ``hint`` of which it does not name the argument itself."""
    found = []
    for flag, value in re.findall(r"(?<![\w-])--([a-z][a-z-]*)(?: (price|sensor)\b)?", hint):
        name = flag.removeprefix("no-").replace("-", "_")
        if name in _ARGUMENTS:
            found.append(f"{name}=")
        elif flag == "preset" and value:
            found.append(f"kind={value!r}")
    left = [name for name in dict.fromkeys(found) if not re.search(rf"\b{re.escape(name)}", hint)]
    return f" (In Python: {', '.join(left)}.)" if left else ""


def _rebuild(kind: type[ToolkitError], message: str, hint: str | None) -> ToolkitError:
    return kind(message, hint=hint)


class UsageError(ToolkitError, ValueError):
    """An argument or a setting is wrong."""

    exit_code = 2


class DataError(ToolkitError, ValueError):
    """The data cannot be used as asked.

    ``row`` (1-based line of the file) and ``column`` say where, when one place is to blame.
    """

    exit_code = 3
    row: int | None = None
    column: str | None = None


class FileFormatError(DataError):
    """A file cannot be read as a table of series."""


class TimeError(DataError):
    """Time stamps are missing, ambiguous, duplicated or irregular."""


class ValueRangeError(DataError):
    """Values are not numbers, infinite, or impossible (a price of zero)."""


class TooShortError(DataError):
    """Fewer rows than the job needs."""


class SourceError(ToolkitError):
    """A source of data did not deliver."""

    exit_code = 4


class TickerNotFoundError(SourceError):
    """The source says there is no such ticker."""


class NoDataInRangeError(SourceError):
    """The ticker exists, the asked range holds no rows."""


class RateLimitedError(SourceError):
    """The source asks us to slow down."""


class NetworkUnavailableError(SourceError):
    """Name look-up, connection or the total deadline failed."""


class UpstreamMalformedError(SourceError):
    """The source answered with something that cannot be read."""


class OfflineError(SourceError):
    """Offline work was asked for and the cache does not hold what is needed."""


class BusyError(SourceError):
    """Another process is fetching the cached rows that were to be removed."""


class ArtifactError(ToolkitError):
    """A saved run is damaged, foreign or unsafe to read."""

    exit_code = 5


class LeakError(ToolkitError):
    """A forecast moved when only its future changed."""

    exit_code = 6


class TrainingError(ToolkitError):
    """Training cannot go on."""

    exit_code = 7


def did_you_mean(got: str, known: list[str] | tuple[str, ...]) -> str:
    """``" Did you mean 'x'?"`` for the nearest known name, else ``""``."""
    import difflib

    lower = {name.lower(): name for name in reversed(known)}
    near = difflib.get_close_matches(got, list(known), n=1, cutoff=0.6)
    near = near or [lower[name] for name in difflib.get_close_matches(got.lower(), list(lower), n=1, cutoff=0.6)]
    return f" Did you mean {near[0]!r}?" if near else ""
