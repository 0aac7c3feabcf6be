"""Flags that several commands share: one name, one help text, one type everywhere.

A command that reads data is decorated with ``@takes(data=DATA_FLAGS)`` and gets a dictionary ``data`` of what was
typed, which :func:`forecast.request.data_request` understands; likewise ``settings=SETTING_FLAGS``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from forecast.family import FAMILY

DATA = "Data"
MODEL = "Model"
RUN = "Run"

Ticker = Annotated[
    list[str] | None,
    typer.Option("--ticker", help="Ticker, such as AAPL or ^GSPC; repeat for several.", rich_help_panel=DATA),
]
Csv = Annotated[Path | None, typer.Option("--csv", help="A csv or parquet file.", rich_help_panel=DATA)]
Time = Annotated[str | None, typer.Option("--time", help="Column of time stamps.", rich_help_panel=DATA)]
Target = Annotated[
    list[str] | None,
    typer.Option("--target", help="Column to forecast; several become one series each.", rich_help_panel=DATA),
]
Id = Annotated[
    str | None, typer.Option("--id", help="Column that names the series in a long file.", rich_help_panel=DATA)
]
Past = Annotated[
    list[str] | None,
    typer.Option(
        "--past",
        help="Covariate known up to now; repeat for several, 'all' for every other column.",
        rich_help_panel=DATA,
    ),
]
Future = Annotated[list[str] | None, typer.Option("--future", help="Covariate known ahead.", rich_help_panel=DATA)]
Static = Annotated[
    list[str] | None, typer.Option("--static", help="Covariate with one value per series.", rich_help_panel=DATA)
]
Source = Annotated[
    str | None,
    typer.Option("--source", help="Where tickers come from: yahoo (default) or sample.", rich_help_panel=DATA),
]
Offline = Annotated[bool, typer.Option("--offline", help="Use the cache only.", rich_help_panel=DATA)]
Start = Annotated[str | None, typer.Option("--start", help="First day, included.", rich_help_panel=DATA)]
End = Annotated[str | None, typer.Option("--end", help="Last day, included.", rich_help_panel=DATA)]
Interval = Annotated[str, typer.Option("--interval", help="1d, 1wk, 1mo, 1h or shorter.", rich_help_panel=DATA)]
Freq = Annotated[
    str | None,
    typer.Option("--freq", help="Frequency of a file, such as h or 15min; found out by default.", rich_help_panel=DATA),
]
Gaps = Annotated[
    str | None, typer.Option("--gaps", help="error, mask (default) or interpolate:N.", rich_help_panel=DATA)
]
Irregular = Annotated[
    str | None,
    typer.Option(
        "--irregular",
        help="Stamps off the grid: refuse (default), snap (later only) or nearest (up to half a step earlier).",
        rich_help_panel=DATA,
    ),
]
Duplicates = Annotated[
    str | None,
    typer.Option("--duplicates", help="Doubled stamps: error (default), first, last or mean.", rich_help_panel=DATA),
]
Impossible = Annotated[
    str | None,
    typer.Option("--impossible", help="Prices that cannot be: refuse (default), mask or keep.", rich_help_panel=DATA),
]
Calendar = Annotated[
    str | None, typer.Option("--calendar", help="Exchange calendar, such as XNYS.", rich_help_panel=DATA)
]
Adjust = Annotated[
    str | None,
    typer.Option("--adjust", help="Prices: splits (default), none or total (with dividends).", rich_help_panel=DATA),
]
AsOf = Annotated[
    str | None, typer.Option("--as-of", help="Stand on this day: nothing later exists.", rich_help_panel=DATA)
]
Deadline = Annotated[
    float | None, typer.Option("--deadline", help="Seconds for each ticker.  \\[default: 12]", rich_help_panel=DATA)
]
Refresh = Annotated[
    bool | None, typer.Option("--refresh", help="Ask the source even if the cache is fresh.", rich_help_panel=DATA)
]
Sep = Annotated[
    str | None, typer.Option("--sep", help="Separator of a csv file; found out by default.", rich_help_panel=DATA)
]
Header = Annotated[
    bool | None,
    typer.Option("--header/--no-header", help="Whether a file's first row names columns.", rich_help_panel=DATA),
]
Encoding = Annotated[str | None, typer.Option("--encoding", help="Encoding of a csv file.", rich_help_panel=DATA)]
Decimal = Annotated[str | None, typer.Option("--decimal", help="Decimal mark of a csv file.", rich_help_panel=DATA)]
Thousands = Annotated[
    str | None, typer.Option("--thousands", help="Thousands mark of a csv file.", rich_help_panel=DATA)
]
Tz = Annotated[
    str | None, typer.Option("--tz", help="Time zone of a file's stamps, such as Europe/Berlin.", rich_help_panel=DATA)
]
Dayfirst = Annotated[
    bool | None, typer.Option("--dayfirst/--no-dayfirst", help="How to read 03/04/2020.", rich_help_panel=DATA)
]

Core = Annotated[
    str | None, typer.Option("--model", help=f"{', '.join(FAMILY)}; see `forecast models`.", rich_help_panel=MODEL)
]
Preset = Annotated[
    str | None, typer.Option("--preset", help="A named configuration: see `forecast models`.", rich_help_panel=MODEL)
]
Horizon = Annotated[int | None, typer.Option("--horizon", help="Steps ahead.  \\[default: 5]", rich_help_panel=MODEL)]
Mode = Annotated[
    str | None,
    typer.Option("--mode", help="stream or window.  \\[default: stream where the net can]", rich_help_panel=MODEL),
]
Lookback = Annotated[
    int | None, typer.Option("--lookback", help="Rows a window reads (with --mode window).", rich_help_panel=MODEL)
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Passes over the training rows.", rich_help_panel=MODEL)]
Seed = Annotated[
    int | None, typer.Option("--seed", help="Seed of weights, dropout and batch phase.", rich_help_panel=MODEL)
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any setting, e.g. model.hidden=32 (all: `forecast settings`); repeat.",
        rich_help_panel=MODEL,
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Settings in a TOML or JSON file.", rich_help_panel=MODEL)
]

Threads = Annotated[int | None, typer.Option("--threads", help="CPU threads.", rich_help_panel=RUN)]
Accelerator = Annotated[str | None, typer.Option("--accelerator", help="auto, cpu, gpu or mps.", rich_help_panel=RUN)]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder.  \\[default: runs/...]", rich_help_panel=RUN)]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.", rich_help_panel=RUN)]
Debug = Annotated[bool, typer.Option("--debug", help="Tracebacks.", rich_help_panel=RUN)]

Flags = Mapping[str, tuple[Any, Any]]  # name of the parameter: (annotation, default)

FILE_FLAGS: Flags = {
    "time": (Time, None),
    "target": (Target, None),
    "id": (Id, None),
    "past": (Past, None),
    "future": (Future, None),
    "static": (Static, None),
    "freq": (Freq, None),
    "calendar": (Calendar, None),
    "tz": (Tz, None),
    "gaps": (Gaps, None),
    "irregular": (Irregular, None),
    "duplicates": (Duplicates, None),
    "impossible": (Impossible, None),
    "dayfirst": (Dayfirst, None),
    "sep": (Sep, None),
    "header": (Header, None),
    "encoding": (Encoding, None),
    "decimal": (Decimal, None),
    "thousands": (Thousands, None),
}
DATA_FLAGS: Flags = {
    "ticker": (Ticker, None),
    "csv": (Csv, None),
    "source": (Source, None),
    "offline": (Offline, False),
    "start": (Start, None),
    "end": (End, None),
    "interval": (Interval, "1d"),
    "adjust": (Adjust, None),
    "as_of": (AsOf, None),
    "deadline": (Deadline, None),
    "refresh": (Refresh, None),
    **FILE_FLAGS,
}
SETTING_FLAGS: Flags = {
    "preset": (Preset, None),
    "horizon": (Horizon, None),
    "mode": (Mode, None),
    "lookback": (Lookback, None),
    "epochs": (Epochs, None),
    "seed": (Seed, None),
    "set_": (Set, None),
    "config": (ConfigFile, None),
    "threads": (Threads, None),
    "accelerator": (Accelerator, None),
}


class Once(TyperCommand):
    """A command that refuses an option given twice where it takes one value: the last would win without a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        rest = super().parse_args(ctx, args)
        _, _, order = self.make_parser(ctx).parse_args(args=list(given))
        for option in order:
            single = option.param_type_name == "option" and not (
                option.is_flag or option.multiple or option.count  # type: ignore[attr-defined]
            )
            if single and sum(one is option for one in order) > 1:
                from pipelines.errors import UsageError

                raise UsageError(
                    f"{' and '.join(_as_typed(given, option.opts))}: {option.opts[0]} takes one value.",
                    hint="Leave all but one out.",
                )
        return rest


