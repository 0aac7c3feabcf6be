"""``forecast diagnose``: how far back learning reaches, of a run or of a fit, and what the remedies do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forecast.commands import options as opt

if TYPE_CHECKING:
    from rich.console import Console

    from forecast.config import Config
    from forecast.diagnose import Diagnosis
    from forecast.diagnose_remedies import Comparison

HELP = """How far back a net's learning reaches: gradient by time lag, by layer and over training; stuck gates.

RUN is a folder of `forecast fit`. With --ticker or --csv a net is fitted first and its gradients are watched while
it learns. --compare fits the remedies of the texts one by one: k2, clipping, penalties, initial weights, optimisers,
ReLU, LSTM, GRU. A gradient has vanished below 1 % of its largest norm, and explodes from 100 times the last step's.
"""

PLOT = "diagnose.png"


@opt.takes(data=opt.DATA_FLAGS, settings=opt.SETTING_FLAGS)
def diagnose(
    data: dict[str, Any],
    settings: dict[str, Any],
    run: Annotated[
        Path | None, typer.Argument(help="Run folder printed by `forecast fit`.", show_default=False)
    ] = None,
    model: opt.Core = None,
    compare: Annotated[bool, typer.Option("--compare", help="Fit every remedy, and print one table.")] = False,
    remedy: Annotated[
        list[str] | None, typer.Option("--remedy", help="With --compare: only this one; repeat for several.")
    ] = None,
    delay: Annotated[
        int | None,
        typer.Option(
            "--delay", help="In place of data: the built-in series whose target lies so many steps back (2 to 500)."
        ),
    ] = None,
    lags: Annotated[int | None, typer.Option("--lags", help="Steps to look back.  \\[default: k2]")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The plot, a PNG.  \\[default: in RUN, or runs/...]")
    ] = None,
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    _check(data, settings | {"model": model}, run, compare, remedy, delay, lags, out)
    if out is not None:
        _check_plot(out)
    if run is not None:
        from forecast.diagnose import diagnose as look

        _tell(look(run, lags=lags), out or run / PLOT, json, beside=out is None)
        return
    panel, config, score = _subject(data, settings, model, compare, delay, json)
    if compare:
        _compare(panel, config, remedy or [], score, json)
    else:
        _fit(panel, config, lags, out, json)


def _check(
    data: Mapping[str, Any], settings: Mapping[str, Any], run: Path | None, compare: bool, remedy: list[str] | None,
    delay: int | None, lags: int | None, out: Path | None,
) -> None:  # fmt: skip
    """Flags that do not go together.

    Raises:
        UsageError: one was given where it would do nothing.
    """
    from pipelines.errors import UsageError

    if run is not None:
        # settings first: a preset may have named the target
        typed = [flag.rstrip("_") for flag, value in settings.items() if value is not None]
        typed += [flag for flag, (_, default) in opt.DATA_FLAGS.items() if data[flag] != default]
        typed += [name for name, value in (("compare", compare), ("delay", delay is not None)) if value]
        if typed:
            raise UsageError(
                f"--{typed[0].replace('_', '-')} goes with --ticker, --csv or --delay, not with a run folder.",
                hint="Leave it out, or leave the folder out.",
            )
    elif delay is not None and (data["ticker"] or data["csv"] is not None):
        raise UsageError("--delay is data of its own.", hint="Leave --ticker and --csv out, or --delay.")
    elif delay is None and not data["ticker"] and data["csv"] is None:
        raise UsageError(
            "there is nothing to look at: no run folder, no ticker, no file.",
            hint="Give a folder of `forecast fit`, --ticker AAPL, --csv FILE, or --delay 30 for the built-in series.",
        )
    if remedy and not compare:
        raise UsageError("--remedy goes with --compare.", hint="Add --compare.")
    if compare and (lags is not None or out is not None):
        raise UsageError(
            f"--{'lags' if lags is not None else 'out'} does not go with --compare, which prints a table.",
            hint="Leave it out.",
        )


def _check_plot(out: Path) -> None:
    """Refuse a file that will not take the plot, before anything is fitted.

    Raises:
        UsageError: it is no PNG by name, or cannot be written.
    """
    from pipelines.errors import UsageError

    if out.suffix.lower() != ".png":
        raise UsageError(f"--out got {out}, expected the name of a PNG.", hint="For instance --out gradients.png.")
    fresh = not out.exists()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.open("ab").close()
        if fresh:
            out.unlink()
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error.strerror}).", hint="Choose another --out.") from error


def _subject(
    data: dict[str, Any], settings: dict[str, Any], core: str | None, compare: bool, delay: int | None, json: bool
) -> tuple[Any, Config, Any]:
    """The panel, the configuration, and how a fitted model is scored beside its loss, if at all."""
    from functools import partial

    from forecast import request
    from forecast.commands import screen
    from forecast.commands.fit import show_data

    under: dict[str, Any] = {}
    if delay is not None:
        from forecast.long_memory import check_delay, delayed_recall, explained, recall_settings

        check_delay(delay, "--")
        under = recall_settings(delay)
    if compare:  # the net the remedies are for, unless another one is named
        under["model"] = {**under.get("model", {}), "core": "rnn"}
    config = request.config_of(settings, under=under, core=core)
    if delay is not None:
        panel = delayed_recall(delay)
        if not json:
            screen.out().print(f"[bold]recall[/]  a marked value, due {delay} steps later; {len(panel):,} rows")
        return panel, config, partial(explained, panel=panel)
    with screen.bar("loading"):
        panel = request.data_request(data, config).load()
    if not json:
        show_data(screen.out(), panel)
    screen.show_doubts(panel.notes)
    return panel, config, None


def _fit(panel: Any, config: Config, lags: int | None, out: Path | None, json: bool) -> None:
    from forecast.commands import screen

    with screen.bar("training") as bar:
        from forecast.diagnose import diagnose as look
        from forecast.run import free_folder

        found = look(panel, config, lags=lags, progress=bar.training)
    _tell(found, out or free_folder(panel, f"{found.model}-diagnose").with_suffix(".png"), json)


def _compare(panel: Any, config: Config, only: list[str], score: Any, json: bool) -> None:
    from forecast import storage
    from forecast.commands import screen

    with screen.bar("training") as bar:
        from forecast.diagnose_remedies import compare

        found = compare(panel, config, only=only, progress=bar.training, stage=bar.stage, score=score)
    if json:
        screen.emit(storage.plain(found.to_json()))
    else:
        show_comparison(screen.out(), found)


def _tell(found: Diagnosis, plot: Path, json: bool, beside: bool = False) -> None:
    """Print ``found`` and write its plot; ``beside`` a run, a folder that cannot be written to is only mentioned."""
    from forecast import storage
    from forecast.commands import screen
    from pipelines.errors import UsageError

    written: Path | None = plot
    try:
        found.plot(plot)
    except UsageError as error:
        if not beside:
            raise
        written = None
        screen.talk().print(error.message, markup=False)
    if json:
        screen.emit(storage.plain(found.to_json() | {"plot": None if written is None else str(written)}))
        return
    show_diagnosis(screen.out(), found)
    if written is not None:
        screen.out().print(f"\nPlot        {written}", markup=False)


def show_diagnosis(console: Console, found: Diagnosis) -> None:
    """The sentence, what goes with it, gradient by lag and by layer, and saturation."""
    from rich.markup import escape
    from rich.table import Table

    from forecast.commands.screen import number

    console.print(f"\n[bold]{escape(found.text[0].upper() + found.text[1:])}.[/]")
    for note in found.notes:
        console.print(f"  {escape(note[0].upper() + note[1:])}.")
    table = Table(box=None, pad_edge=False, header_style="dim")
    layers = found.flow.layers if len(found.flow.layers) > 1 else {}
    most = float(found.flow.norms.max()) or 1.0
    for name in ("steps back", "share", "before training", *layers):
        table.add_column(name, justify="right", no_wrap=True)
    for lag in _some(len(found.flow.norms)):
        row = [found.flow.share[lag], found.begin.share[lag], *(norms[lag] / most for norms in layers.values())]
        table.add_row(str(lag), *(number(float(value)) for value in row))
    title = "the state" if found.flow.measure == "state" else "the inputs"
    console.print(f"\n[bold]Gradient of the loss by {title}[/] (share of the largest norm)")
    console.print(table)
    if found.training is not None:
        console.print("\n[bold]Gradient over training[/] (median norm before clipping)")
        for name, values in found.training.layers.items():
            begin, end = (
                float(_median(part)) for part in (values[: len(values) // 10 + 1], values[-len(values) // 10 :])
            )
            console.print(f"  {escape(name):10s} {number(begin):>10s} at first, {number(end)} at last")
    if found.units:
        console.print("\n[bold]Saturation[/]")
        for one in found.units:
            console.print(f"  {escape(one.layer)} {escape(one.name):12s} {escape(one.text)}")


def _median(values: Any) -> float:
    import numpy as np

    return float(np.median(values))


def _some(count: int) -> list[int]:
    """Lags 0, 1, 2, 4, 8, ... and the last."""
    found = [0]
    while max(1, 2 * found[-1]) < count - 1:
        found.append(max(1, 2 * found[-1]))
    return [*found, count - 1]


def show_comparison(console: Console, found: Comparison) -> None:
    """One table of all remedies, and a sentence."""
    from rich.markup import escape
    from rich.table import Table

    from forecast.commands.screen import number

    scored = any(one.scored is not None for one in found.outcomes)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("remedy", no_wrap=True)
    heads = ["stop loss", "reach", "before", "of k2", "clipped", "seconds"] + ["explained"] * scored
    for name in heads:
        table.add_column(name, justify="right")
    for one in found.outcomes:
        cells = ["failed" if one.stop_loss is None else number(one.stop_loss)]
        cells += ["-" if value is None else str(value) for value in (one.reach, one.reach_before, one.steps or None)]
        cells += ["-" if one.clipped is None else f"{100 * one.clipped:.0f} %", f"{one.seconds:.1f}"]
        cells += ["-" if one.scored is None else f"{100 * one.scored:.0f} %"] * scored
        table.add_row(escape(one.remedy.name), *cells, style="bold" if one is found.best else None)
    console.print(table)
    console.print(f"\n{escape(found.text[0].upper() + found.text[1:])}.")
    console.print("  [dim]reach: steps back at which the gradient is 1 % of its largest, after and before training[/]")
    console.print(
        "  [dim]stop loss: of the span training stopped by; a ranking for study, `forecast backtest` scores[/]"
    )
