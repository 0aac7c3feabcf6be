"""Threads of torch are set for a while, and never beyond the processors."""

from __future__ import annotations

import os

import pytest
import torch

from forecast.threads import threads


@pytest.mark.parametrize(("asked", "there"), [(1, 1), (9999, os.cpu_count()), (None, None)])
def test_no_more_threads_than_processors_and_the_number_before_afterwards(asked: int | None, there: int | None) -> None:
    before = torch.get_num_threads()
    with threads(asked):
        assert torch.get_num_threads() == (there or before)
    assert torch.get_num_threads() == before
