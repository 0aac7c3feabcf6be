"""Large imports: a little faster, and not to be interrupted half-way."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def importing() -> Iterator[None]:
    """Import with Python's garbage collector off, and heed ctrl-C when it is done.

    Imports make hundreds of thousands of objects that stay; looking through them again and again takes an eighth of the
    time that torch and Lightning need. They are frozen, so that later collections pass over them too. An interrupt
    within an import may be swallowed by a library's fallback, or end Python without a word of ours; it waits here for
    the end of the imports, seconds at most.
    """
    pressed: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        pressed.append(number)

    usual = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    mine = usual is signal.default_int_handler
    was_on = gc.isenabled()
    gc.disable()
    if mine:
        signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGINT, usual)
        gc.freeze()
        if was_on:
            gc.enable()
    if pressed:
        raise KeyboardInterrupt
