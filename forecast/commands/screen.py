"""What people see: results on stdout, talk and progress on stderr, one JSON document under ``--json``."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import ToolkitError

if TYPE_CHECKING:
    from rich.console import Console

    from forecast.train import Progress

PIPE_COLUMNS = 200
PATIENCE_SECONDS = 2.0  # no bar for anything shorter


def out() -> Console:
    from rich.console import Console

    # 80 columns, the width of a pipe, would cut numbers off
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, soft_wrap=True, width=None if known else PIPE_COLUMNS)


def talk() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def emit(document: dict[str, Any]) -> None:
    """The one JSON document of a command."""
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")


def pasted(path: Path | str | None) -> str:
    """``path`` as a shell takes it in a command that is pasted."""
    import shlex

    return shlex.quote(str(path))


class Stopped(SystemExit):
    """The end of a command by a signal, after somebody was told what is kept (``told``)."""

    told = True


def stopped(kept: str, again: str, cause: BaseException) -> Stopped:
    """What to raise after ctrl-C or SIGTERM, the ``cause``: says on stderr what is ``kept`` and how to go on."""
    sys.stderr.write(f"interrupted; {kept}\n  Go on:  {again}\n")
    return Stopped(cause.code if isinstance(cause, SystemExit) else 130)


def show_error(error: ToolkitError) -> None:
    """One sentence on what was wrong, one on what to do next."""
    from rich.markup import escape

    console = talk()
    console.print(f"[bold red]error:[/] {escape(error.message)}", soft_wrap=True)
    if error.hint:
        console.print(f"  [dim]{escape(error.hint)}[/]", soft_wrap=True)


def doubts(notes: Iterable[str]) -> list[str]:
    """Those of ``notes`` that are on values a fit should not be trusted with."""
    from pipelines.plausible import SAID

    return [note for note in notes if note.startswith(SAID)]


def show_doubts(notes: Iterable[str]) -> None:
    """The :func:`doubts` among ``notes``, on stderr."""
    show_warnings(doubts(notes))


def show_warnings(sentences: Iterable[str]) -> None:
    """What somebody should know before trusting the outcome, on stderr."""
    from rich.markup import escape

    console = talk()
    for sentence in sentences:
        console.print(f"[bold yellow]note:[/] {escape(sentence)}", soft_wrap=True)


class Bar:
    """A bar on stderr, terminals only, for whatever takes longer than two seconds.

    ``stage`` names what is going on; ``training`` adds epoch, loss and time left.
    """

    def __init__(self) -> None:
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Columns

        console = talk()
        self._bar = Columns(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[what]}"), TimeRemainingColumn(),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None, what="")
        self._timer: threading.Timer | None = None
        self._shown = False

    def stage(self, text: str) -> None:
        """Begin something else."""
        self._wait()
        self._bar.reset(self._task, total=None, description=text, what="")

    def training(self, progress: Progress) -> None:
        stop = "" if math.isnan(progress.stop_loss) else f", stop loss {progress.stop_loss:.4f}"
        what = f"epoch {progress.epoch}/{progress.epochs}, loss {progress.loss:.4f}{stop}"
        self._bar.update(self._task, completed=progress.updates, total=progress.total, what=what)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._shown:
            self._bar.stop()

    def _wait(self) -> None:
        if self._shown:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(PATIENCE_SECONDS, self._show)
        self._timer.daemon = True
        self._timer.start()

    def _show(self) -> None:
        self._shown = True
        self._bar.start()


@contextmanager
def bar(text: str) -> Iterator[Bar]:
    """A :class:`Bar` that begins with the stage ``text`` and is gone afterwards."""
    shown = Bar()
    shown.stage(text)
    try:
        yield shown
    finally:
        shown.close()


def number(value: float | None) -> str:
    """Six significant figures, with thousands separators; a dash for what is missing."""
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "infinite"
    size = abs(value)
    if size >= 1e9:
        return f"{value:.6g}"
    if size >= 1000:
        return f"{value:,.2f}"
    return f"{value:.4f}" if size >= 0.1 or size == 0 else f"{value:.3g}"


def whens(stamps: Any) -> list[str]:
    """A column of time stamps: days alone where all are midnight, seconds only where some stamp has them."""
    import pandas as pd

    index = pd.DatetimeIndex(stamps)
    if (index == index.normalize()).all():
        return [str(text) for text in index.strftime("%Y-%m-%d")]
    return [str(text) for text in index.strftime("%Y-%m-%d %H:%M" + (":%S" if index.second.any() else ""))]
