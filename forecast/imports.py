"""Large imports, a little faster."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_off() -> Iterator[None]:
    """Import with Python's garbage collector off, and on again afterwards if it was.

    Imports make hundreds of thousands of objects that stay; looking through them again and again takes an eighth of the
    time that torch and Lightning need. They are frozen, so that later collections pass over them too.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
