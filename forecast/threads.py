"""How many threads torch works with, for a while."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


def at_most(count: int) -> int:
    """``count``, or as many processors as this process may use, if these are fewer."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, there)


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Work with ``count`` torch threads, as many as there are now for ``None``; put back afterwards.

    No more than this process may use of the machine's processors: threads beyond those wait for each other, and a run
    folder may come from a larger machine.
    """
    import torch  # here: who only asks for folds to be run elsewhere does not need it

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(at_most(count))
    try:
        yield
    finally:
        torch.set_num_threads(before)
