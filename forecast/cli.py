"""The ``forecast`` command: registers the commands, maps errors to exit codes. Nothing heavy loads here."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from forecast.commands import audit, backtest, data, fit, predict, report, tune

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
app.command("report", help=report.HELP)(report.report)
app.add_typer(data.app, name="data", help="Data sets, files and the cache.")


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
    from pipelines.errors import ToolkitError

    def terminate(number: int, frame: FrameType | None) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, terminate)
    debug, as_json = "--debug" in sys.argv, "--json" in sys.argv
    try:
        app()
    except ToolkitError as error:
        if debug:
            raise
        from forecast.commands import screen

        screen.show_error(error, as_json)
        sys.exit(error.exit_code)
    except SystemExit as stop:  # typer turns ctrl-C into exit(130)
        if stop.code == 130:
            sys.stderr.write("interrupted; what was not finished was not saved\n")
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        sys.stderr.write(
            f"error: unexpected {type(error).__name__}: {error}\n  Run again with --debug for the traceback.\n"
        )
        sys.exit(1)
