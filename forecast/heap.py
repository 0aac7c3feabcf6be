"""Memory that a step frees stays in the process for the next one."""

from __future__ import annotations

from functools import cache

import torch

LIMIT = 32 << 20  # the largest block that moves glibc's limits


@cache
def keep_freed() -> None:
    """Let the C library keep up to 64 MB of freed memory, once per process.

    glibc gives freed memory at the end of its heap back to the system above 128 kB, and blocks larger than that at
    once. Both limits rise when a large block is freed (mallopt(3), M_MMAP_THRESHOLD), but only by chance is one before
    training, and otherwise every step has its pages made anew: 500 to 5,500 page faults, up to a third of its
    time on a virtual machine. So a block of that size is asked for and freed; it is never written to, so it takes
    no memory. Where another allocator serves this does nothing.
    """
    torch.empty(LIMIT - (1 << 16), dtype=torch.uint8, device="cpu")
