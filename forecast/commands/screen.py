"""What people see: results on stdout, talk and progress on stderr, one JSON document under ``--json``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipelines.errors import ToolkitError

if TYPE_CHECKING:
    from rich.console import Console

    from forecast.train import Progress

PATIENCE_SECONDS = 2.0  # no bar for anything shorter


def out() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def talk() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def emit(document: dict[str, Any]) -> None:
    """The one JSON document of a command."""
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")


def show_error(error: ToolkitError, as_json: bool) -> None:
    """One sentence on what was wrong, one on what to do next; never a traceback."""
    from rich.markup import escape

    console = talk()
    console.print(f"[bold red]error:[/] {escape(error.message)}", soft_wrap=True)
    if error.hint:
        console.print(f"  [dim]{escape(error.hint)}[/]", soft_wrap=True)
    if as_json:
        kind = type(error).__name__
        emit(
            {
                "schema": 1,
                "error": {"kind": kind, "message": error.message, "hint": error.hint, "code": error.exit_code},
            }
        )


@contextmanager
def training_bar() -> Iterator[Callable[[Progress], None]]:
    """A bar with epoch, loss and time left, shown once training has taken over two seconds and on a terminal only."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = talk()
    bar = Bar(
        TextColumn("training"), BarColumn(), TextColumn("{task.fields[what]}"), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    task = bar.add_task("training", total=1, what="")
    started = False

    def tell(progress: Progress) -> None:
        nonlocal started
        if not started and progress.seconds > PATIENCE_SECONDS:
            bar.start()
            started = True
        stop = "" if math.isnan(progress.stop_loss) else f", stop loss {progress.stop_loss:.4f}"
        what = f"epoch {progress.epoch}/{progress.epochs}, loss {progress.loss:.4f}{stop}"
        bar.update(task, completed=progress.updates, total=progress.total, what=what)

    try:
        yield tell
    finally:
        if started:
            bar.stop()


def number(value: float | None) -> str:
    """Six significant figures, with thousands separators; a dash for what is missing."""
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "infinite"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.2f}"
    return f"{value:.4f}" if size >= 0.1 or size == 0 else f"{value:.3g}"


def when(stamp: Any) -> str:
    """A time stamp without a meaningless midnight."""
    text = str(stamp).replace("T", " ")
    return text.removesuffix(" 00:00:00")
