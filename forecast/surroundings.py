"""What surrounds training: generators, signals and the noise of other libraries, all put back afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator

import torch

_ALONE = threading.RLock()  # torch's generators belong to the process: threads that train at once would share them
if hasattr(os, "register_at_fork"):  # a child has one thread and generators of its own: nobody in it trains yet
    os.register_at_fork(after_in_child=lambda: globals().update(_ALONE=threading.RLock()))


def cuda_devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's generators seeded with ``seed``, and put them back afterwards.

    One thread at a time: others wait, so equal seeds give equal nets however many threads train. What is inside may
    seed again (a fit inside a callback of another).
    """
    with _ALONE, torch.random.fork_rng(devices=cuda_devices()):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's banners and tips off the screen; its errors still come through."""
    names = ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric|torch\.jit")
        warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Lightning answers ctrl-C by ignoring further ones and calling exit(1); callers want KeyboardInterrupt."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit as error:
        if error.code == 1:
            raise KeyboardInterrupt from None
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
