"""One process at a time: the file lock of a cache entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Busy(Exception):
    """Another process holds the lock. Internal: the cache turns it into an error for people."""


class Lock:
    """A file lock that says :class:`Busy` when the time is up; without a writable folder there is none."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path, self.seconds = path, seconds
        self.held: Any = None

    def __enter__(self) -> None:
        import filelock

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.held = filelock.FileLock(self.path, timeout=self.seconds)
            self.held.acquire(poll_interval=0.02)
        except filelock.Timeout as error:
            self.held = None
            raise Busy(str(self.path)) from error
        except OSError:
            self.held = None  # read-only folder: fetch without a lock, write() says that nothing was kept

    def __exit__(self, *exc: object) -> None:
        if self.held is not None:
            self.held.release()
