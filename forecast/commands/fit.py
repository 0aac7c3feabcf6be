"""``forecast fit``: load, train, forecast, score beside naive, save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forecast.commands import options as opt

if TYPE_CHECKING:
    from rich.console import Console

    from forecast.run import Run, Validation

HELP = """Train on a ticker or a file, forecast what comes next, and score it beside the naive forecast.

Data is cut into three spans in time order: train, stop (early stopping), and holdout, which is scored once.
"""


@opt.takes(data=opt.DATA_FLAGS, settings=opt.SETTING_FLAGS)
def fit(
    data: dict[str, Any],
    settings: dict[str, Any],
    model: opt.Core = None,
    out: opt.Out = None,
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    from forecast import request
    from forecast.commands import screen
    from forecast.idle import idle
    from forecast.imports import importing

    config = request.config_of(settings, core=model)
    screen.show_warnings(idle(config, settings["preset"]))
    request.check_free(out)
    with screen.bar("loading"):
        panel = request.data_request(data, config).load()
    if not json:
        show_data(screen.out(), panel)
    screen.show_doubts(panel.notes)
    with screen.bar("training") as bar:
        with importing():
            import forecast.train  # noqa: F401 - run_fit would load it
            from forecast.run import run_fit

        result = run_fit(panel, config, out=out, progress=bar.training, stage=bar.stage)
    screen.show_warnings(result.model.notes)
    if json:
        screen.emit(result.to_json())
    else:
        show_run(screen.out(), result)


def show_data(console: Console, panel: Any) -> None:
    """What was loaded: rows, span, last value, and everything that was decided on the way (doubts: see screen)."""
    from rich.markup import escape

    from forecast.commands.screen import number
    from forecast.request import last_values
    from pipelines.plausible import SAID
    from pipelines.where import shown

    facts = panel.describe()
    name = panel.ids[0] if len(panel.ids) == 1 else f"{facts['series']} series"
    last = last_values(panel)
    ending = f", last {panel.target} {number(last[panel.ids[0]])}" if len(panel.ids) == 1 else ""
    gaps = f", {facts['missing']:,} missing" if facts["missing"] else ""
    utc = "" if panel.grid.tz is None else " UTC"
    span = f"{shown(panel.start)} to {shown(panel.end)}{utc}"
    console.print(
        f"[bold]{escape(name)}[/]  {facts['rows']:,} rows, {span}, {escape(facts['frequency'])}{escape(ending)}{gaps}"
    )
    for note in (note for note in panel.notes if not note.startswith(SAID)):
        console.print(f"  [dim]{escape(note)}[/]")


def show_run(console: Console, run: Run) -> None:
    """Training, forecast, scores, verdict, and where it all is."""
    from rich.markup import escape

    from forecast.commands.screen import pasted
    from pipelines.where import plural

    model, training = run.model, run.model.facts["training"]
    shape = f"{model.config.model.layers} x {model.config.model.hidden}, {model.facts['parameters']:,} weights"
    keeps_last = model.config.train.keep == "last"
    early = "stopped early" if training["stopped_early"] else "ran to the end"
    if training.get("ridge") is None:
        passes = f"{training['epochs']} pass{'' if training['epochs'] == 1 else 'es'}"
        how = (
            f"{passes}, {plural(training['updates'], 'update')}, {early}, "
            f"best after pass {training['best_epoch']}" + (", the last kept." if keeps_last else ".")
        )
    else:
        how = f"one pass, readout solved for with ridge {training['ridge']:g}."
    console.print(
        f"\nTrained {escape(model.name)} ({shape}) as {model.config.data.kind} in {run.seconds['train']:.1f} s: {how}"
    )
    console.print(f"\n[bold]Forecast[/] ({horizon_note(model)})")
    rest = " in forecast.csv" if run.path is not None else "; --json gives them all"
    console.print(forecast_table(run.forecast, model.name, model.levels, rest, tz=run.panel.grid.tz))
    if run.validation is not None:
        show_validation(console, run.validation, model.name, model.levels)
    if run.path is not None:
        console.print(f"\nRun folder  {escape(str(run.path))}")
        console.print(f"Plot        {escape(str(run.path / 'forecast.png'))}")
        console.print(f"Report      {escape(str(run.path / 'report.html'))}")
        console.print(f"Again       forecast predict {escape(pasted(run.path))}")


def horizon_note(model: Any) -> str:
    """What the point forecast and its intervals are."""
    from forecast.sections import POINT_HEADS

    levels = " and ".join(f"{level} %" for level in model.levels)
    point = "point forecast" if model.config.model.head in POINT_HEADS and not model.config.data.log else "median"
    return f"{point}; {levels} intervals, calibrated on the stop span" if model.levels else point


def forecast_table(
    forecast: Any, model: str, levels: list[int], rest: str, most: int = 30, tz: str | None = None
) -> Any:
    """The first ``most`` rows of a forecast as a table; ``rest`` says where the others are.

    Args:
        tz: the zone of the wall clock, where stamps are kept in UTC: said in the heading.
    """
    from rich.markup import escape
    from rich.table import Table

    from forecast.commands.screen import number, whens
    from pipelines.where import plural

    several = forecast["unique_id"].nunique() > 1
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ["series"] if several else []:
        table.add_column(name)
    table.add_column("date" if tz is None else "date (UTC)", no_wrap=True)
    for name in ["forecast", *(f"{side} {level} %" for level in levels for side in ("low", "high"))]:
        table.add_column(name, justify="right")
    chance = [f"{model}-up"] if f"{model}-up" in forecast else []
    for _ in chance:
        table.add_column("up", justify="right")
    head = forecast.head(most)
    for row, stamp in zip(head.to_dict("records"), whens(head["ds"]), strict=True):
        cells = [escape(str(row["unique_id"]))] if several else []
        cells += [stamp, number(row[model])]
        cells += [number(row[f"{model}-{side}-{level}"]) for level in levels for side in ("lo", "hi")]
        cells += [percent(row[name]) for name in chance]
        table.add_row(*cells)
    if len(forecast) > most:
        table.caption = f"{plural(len(forecast) - most, 'more row')}{rest}"
    return table


def show_validation(console: Console, validation: Validation, model: str, levels: list[int]) -> None:
    """Scores beside the baselines and the verdict, with the rows each of them saw; coverage of the widest level."""
    from rich.markup import escape
    from rich.table import Table

    from forecast.commands.screen import number

    console.print("\n[bold]Holdout[/] (pooled over all steps ahead)")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("model")
    widest = [f"inside {level} %" for level in levels[-1:]]
    for name in ("MAE", "RMSE", "MASE", "direction", *widest, "missing"):
        table.add_column(name, justify="right")
    for row in validation.scores.to_dict("records"):
        covers = [percent(row.get(f"coverage_{level}")) for level in levels[-1:]]
        table.add_row(
            escape(row["model"]), number(row["mae"]), number(row["rmse"]), number(row["mase"]),
            percent(row.get("direction")), *covers, str(row["missing"]),
            style="bold" if row["model"] == model else None,
        )  # fmt: skip
    console.print(table)
    console.print(f"\n[bold]Verdict[/]  {escape(validation.verdict['text'])}")
    if told := validation.verdict.get("direction"):
        console.print(f"[bold]Direction[/]  {escape(told['text'])}")
    for note in validation.notes:
        console.print(f"  [dim]{escape(note)}[/]")
    for name, text in validation.spans.items():
        console.print(f"  [dim]{name:8s} {escape(text)}[/]")


def percent(value: float | None) -> str:
    import math

    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f} %"
