"""``forecast audit``: the leak check of a run folder; exit code 6 if any forecast moved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forecast.commands import options as opt

HELP = """Replace the future of sampled origins and see whether a forecast moves; exit code 6 if one does.

The future becomes noise, a random walk, missing values and nothing. At a few cutoffs the model is also fitted again
to rows whose future was replaced. RUN is a folder of `forecast fit` or `forecast backtest`.
"""
MOST = 20


def audit(
    run: Annotated[
        Path, typer.Argument(help="Run folder of `forecast fit` or `forecast backtest`.", show_default=False)
    ],
    origins: Annotated[int, typer.Option("--origins", min=1, help="Origins to sample.")] = 12,
    cutoffs: Annotated[int, typer.Option("--cutoffs", min=0, help="Cutoffs to refit at; 0 for no refits.")] = 3,
    seed: opt.Seed = None,
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    from rich.markup import escape

    from forecast import storage
    from forecast.audit import audit_run
    from forecast.commands import screen

    report = audit_run(run, origins=origins, cutoffs=cutoffs, seed=seed or 0)
    try:  # beside the manifest: `forecast report` shows it
        storage.dump_json(run / "audit.json", report.to_json())
    except OSError as error:
        screen.talk().print(f"audit.json was not written: {error.strerror}", markup=False)
    if json:
        screen.emit({"run": str(run), **report.to_json()})
    else:
        console = screen.out()
        console.print(escape(report.text))
        for finding in report.findings[1:MOST]:
            console.print(f"  {escape(finding.text)}")
        if len(report.findings) > MOST:
            console.print(f"  and {len(report.findings) - MOST:,} more; --json lists them all")
        for note in report.notes:
            console.print(f"  [dim]{escape(note)}[/]")
    if not report.clean:
        from pipelines.errors import LeakError

        raise typer.Exit(LeakError.exit_code)
