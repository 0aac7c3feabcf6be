"""``forecast backtest``: walk-forward scores of several models beside the baselines, and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forecast.commands import options as opt
from forecast.family import FAMILY

if TYPE_CHECKING:
    from rich.console import Console

    from forecast.results import Backtest

HELP = """Score models by walk-forward forecasts and say in one line whether they beat the naive forecast.

The last rows are the test span; models are fitted before it (and again in it, with --refit) and forecast from every
origin in it. Naive, drift, seasonal naive and the historical mean always run beside them.
"""
TEST = "Test"


@opt.takes(data=opt.DATA_FLAGS, settings=opt.SETTING_FLAGS)
def backtest(
    data: dict[str, Any],
    settings: dict[str, Any],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help=f"{', '.join(FAMILY)}, ETS or Theta; repeat.  \\[default: lstm]",
            rich_help_panel=opt.MODEL,
        ),
    ] = None,
    test: Annotated[
        float, typer.Option("--test", help="Rows in the test span, or a share of all below 1.", rich_help_panel=TEST)
    ] = 0.2,
    stride: Annotated[int, typer.Option("--stride", help="Rows between origins.", rich_help_panel=TEST)] = 1,
    gap: Annotated[
        int, typer.Option("--gap", help="Rows between a cutoff and the first origin (embargo).", rich_help_panel=TEST)
    ] = 0,
    refit: Annotated[
        str, typer.Option("--refit", help="never, N (rows), cold, warm, cold:N or warm:N.", rich_help_panel=TEST)
    ] = "never",
    window: Annotated[
        str, typer.Option("--window", help="expanding, or rows of a sliding training span.", rich_help_panel=TEST)
    ] = "expanding",
    seeds: Annotated[int, typer.Option("--seeds", help="Fit every net with so many seeds.", rich_help_panel=TEST)] = 1,
    intervals: Annotated[
        str,
        typer.Option(
            "--intervals", help="model (the nets' own), split, rolling or adaptive conformal.", rich_help_panel=TEST
        ),
    ] = "model",
    level: Annotated[
        int, typer.Option("--level", help="Coverage of conformal intervals in per cent.", rich_help_panel=TEST)
    ] = 90,
    trade: Annotated[
        bool, typer.Option("--trade", help="Add a net-of-cost scorecard of trading on it.", rich_help_panel=TEST)
    ] = False,
    tried: Annotated[
        int,
        typer.Option(
            "--tried", min=0, help="With --trade: configurations tried before, as in a study.", rich_help_panel=TEST
        ),
    ] = 0,
    jobs: Annotated[int, typer.Option("--jobs", help="Workers; -1 for one per core.", rich_help_panel=opt.RUN)] = 1,
    backend: Annotated[
        str, typer.Option("--backend", help="Where workers run: loky, dask or ray.", rich_help_panel=opt.RUN)
    ] = "loky",
    store: Annotated[
        Path | None,
        typer.Option("--store", help="Folder of finished folds, to go on after a stop.", rich_help_panel=opt.RUN),
    ] = None,
    pieces: Annotated[
        int | None,
        typer.Option("--pieces", help="Read the test span in so many pieces, not exactly.", rich_help_panel=opt.RUN),
    ] = None,
    warm: Annotated[int, typer.Option("--warm", help="Rows each piece warms up on.", rich_help_panel=opt.RUN)] = 256,
    out: opt.Out = None,
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    from forecast import request
    from forecast.baselines import ALWAYS
    from forecast.commands import screen
    from forecast.commands.checks import check_backtest, idle_in_backtest
    from forecast.commands.fit import show_data
    from forecast.imports import importing
    from forecast.sections import CORES
    from pipelines.errors import UsageError

    config = request.config_of(settings)
    check_backtest(
        test=test, stride=stride, gap=gap, refit=refit, window=window, seeds=seeds, intervals=intervals, level=level,
        jobs=jobs, backend=backend, pieces=pieces, warm=warm,
    )  # fmt: skip
    models = model or [config.model.core]
    if set(models) <= set(ALWAYS):
        raise UsageError(
            f"--model {models[0]}: that baseline takes part in every backtest, so nothing is left to score beside it.",
            hint="Name a net (--model lstm) or another method (--model theta) as well.",
        )
    if out is not None and out.exists():
        raise UsageError(f"{out} exists already.", hint="Choose another --out, or remove it.")
    screen.show_warnings(
        idle_in_backtest(
            model, config.model.core, level=level, intervals=intervals, tried=tried, trade=trade, warm=warm,
            pieces=pieces, backend=backend, jobs=jobs, seeds=seeds,
        )
    )  # fmt: skip
    with screen.bar("loading"):
        panel = request.data_request(data, config).load()
    if not json:
        show_data(screen.out(), panel)
    screen.show_doubts(panel.notes)
    with importing():
        from forecast import report
        from forecast import run as flow
        from forecast.backtest import backtest as go

        if jobs == 1 and not set(models).isdisjoint(CORES):
            import forecast.train  # noqa: F401 - the first fold would load it
    with folds_bar(store) as tell:
        result = go(
            panel, models, test=test, stride=stride, gap=gap, refit=refit,
            window="expanding" if window == "expanding" else int(window), seeds=seeds,
            intervals=intervals,  # type: ignore[arg-type]
            level=level, trade=trade, tried=tried, jobs=jobs, backend=backend, store=store,
            threads=settings["threads"], pieces=pieces, warm=warm, config=config, progress=tell,
        )  # fmt: skip
    report.report(result.save(out or flow.free_folder(panel, "backtest"), numbered=out is None))
    if json:
        screen.emit(result.to_json())
    else:
        show(screen.out(), result)


@contextmanager
def folds_bar(store: Path | None = None) -> Iterator[Callable[[int, int, str], None]]:
    """A bar of finished folds on a terminal; after ctrl-C, what the ``store`` keeps."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from forecast.commands import screen

    console = screen.talk()
    columns = (TextColumn("folds"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[what]}"))
    try:
        with Bar(
            *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
        ) as bar:
            task = bar.add_task("folds", total=None, what="")
            yield lambda done, total, what: bar.update(task, completed=done, total=total, what=what)
    except (KeyboardInterrupt, SystemExit) as error:
        kept = "finished folds were not kept, as there is no --store."
        again = "the same command; with --store FOLDER it keeps the folds it finishes."
        if store is not None:
            kept, again = (
                f"finished folds are kept in {screen.pasted(store)}.",
                "the same command, which repeats none of them.",
            )
        raise screen.stopped(kept, again, error) from None


def show(console: Console, result: Backtest) -> None:
    """Verdict, scores, seed spread, notes, and where it all is."""
    from rich.markup import escape
    from rich.table import Table

    from forecast.commands.fit import percent
    from forecast.commands.screen import number, pasted
    from pipelines.where import shown

    first, last = (shown(stamp) for stamp in (result.frame["cutoff"].min(), result.frame["cutoff"].max()))
    origins = result.frame["cutoff"].nunique()
    console.print(
        f"\n[bold]Backtest[/] {origins:,} origins from {first} to {last}, horizon {result.settings['horizon']}, "
        f"refit {result.settings['refit']}, {result.timing['seconds']:.1f} s"
    )
    covers = [name for name in result.scores.columns if name.startswith("coverage_")]
    cover = "coverage_90" if "coverage_90" in covers else covers[-1] if covers else None
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("model")
    heads = ["MAE", "RMSE", "MASE", "direction"] + ([f"inside {cover.split('_')[1]} %"] if cover else []) + ["missing"]
    for name in heads:
        table.add_column(name, justify="right")
    for row in result.scores.to_dict("records"):
        cells = [escape(str(row["model"])), number(row["mae"]), number(row["rmse"]), number(row["mase"])]
        cells += [percent(row["direction"])] + ([percent(row[cover])] if cover else []) + [str(row["missing"])]
        table.add_row(*cells, style="bold" if row["model"] in result.models else None)
    console.print(table)
    console.print(f"\n[bold]Verdict[/]  {escape(result.verdict['text'])}")
    for name in result.models:
        found: dict[str, Any] = result.significance["models"][name]
        if name != result.verdict["model"]:
            console.print(f"         {escape(found['verdict']['text'])}")
    for told in result.significance.get("up", {}).values():
        console.print(f"[bold]Direction[/]  {escape(told['text'])}")
    for name in result.models:
        console.print(f"  [dim]{escape(name)}: {escape(result.significance['models'][name]['shift']['text'])}[/]")
    for note in result.notes:
        console.print(f"  [dim]{escape(note)}[/]")
    for name, card in (result.trade or {}).items():
        show_trade(console, name, card)
    reused = f", {result.timing['folds_reused']} of them from the store" if result.timing["folds_reused"] else ""
    console.print(f"\nFolds       {len(result.folds)}, fits {result.timing['folds']}{reused}")
    console.print(f"Run folder  {escape(str(result.path))}")
    if result.path is not None:
        console.print(f"Report      {escape(str(result.path / 'report.html'))}")
    console.print(f"Leak check  forecast audit {escape(pasted(result.path))}")


def show_trade(console: Console, name: str, card: dict[str, Any]) -> None:
    """What trading on a model would have left, at every multiple of the costs, beside buy-and-hold."""
    from rich.markup import escape
    from rich.table import Table

    from forecast.commands.fit import percent
    from forecast.commands.screen import number

    console.print(f"\n[bold]Trading on {escape(name)}[/]")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("strategy")
    for head in ("costs", "a year", "Sharpe", "+-", "deflated", "worst fall", "turnover"):
        table.add_column(head, justify="right")
    for row in card["rows"]:
        table.add_row(
            escape(row["strategy"]), f"{row['bps']:g} bp", percent(row["annual"]), number(row["sharpe"]),
            number(row["sharpe_se"]), percent(row["deflated"]), percent(row["max_drawdown"]), number(row["turnover"]),
        )  # fmt: skip
    console.print(table)
    console.print(f"  {escape(card['text'])}")
    for note in card["notes"]:
        console.print(f"  [dim]{escape(note)}[/]")