def _as_typed(args: list[str], names: list[str]) -> list[str]:
    """The places in ``args`` where an option with these ``names`` stands, with their values."""
    pairs = zip(args, [*args[1:], ""], strict=True)
    return [
        f"{one} {after}" if one in names else one for one, after in pairs if one.partition("=")[0] in names
    ]  # fmt: skip


def once(app: typer.Typer) -> None:
    """Let every command of ``app``, also of those below it, be a :class:`Once`."""
    for command in app.registered_commands:
        command.cls = Once
    for group in app.registered_groups:
        if group.typer_instance is not None:
            once(group.typer_instance)


def refuse_idle(data: Mapping[str, Any]) -> None:
    """Data flags without data would do nothing.

    Raises:
        UsageError: a data flag was typed, but neither --ticker nor --csv.
    """
    from pipelines.errors import UsageError

    if data["ticker"] or data["csv"] is not None:
        return
    typed = [name for name, (_, default) in DATA_FLAGS.items() if data[name] != default]
    if typed:
        raise UsageError(
            f"--{typed[0].replace('_', '-')} goes with --ticker or --csv; without them the saved rows are read.",
            hint="Name the data, or leave the flag out.",
        )


def _target_of_preset(data: dict[str, Any], settings: Mapping[str, Any]) -> None:
    """What a preset forecasts, unless --target says what."""
    if settings["preset"] is None or data["target"]:
        return
    from forecast.presets import find_preset

    target = find_preset(settings["preset"]).target
    if target is not None:
        data["target"] = [target]


def takes(**groups: Flags) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the flags of ``groups``; it gets one dictionary per group instead of one argument per flag."""

    def wrap(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**given: Any) -> None:
            bundled = {group: {name: given.pop(name) for name in flags} for group, flags in groups.items()}
            if {"data", "settings"} <= set(bundled):
                _target_of_preset(bundled["data"], bundled["settings"])
            function(**bundled, **given)

        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for flags in groups.values()
            for name, (annotation, default) in flags.items()
        ]
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(function, eval_str=True).parameters.items()
            if name not in groups
        ]
        command.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*shared, *own]}
        del command.__wrapped__
        return command

    return wrap
