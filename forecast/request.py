"""What a command was asked for: which data, which settings, which folder. Loads no torch.

So a wrong name, a missing file or a network that is down is told before the heavy libraries load.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from forecast import baselines
from forecast.config import Config, locate, read_config
from forecast.presets import preset_values
from pipelines import sources
from pipelines.errors import UsageError, ValueRangeError, did_you_mean
from pipelines.panel import Panel
from pipelines.pipeline import require_future

SOURCES = ("yahoo", "sample")
TICKER_OPTIONS = ("calendar", "adjust", "as_of", "deadline", "refresh")


@dataclass(frozen=True)
class DataRequest:
    """Which data, in the words of the command line."""

    ticker: tuple[str, ...] = ()
    csv: Path | None = None
    source: str | None = None
    offline: bool = False
    start: str | None = None
    end: str | None = None
    interval: str = "1d"
    time: str | None = None
    target: tuple[str, ...] = ()
    id: str | None = None
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    # how to read a file (freq, gaps, tz, sep, ... of read_file) or a ticker (adjust, as_of, ... of load)
    options: dict[str, Any] = field(default_factory=dict)
    kind: str | None = None  # price or sensor, where the settings say it: then a file is read as that
    no_price: str | None = None  # what to do if it is none, where that is more than to say so

    def load(self) -> Panel:
        """Read the data.

        Raises:
            UsageError: neither or both of a ticker and a file were given, or an option of the other kind.
        """
        if bool(self.ticker) == (self.csv is not None):
            got = "both a ticker and a file" if self.ticker else "neither a ticker nor a file"
            raise UsageError(
                f"{got} given; one of them is the data.",
                hint="Use --ticker AAPL, or --csv FILE --time COLUMN --target COLUMN.",
            )
        return self._load_ticker() if self.ticker else self._load_file()

    def _load_ticker(self) -> Panel:
        from pipelines.tickers import load

        if self.source is not None and self.source not in sources.names():  # `memory` is none of the command line's
            raise UsageError(
                f"--source got {self.source!r}.{did_you_mean(self.source, SOURCES)}",
                hint=f"Use {' or '.join(SOURCES)}.",
            )
        own = {name: value for name, value in self.options.items() if name in TICKER_OPTIONS}
        files_only: dict[str, Any] = {
            "--time": self.time,
            "--id": self.id,
            "--future": self.future,
            "--static": self.static,
        }
        files_only |= {f"--{name}": True for name in self.options if name not in TICKER_OPTIONS}
        self._refuse(files_only, "--csv", "--ticker")
        if len(self.target) > 1:
            raise UsageError(f"{len(self.target)} targets for a ticker.", hint="Give one --target, such as open.")
        return load(
            self.ticker, source=self.source or "yahoo", start=self.start, end=self.end, interval=self.interval,
            target=self.target[0] if self.target else None, past="all" if self.past == ("all",) else self.past,
            offline=self.offline, **own,
        )  # fmt: skip

    def _load_file(self) -> Panel:
        from pipelines.plausible import NO_PRICE
        from pipelines.sources.files import read_file

        tickers_only = {
            "--source": self.source,
            "--offline": self.offline,
            "--interval": None if self.interval == "1d" else self.interval,
        }
        tickers_only |= {
            f"--{name.replace('_', '-')}": self.options.get(name) for name in TICKER_OPTIONS if name != "calendar"
        }
        self._refuse(tickers_only, "--ticker", "--csv")
        if self.csv is None:
            raise UsageError("no file given.", hint="Use --csv FILE.")
        target: Any = list(self.target) if len(self.target) > 1 else self.target[0] if self.target else None
        try:
            panel = read_file(
                self.csv, time=self.time, target=target, id=self.id, future=self.future,
                past=("*",) if self.past == ("all",) else self.past,
                static=self.static, kind=self.kind, **self.options,
            )  # fmt: skip
        except ValueRangeError as error:
            if self.no_price is not None and error.hint is not None:
                error.hint = error.hint.replace(NO_PRICE, self.no_price)
            raise
        if self.end is not None:
            panel = panel.up_to(_bound(self.end, "--end", panel.grid.tz))
        if self.start is not None:
            first = _bound(self.start, "--start", panel.grid.tz)
            if first > panel.end:
                raise UsageError(
                    f"--start {self.start} is behind the last row, {panel.end}.", hint="Use an earlier day."
                )
            panel = replace(panel, frame=panel.frame[panel.frame["ds"] >= first])
        return panel

    @staticmethod
    def _refuse(given: dict[str, Any], other: str, here: str) -> None:
        for flag, value in given.items():
            if value:
                raise UsageError(f"{flag} goes with {other}, not with {here}.", hint=f"Leave {flag} out.")


def _bound(text: str, flag: str, tz: str | None) -> pd.Timestamp:
    """A day or a moment, on the wall clock of the data; a day given to ``--end`` is the whole day.

    Raises:
        UsageError: it is not a date.
    """
    try:
        stamp = pd.Timestamp(text)
    except ValueError:
        stamp = pd.NaT
    if stamp is pd.NaT or stamp.tzinfo is not None:
        raise UsageError(
            f"{flag} got {text!r}, expected a day or a moment without a time zone.",
            hint="For instance 2020-01-31 or '2020-01-31 18:00', on the wall clock of the data.",
        )
    if flag == "--end" and stamp == stamp.normalize() and ":" not in text:
        stamp += pd.Timedelta(days=1) - pd.Timedelta(1, "ns")
    if tz is not None:
        stamp = stamp.tz_localize(tz, ambiguous=flag == "--start", nonexistent="shift_forward")
        stamp = stamp.tz_convert("UTC").tz_localize(None)
    return stamp


def check_ahead(panel: Panel, horizon: int) -> None:
    """Refuse, before any training, a panel whose known-future covariates do not reach ``horizon`` steps ahead.

    Raises:
        DataError: a value is missing.
    """
    last = {name: pd.Timestamp(end) for name, end in zip(panel.ids, panel.ds[panel.offsets[1:] - 1], strict=True)}
    require_future(panel, last, horizon)


def data_request(flags: Mapping[str, Any], config: Config | None = None, *, no_price: str | None = None) -> DataRequest:
    """A request from the data flags of a command (``forecast.commands.options.DATA_FLAGS``).

    A ``config`` that says whether the data is prices or a sensor says how a file is to be read. ``no_price`` is what to
    do where a price cannot be one, instead of the flags of ``forecast fit``.
    """
    several: dict[str, Any] = {
        name: tuple(flags[name] or ()) for name in ("ticker", "target", "past", "future", "static")
    }
    single = {name: flags[name] for name in ("csv", "source", "offline", "start", "end", "interval", "time", "id")}
    rest = {name: value for name, value in flags.items() if name not in {**several, **single} and value is not None}
    kind = None
    if config is not None:
        kind = None if config.data.kind == "auto" else config.data.kind
    if config is not None and config.data.log is True:  # also of a run, whose configuration is settled
        what = "--preset sensor, without" if kind == "price" else "leave out"
        kind, no_price = "price", no_price or f"If this is no price: {what} data.log, which asks for logarithms."
    return DataRequest(**several, **single, options=rest, kind=kind, no_price=no_price)


def config_of(flags: Mapping[str, Any], **more: Any) -> Config:
    """A configuration from the setting flags of a command (``forecast.commands.options.SETTING_FLAGS``).

    ``more`` are further flags; ``under=`` among them, see :func:`make_config`.
    """
    rest = {name: value for name, value in flags.items() if name not in ("config", "preset", "set_")}
    return make_config(flags["config"], flags["preset"], flags["set_"] or [], **rest, **more)


def make_config(
    file: Path | None, preset: str | None, settings: Sequence[str], *, under: Mapping[str, Any] | None = None,
    **flags: Any,
) -> Config:  # fmt: skip
    """A configuration from a preset, then a file, then ``section.name=value`` texts, then flags that were given.

    ``under``: nested settings that all of these may change.
    """
    said: dict[str, Any] = {}

    def say(values: Mapping[str, Any]) -> None:
        said.update({".".join(locate(name)): value for name, value in values.items()})

    say(_flat(dict(under or {})))
    say(_flat(preset_values(preset)))
    if file is not None:
        say(_flat(read_config(file)))
    typed: dict[str, tuple[str, Any]] = {}  # what the command line says of a setting, and as what it was typed
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set got {text!r}, expected name=value.", hint="For instance --set model.hidden=32.")
        _type(typed, name.strip(), _parse(value.strip()), f"--set {text}")
    for name, value in flags.items():
        if value is not None:
            _type(typed, name, value, f"--{'model' if name == 'core' else name} {value}")
    said.update({name: value for name, (_, value) in typed.items()})
    return Config.make(None, **said)  # all at once: what was said holds, whatever the defaults of the core


def _type(typed: dict[str, tuple[str, Any]], name: str, value: Any, text: str) -> None:
    """Add a setting to those ``typed``.

    Raises:
        UsageError: it was typed with another value before.
    """
    full = ".".join(locate(name))
    if full in typed and typed[full][1] != value:
        raise UsageError(f"{typed[full][0]} and {text} give {full} two values.", hint="Leave one of them out.")
    typed[full] = text, value


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for section, inner in values.items():
        flat.update(
            {f"{section}.{name}": value for name, value in inner.items()}
            if isinstance(inner, dict)
            else {section: inner}
        )
    return flat


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def check_free(out: Path | None, flag: str = "--out") -> None:
    """Refuse a folder that is there, before any work is done; ``flag`` is what named it.

    Raises:
        UsageError: ``out`` exists.
    """
    if out is not None and out.exists():
        raise UsageError(f"{out} exists already.", hint=f"Choose another {flag}, or remove it.")


def last_values(panel: Panel) -> dict[str, float | None]:
    """Last observed value of every series (of the first hundred)."""
    seen = baselines.last_seen(panel)[panel.offsets[1:] - 1][:100]
    y = panel.column("y")
    return {name: float(y[at]) if at >= 0 else None for name, at in zip(panel.ids, seen, strict=False)}
