"""``forecast data``: what data exists, what a file holds, what the cache keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forecast.commands import options as opt

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(json: opt.Json = False, debug: opt.Debug = False) -> None:
    """Samples that need no network, and what the cache holds."""
    from rich.markup import escape
    from rich.table import Table

    from forecast.commands import screen
    from pipelines import cache, catalog

    cards, kept = catalog.cards(), cache.entries()
    if json:
        screen.emit({"schema": 1, "samples": [c.to_json() for c in cards], "cache": [e.to_json() for e in kept]})
        return
    console = screen.out()
    table = Table(box=None, pad_edge=False, header_style="dim", title="Samples (--source sample)", title_justify="left")
    for name in ("ticker", "what", "rows", "from", "to", "frequency"):
        table.add_column(name, justify="right" if name == "rows" else "left")
    for card in cards:
        grid = f"{card.calendar} sessions" if card.calendar else card.freq
        table.add_row(card.ticker or card.name, escape(card.title), f"{card.rows:,}", card.start, card.end, grid)
    console.print(table)
    if not kept:
        console.print("\nThe cache is empty; `forecast data fetch TICKER` fills it.")
        return
    held = Table(box=None, pad_edge=False, header_style="dim", title="\nCache", title_justify="left")
    for name in ("ticker", "source", "interval", "rows", "from", "to", "fetched"):
        held.add_column(name, justify="right" if name == "rows" else "left")
    for entry in kept:
        cells = (entry.source, entry.interval, f"{entry.rows:,}", entry.start, entry.end, entry.fetched_at)
        held.add_row(escape(entry.ticker), *cells)
    console.print(held)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Ticker or name of a sample, or a cached ticker.", show_default=False)],
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """One sample's card, or what the cache holds of a ticker."""
    from rich.markup import escape

    from forecast.commands import screen
    from pipelines import cache, catalog

    held = [entry for entry in cache.entries() if entry.ticker.casefold() == name.casefold()]
    found = [entry.to_json() for entry in held] if held else [catalog.card(name).to_json()]
    if json:
        screen.emit({"schema": 1, "cache": found} if held else {"schema": 1, "card": found[0]})
        return
    console = screen.out()
    for facts in found:
        for key, value in facts.items():
            if value not in (None, "", [], ()):
                text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
                console.print(f"[dim]{key:12s}[/] {escape(text)}")


@app.command()
@opt.takes(flags=opt.FILE_FLAGS)
def check(
    file: Annotated[Path, typer.Argument(help="A csv or parquet file.", show_default=False)],
    flags: dict[str, Any],
    other: Annotated[Path | None, typer.Option("--other", help="A test file, to look for overlap with.")] = None,
    lookback: Annotated[
        int | None, typer.Option("--lookback", help="Rows a net on windows would read; none for the default net.")
    ] = None,
    horizon: Annotated[int, typer.Option("--horizon", help="Steps it would forecast.")] = 5,
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Read a file as `fit` would and say what is wrong with it; exit code 3 if a fit would stop."""
    from rich.markup import escape

    from forecast.commands import screen
    from pipelines.check import check_file
    from pipelines.errors import DataError

    given = {name: value for name, value in flags.items() if value is not None}
    if given.get("past") == ["all"]:
        given["past"] = ["*"]
    if "target" in given and len(given["target"]) == 1:
        given["target"] = given["target"][0]
    with screen.bar("reading"):
        report = _as_fit_would(
            check_file(file, lookback=lookback, horizon=horizon, other=other, **given), file, given, horizon
        )
    if json:
        screen.emit(report.to_json())
    else:
        screen.out().print(escape(str(report)))
    if report.verdict == "refused":
        raise typer.Exit(DataError.exit_code)


@app.command()
def fetch(
    ticker: Annotated[list[str], typer.Argument(help="Tickers to download.", show_default=False)],
    source: opt.Source = None,
    interval: opt.Interval = "1d",
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the source even if the cache is fresh.")] = False,
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Download tickers into the cache."""
    from rich.markup import escape

    from forecast.commands import screen
    from pipelines.tickers import load
    from pipelines.where import shown

    panels = [load(name, source=source or "yahoo", interval=interval, refresh=refresh) for name in ticker]
    if json:
        screen.emit({"schema": 1, "series": [panel.describe() | {"notes": list(panel.notes)} for panel in panels]})
        return
    console = screen.out()
    for panel in panels:
        console.print(f"{escape(panel.ids[0])}  {len(panel):,} rows, {shown(panel.start)} to {shown(panel.end)}")
        for note in panel.notes:
            console.print(f"  [dim]{escape(note)}[/]")


@app.command()
def clear(
    ticker: Annotated[list[str] | None, typer.Argument(help="Tickers to remove.", show_default=False)] = None,
    all_: Annotated[bool, typer.Option("--all", help="Remove everything.")] = False,
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Remove tickers from the cache."""
    from forecast.commands import screen
    from pipelines import cache
    from pipelines.errors import UsageError

    if bool(ticker) == all_:
        raise UsageError("say which tickers to remove, or --all.", hint="For instance: forecast data clear AAPL")
    removed = cache.clear(tickers=ticker or None)
    if json:
        screen.emit({"schema": 1, "removed": [entry.to_json() for entry in removed]})
        return
    names = ", ".join(entry.ticker for entry in removed)
    screen.out().print(
        f"Removed {len(removed)} of the cache: {names}" if removed else "Nothing to remove.", markup=False
    )


def _as_fit_would(report: Any, file: Path, given: dict[str, Any], horizon: int) -> Any:
    """The report, refused if a fit with these flags would stop although the file itself is sound."""
    from dataclasses import replace

    from forecast.config import Config
    from forecast.spans import cut_spans
    from pipelines.errors import ToolkitError
    from pipelines.sources.files import read_file

    if report.verdict == "refused":
        return report
    try:
        cut_spans(read_file(file, **given), Config.make(horizon=horizon))
    except ToolkitError as error:
        return replace(report, verdict="refused", text=f"a fit would stop: {error.message} {error.hint or ''}".rstrip())
    return report
