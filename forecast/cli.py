"""The ``forecast`` command: registers the commands, maps errors to exit codes. Nothing heavy loads here."""

from __future__ import annotations

import signal
import sys
import traceback
from types import FrameType
from typing import Annotated

import typer

from forecast.commands import (
    audit,
    backtest,
    data,
    diagnose,
    fit,
    generate,
    models,
    options,
    predict,
    report,
    settings,
    tune,
)
from pipelines.errors import ToolkitError

app = typer.Typer(
    name="forecast",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Recurrent networks for time series: forecasts that prove they are not yesterday's price.",
    epilog="Start with:  forecast fit --ticker ^GSPC --source sample",
)
app.command("fit", help=fit.HELP)(fit.fit)
app.command("predict", help=predict.HELP)(predict.predict)
app.command("backtest", help=backtest.HELP)(backtest.backtest)
app.command("tune", help=tune.HELP)(tune.tune)
app.command("tune-worker", help=tune.WORKER_HELP)(tune.worker)
app.command("audit", help=audit.HELP)(audit.audit)
app.command("diagnose", help=diagnose.HELP)(diagnose.diagnose)
app.command("generate", help=generate.HELP)(generate.generate)
app.command("report", help=report.HELP)(report.report)
app.add_typer(models.app, name="models", help="The nets and presets: what they are for, how large, where from.")
app.command("settings", help=settings.HELP)(settings.settings)
app.add_typer(data.app, name="data", help="Data sets, files and the cache.")
options.once(app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"forecast-toolkit {version('forecast-toolkit')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and exit with the codes of ``pipelines.errors``; 130 interrupted, 143 terminated."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, terminate)
    debug, as_json = "--debug" in sys.argv, "--json" in sys.argv
    try:
        app()
    except ToolkitError as error:
        _report(error, debug, as_json)
        sys.exit(error.exit_code)
    except SystemExit as stop:  # typer turns ctrl-C into exit(130) and wrong flags into exit(2)
        if stop.code == 130 and not getattr(stop, "told", False):
            sys.stderr.write("interrupted; what was not finished was not saved\n")
        if stop.code == 2 and as_json:
            _emit("UsageError", "the flags are wrong; stderr says how.", "See --help.", 2)
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last line of defence says so, and how to see more
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"error: unexpected {type(error).__name__}: {error}\n")
        if not debug:
            sys.stderr.write("  Run again with --debug for the traceback.\n")
        if as_json:
            _emit(type(error).__name__, str(error), "Run again with --debug for the traceback.", 1)
        sys.exit(1)


def _report(error: ToolkitError, debug: bool, as_json: bool) -> None:
    from forecast.commands import screen

    if debug:
        traceback.print_exc()
    screen.show_error(error)
    if as_json:
        _emit(type(error).__name__, error.message, error.hint, error.exit_code)


def _emit(kind: str, message: str, hint: str | None, code: int) -> None:
    from forecast.commands import screen

    screen.emit({"schema": 1, "error": {"kind": kind, "message": message, "hint": hint, "code": code}})
