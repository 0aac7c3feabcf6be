"""Freed memory stays for the next step: counted in page faults of a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, torch
from forecast.heap import keep_freed

torch.set_num_threads(1)
if {kept}:
    keep_freed()

def step():  # what a step does to the heap: many blocks, large and small, all of them freed at its end
    return [torch.ones(25_000 * times) for times in (1,) * 64 + (10,) * 8]

for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 50)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the limits are glibc's")
def test_steps_cause_no_page_faults() -> None:
    def faults(kept: bool) -> float:
        code = [sys.executable, "-c", STEPS.format(kept=kept)]
        return float(subprocess.run(code, capture_output=True, text=True, check=True).stdout)

    before = faults(kept=False)
    if before < 200:
        pytest.skip(f"{before:.0f} page faults a step here without it: another allocator, or large pages")
    assert faults(kept=True) < 20
