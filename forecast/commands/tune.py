"""``forecast tune`` and ``forecast tune-worker``: search configurations, resumable, with any number of workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forecast.commands import options as opt
from forecast.family import FAMILY

if TYPE_CHECKING:
    from rich.console import Console

    from forecast.config import Config
    from forecast.tune import Told, Tuned

HELP = """Search configurations on rows before a sealed test span, then score the winner on it.

The error of a trial is its mean walk-forward error relative to naive over folds before the test span, which is opened
once, at the end, for the winner and the default configuration. What you set by flags or a file is not searched.
"""
WORKER_HELP = """Add a worker to a study that `forecast tune` began, on this machine or another.

On another machine give the same data and the --storage of the study; start as many as you like.
"""
STUDY = "Study"
DEFAULT_TRIALS = 20

Study = Annotated[
    Path | None,
    typer.Option("--study", help="Folder of the study, or its name under runs/.", rich_help_panel=STUDY),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage", envvar="FORECAST_STORAGE", show_envvar=True, rich_help_panel=STUDY,
        help="Database URL, such as postgresql+psycopg://USER@HOST/DB.  \\[default: SQLite in the study's folder]",
    ),
]  # fmt: skip
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", help="Seconds after which no further trial begins.", rich_help_panel=STUDY),
]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials", rich_help_panel=STUDY,
        help=f"Budget of all workers together.  \\[default: {DEFAULT_TRIALS}, unless there is a --timeout]",
    ),
]  # fmt: skip


@opt.takes(data=opt.DATA_FLAGS, settings=opt.SETTING_FLAGS)
def tune(
    data: dict[str, Any],
    settings: dict[str, Any],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help=f"{', '.join(FAMILY)}; repeat to search.", rich_help_panel=opt.MODEL),
    ] = None,
    trials: Trials = None,
    timeout: Timeout = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the --study.", rich_help_panel=STUDY)
    ] = False,
    study: Study = None,
    storage: Storage = None,
    sampler: Annotated[
        str | None, typer.Option("--sampler", help="tpe, random, grid or gp.  \\[default: tpe]", rich_help_panel=STUDY)
    ] = None,
    pruner: Annotated[
        str | None,
        typer.Option(
            "--pruner", rich_help_panel=STUDY,
            help="wilcoxon (folds), median or hyperband (epochs of the first fold), none.  \\[default: wilcoxon]",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", help="mae or pinball, relative to naive.  \\[default: mae]", rich_help_panel=STUDY),
    ] = None,
    also: Annotated[
        str | None,
        typer.Option("--also", help="A second objective: seconds or coverage.", rich_help_panel=STUDY),
    ] = None,
    folds: Annotated[
        int | None, typer.Option("--folds", help="Folds before the test span.  \\[default: 3]", rich_help_panel=STUDY)
    ] = None,
    test: Annotated[
        float | None,
        typer.Option("--test", help="Sealed rows, or a share of all below 1.  \\[default: 0.2]", rich_help_panel=STUDY),
    ] = None,
    range_: Annotated[
        list[str] | None,
        typer.Option("--range", help="hidden=16:64:log or core=lstm,gru; repeat.", rich_help_panel=STUDY),
    ] = None,
    space: Annotated[
        Path | None, typer.Option("--space", help="Ranges in a TOML file.", rich_help_panel=STUDY)
    ] = None,
    only: Annotated[
        bool, typer.Option("--only-ranges", help="Search what --range and --space name only.", rich_help_panel=STUDY)
    ] = False,
    heartbeat: Annotated[
        int | None,
        typer.Option(
            "--heartbeat", rich_help_panel=STUDY,
            help="Seconds between signs of life; a worker silent for twice that is taken for dead.  \\[default: 60]",
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", help="Worker processes of one thread each; with several, a seed gives other trials each time.",
            rich_help_panel=opt.RUN,
        ),
    ] = 1,
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:  # fmt: skip
    from forecast import request
    from forecast.commands import screen
    from forecast.commands.checks import check_tune
    from forecast.commands.fit import show_data

    given = {
        "sampler": sampler, "pruner": pruner, "metric": metric, "also": also, "folds": folds, "test": test,
        "heartbeat": heartbeat,
    }  # fmt: skip
    asked: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    check_tune(trials=trials, timeout=timeout, folds=folds, test=test, heartbeat=heartbeat, jobs=jobs)
    if resume:
        _refuse_more(data, settings, {**asked, "model": model, "range": range_, "space": space, "only-ranges": only})
        if study is None:
            study = _latest()
        from forecast.tune import resume as go_on

        with _bar(study, storage) as tell:
            result = go_on(
                study, storage=storage, trials=trials, timeout=timeout, jobs=jobs, progress=tell
            )  # fmt: skip
    else:
        ranges, narrow = _ranges(space, range_, model)
        config = request.config_of(settings, core=model[0] if model and len(model) == 1 else None)
        if study is not None:
            from forecast.session import folder_of

            request.check_free(folder_of(study), "--study")
        with screen.bar("loading"):
            panel = request.data_request(data, config).load()
        if not json:
            show_data(screen.out(), panel)
        screen.show_doubts(panel.notes)
        from forecast.run import free_folder
        from forecast.tune import tune as go

        study = study or free_folder(panel, "study")
        with _bar(study, storage) as tell:
            result = go(
                panel, config, trials=DEFAULT_TRIALS if trials is None and timeout is None else trials,
                timeout=timeout, study=study, storage=storage, space=ranges, only=only or narrow,
                fixed=_named(settings, model), jobs=jobs, progress=tell, **asked,
            )  # fmt: skip
    if json:
        screen.emit(result.to_json())
    else:
        show(screen.out(), result)


@opt.takes(data=opt.DATA_FLAGS)
def worker(
    data: dict[str, Any],
    study: Annotated[
        Path, typer.Option("--study", help="Folder of the study, or its name in the storage.", rich_help_panel=STUDY)
    ],
    storage: Storage = None,
    timeout: Timeout = None,
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    from forecast import request
    from forecast.commands import screen
    from pipelines.where import plural

    panel = None
    if data["ticker"] or data["csv"]:
        from forecast.session import asked

        panel = request.data_request(data, asked(study.name, storage)).load()  # read as the study's was
    from forecast.tune import work_on

    with _bar(study, storage, "tune-worker") as tell:
        count = work_on(study, storage=storage, panel=panel, timeout=timeout, progress=tell)
    if json:
        screen.emit({"schema": 1, "study": str(study), "trials": count})
    else:
        screen.out().print(f"This worker finished {plural(count, 'trial')} of {study}.", markup=False)


def _ranges(space: Path | None, texts: list[str] | None, model: list[str] | None) -> tuple[dict[str, Any], bool]:
    """Ranges of the file, then of the flags; whether the file says nothing else is searched."""
    from forecast.space import parse_range, read_space

    values, only = read_space(space) if space is not None else ({}, False)
    for text in texts or []:
        name, value = parse_range(text)
        values[name] = value
    if model and len(model) > 1:
        values["model.core"] = model
    return values, only


def _named(settings: dict[str, Any], model: list[str] | None) -> set[str]:
    """Settings that were given, by flags or in a file: they stay as they are."""
    from forecast.config import read_config

    plain = {name for name, value in settings.items() if value is not None} - {"set_", "config", "preset"}
    named = plain | {text.partition("=")[0].strip() for text in settings["set_"] or []}
    if settings["config"] is not None:
        for section, inner in read_config(settings["config"]).items():
            named |= {f"{section}.{name}" for name in inner} if isinstance(inner, dict) else {section}
    return named | ({"core"} if model and len(model) == 1 else set())


def _refuse_more(data: dict[str, Any], settings: dict[str, Any], more: dict[str, Any]) -> None:
    """A study goes on with what it began with.

    Raises:
        UsageError: something else was given.
    """
    from pipelines.errors import UsageError

    standard = {name: default for name, (_, default) in {**opt.DATA_FLAGS, **opt.SETTING_FLAGS}.items()}
    given = [name for name, value in {**data, **settings}.items() if value != standard[name]]
    given += [name for name, value in more.items() if value]
    if given:
        raise UsageError(
            f"--{given[0].strip('_')} does not go with --resume: the study goes on with what it began with.",
            hint="Leave it out, or begin another study.",
        )


def _latest() -> Path:
    """The newest study under runs/."""
    from pipelines.errors import UsageError

    found = sorted(Path("runs").glob("*/request.json"), key=lambda file: file.stat().st_mtime)
    if not found:
        raise UsageError("there is no study under runs/.", hint="Name one by --study.")
    return found[-1].parent


@contextmanager
def _bar(study: Path, storage: str | None, command: str = "tune --resume") -> Iterator[Told]:
    """A bar of trials with the best so far on a terminal; how to go on after ctrl-C (``command``), everywhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    from forecast import study as studies
    from forecast.commands import screen

    console = screen.talk()
    columns = (TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[what]}"))
    seen: dict[str, Any] = {}
    try:
        with Bar(
            *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
        ) as bar:
            task = bar.add_task("trials", total=None, what="")

            def tell(study: Any, trial: Any) -> None:
                seen["study"] = study
                bar.update(
                    task, completed=studies.spent(study), total=study.user_attrs.get("budget"), what=best_text(study)
                )

            yield tell
    except (KeyboardInterrupt, SystemExit) as error:
        from forecast.session import folder_of
        from pipelines.where import plural

        folder = folder_of(study)
        if "study" not in seen and not (folder / "request.json").is_file():
            raise
        kept, best = "the study is", ""
        if "study" in seen:
            count = studies.spent(seen["study"])
            kept, best = f"{plural(count, 'trial')} {'is' if count == 1 else 'are'}", best_text(seen["study"])
        again = f"forecast {command} --study {screen.pasted(folder)}"
        again += "  --storage URL" if storage and "***" in studies.masked(storage) else ""
        raise screen.stopped(
            f"{kept} kept in {screen.pasted(folder)}{f' ({best})' if best else ''}.", again, error
        ) from None


