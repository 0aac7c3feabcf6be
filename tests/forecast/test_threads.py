"""Threads of torch are set for a while, and never beyond the processors."""

from __future__ import annotations

import pytest
import torch

from forecast.threads import at_most, threads


@pytest.mark.parametrize(("asked", "there"), [(1, 1), (9999, at_most(9999)), (None, None)])
def test_no_more_threads_than_processors_and_the_number_before_afterwards(asked: int | None, there: int | None) -> None:
    before = torch.get_num_threads()
    with threads(asked):
        assert torch.get_num_threads() == (there or before)
    assert torch.get_num_threads() == before


def test_only_processors_that_the_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {3, 5}, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert [at_most(count) for count in (1, 2, 999)] == [1, 2, 2]
    monkeypatch.delattr("os.sched_getaffinity")
    assert [at_most(count) for count in (1, 2, 999)] == [1, 2, 64]
