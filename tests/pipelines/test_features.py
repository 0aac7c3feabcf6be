"""A feature scanned at once, in pieces or step by step gives the same numbers, and reads nothing ahead."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.features import (
    Difference,
    Gap,
    Hold,
    Mean,
    Relative,
    Tail,
    Volatility,
    calendar,
    calendar_parts,
    returns,
)

SCANS = [Mean(24), Relative(7.5), Gap(5, 20), Difference(1), Difference(13), Volatility(20), Tail(9), Hold()]


def series(seed: int = 0, steps: int = 120) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((3, steps)).cumsum(axis=1)


@pytest.mark.parametrize("scan", SCANS, ids=repr)
@given(cuts=st.lists(st.integers(1, 119), max_size=6, unique=True))
def test_scan_equals_step_repeated(scan, cuts: list[int]) -> None:
    values = series()
    whole, end = scan.scan(values, scan.init(values[:, 0]))
    state, parts = scan.init(values[:, 0]), []
    for low, high in zip([0, *sorted(cuts)], [*sorted(cuts), 120], strict=True):
        part, state = scan.scan(values[:, low:high], state)
        parts.append(part)
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
    assert all(np.array_equal(end[name], state[name]) for name in end)


@pytest.mark.parametrize("scan", SCANS, ids=repr)
def test_state_is_plain_json(scan) -> None:
    values = series()
    _, state = scan.scan(values[:, :50], scan.init(values[:, 0]))
    back = {
        name: np.array(part) for name, part in json.loads(json.dumps({n: p.tolist() for n, p in state.items()})).items()
    }
    assert np.array_equal(scan.scan(values[:, 50:], back)[0], scan.scan(values[:, 50:], state)[0])


@pytest.mark.parametrize("scan", SCANS, ids=repr)
def test_the_future_changes_nothing(scan) -> None:
    values = series()
    other = values.copy()
    other[:, 60:] = 1e6
    before = scan.scan(values, scan.init(values[:, 0]))[0][:, :60]
    after = scan.scan(other, scan.init(other[:, 0]))[0][:, :60]
    assert np.array_equal(before, after)


def test_mean_by_hand() -> None:
    out, _ = Mean(4).scan(np.array([[8.0, 0.0, 4.0]]), Mean(4).init(np.array([8.0])))
    assert out.tolist() == [[8.0, 6.0, 5.5]]


def test_difference_by_hand() -> None:
    out, _ = Difference(2).scan(np.array([[1.0, 4.0, 9.0, 16.0]]), Difference(2).init(np.array([1.0])))
    assert out.tolist() == [[0.0, 3.0, 8.0, 12.0]]


def test_volatility_by_hand() -> None:
    values = np.array([[0.0, 2.0, 2.0]])
    out, _ = Volatility(2).scan(values, Volatility(2).init(values[:, 0], 1.0))
    assert out[0].tolist() == pytest.approx([0.5**0.5, (0.25 + 2.0) ** 0.5, (0.125 + 1.0) ** 0.5])


@given(st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=1, max_size=30), st.integers(1, 29))
def test_hold_carries_the_last_value(values: list[float | None], cut: int) -> None:
    column = np.array([[np.nan if v is None else v for v in values]])
    hold = Hold()
    held, elapsed, _ = hold.scan_elapsed(column, hold.init(column[:, 0]))
    last, since, expected = 0.0, 0, []
    for value in column[0]:
        last, since = (last, since + 1) if np.isnan(value) else (value, 0)
        expected.append((last, since))
    assert list(zip(held[0].tolist(), elapsed[0].tolist(), strict=True)) == expected
    if cut < len(values):
        _, _, state = hold.scan_elapsed(column[:, :cut], hold.init(column[:, 0]))
        again, waited, _ = hold.scan_elapsed(column[:, cut:], state)
        assert np.array_equal(again[0], held[0, cut:]) and np.array_equal(waited[0], elapsed[0, cut:])


def test_calendar_tells_the_time() -> None:
    stamps = pd.DatetimeIndex(["2024-01-01 06:00", "2024-01-03 18:00"])
    table = calendar(stamps, ("hour", "weekday"))
    assert table[0] == pytest.approx([1, 0, 0, 1], abs=1e-12)
    assert table[1, :2] == pytest.approx([-1, 0], abs=1e-12)
    assert calendar(stamps, ()).shape == (2, 0)


@pytest.mark.parametrize(
    ("step", "parts"),
    [(3600, ("hour", "weekday")), (86_400, ("weekday", "yearday")), (30 * 86_400, ("yearday",)), (365 * 86_400, ())],
)
def test_calendar_parts(step: float, parts: tuple[str, ...]) -> None:
    assert calendar_parts(step) == parts


def test_returns() -> None:
    out = returns(np.array([1.0, np.e, np.e**3]))
    assert np.isnan(out[0]) and out[1:].tolist() == pytest.approx([1, 2])