def best_text(study: Any) -> str:
    from forecast.study_report import best_trials

    best = best_trials(study)
    return f"best {best[0].values[0]:.4f} x naive in trial {best[0].number}" if best else ""


def show(console: Console, result: Tuned) -> None:
    """Trials, the winner and what mattered, then the sealed span."""
    from rich.markup import escape

    from forecast.commands.screen import number, pasted
    from forecast.space import Space
    from forecast.study_page import score_of_start
    from forecast.study_report import changed
    from pipelines.where import plural

    found, counts = result.found, result.found["trials"]
    best, cut, space = found["best"], found["saved"], Space.from_json(found["space"])
    parts = [f"{counts['complete']} scored", f"{counts['pruned']} pruned", f"{counts['failed']} failed"]
    repeated = f", {counts['repeated']} begun again after a stop" if counts["repeated"] else ""
    whole = " (the whole grid)" if found["sampler"] == "grid" and counts["spent"] >= space.points else ""
    console.print(f"\n[bold]Study[/] {plural(counts['spent'], 'trial')}{whole}: {', '.join(parts)}{repeated}")
    if cut["trials"]:
        console.print(f"  [dim]pruning saved about {cut['seconds']:.0f} s[/]")
    for failure in found["failures"][:3]:
        console.print(f"  [dim]trial {failure['number']} failed: {escape(failure['reason'])}[/]")
    start = score_of_start(found)
    against = "" if start is None else f", the default configuration {number(start)}"
    console.print(
        f"\n[bold]Winner[/] trial {best['number']}: {found['metric']} {number(best['values'][0])} x naive{against} "
        f"(development span)"
    )
    show_config(console, changed(best["params"], space), space.base)
    shares = sorted(found["importances"].items(), key=lambda item: -item[1])[:4]
    if shares:
        console.print("  [dim]what mattered: " + ", ".join(f"{name} {share:.0%}" for name, share in shares) + "[/]")
    if len(found["objectives"]) > 1:
        console.print(f"\n[bold]Pareto front[/] (error x naive, {found['objectives'][1]})")
        for one in found["front"]:
            console.print(f"  trial {one['number']:>3}  {number(one['values'][0])}  {number(one['values'][1])}")
    sealed = result.sealed
    console.print(
        f"\n[bold]Sealed span[/]  {sealed['unit']} {number(sealed['tuned'])} tuned, {number(sealed['default'])} default"
    )
    console.print(f"[bold]Verdict[/]  {escape(sealed['text'])}")
    if result.result is not None:
        from forecast.commands.backtest import show_trade

        for name, card in (result.result.trade or {}).items():
            if name == "tuned":
                show_trade(console, name, card)
    console.print(f"\nStudy       {escape(str(result.folder))}")
    console.print(f"Report      {escape(str(result.folder / 'report.html'))}")
    console.print(f"Backtest    {escape(sealed['backtest'])}")
    console.print(f"Winner      {escape(sealed['winner'])}")
    console.print(f"Forecast    forecast predict {escape(pasted(sealed['winner']))}")


def show_config(console: Console, params: dict[str, Any], base: Config) -> None:
    from rich.markup import escape

    from forecast.space import setting

    if not params:
        console.print("  the default configuration")
    for name, value in params.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        console.print(f"  {name} = {escape(text)} [dim](default {escape(str(setting(base, name)))})[/]")
