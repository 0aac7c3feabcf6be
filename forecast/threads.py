"""How many threads torch works with, for a while."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Work with ``count`` torch threads, as many as there are now for ``None``; put back afterwards.

    No more than the machine has processors: threads beyond those wait for each other, and a run folder may come from
    a larger machine.
    """
    import torch  # here: who only asks for folds to be run elsewhere does not need it

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(min(count, os.cpu_count() or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)
