"""``forecast report``: write the page, the Markdown and the pictures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forecast.commands import options as opt

HELP = """Write report.html, report.md and PNGs into the folder of a fit or a backtest; the page of a study."""


def report(
    run: Annotated[
        Path,
        typer.Argument(help="Folder of `forecast fit`, `backtest` or `tune`.", show_default=False),
    ],
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    from forecast import report as pages
    from forecast.commands import screen

    if (run / "request.json").is_file():  # of forecast tune
        from forecast import study_page

        files = study_page.report(run)
    else:
        files = pages.report(run)
    if json:
        screen.emit({"schema": 1, "run": str(run), "report": str(files[0]), "files": [file.name for file in files]})
        return
    from rich.markup import escape

    console = screen.out()
    console.print(f"Report      {escape(str(files[0]))}")
    for file in files[1:]:
        console.print(f"            [dim]{escape(str(file))}[/]")
