"""What a forecast needs to go on by itself from any row is what reading up to that row leaves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines.grid import Grid
from pipelines.onward import strides
from pipelines.panel import Panel
from pipelines.pipeline import Pipeline
from pipelines.spec import PipelineSpec

ROWS = np.array([3, 60, 61, 99, 100 + 60, 100 + 79])


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Two hourly series of 100 and 80 rows with gaps, and a covariate of every role."""
    rng = np.random.default_rng(0)
    rows, future = [], []
    for name, length in (("a", 100), ("b", 80)):
        stamps = pd.date_range("2020-01-01", periods=length + 6, freq="h")
        frame = pd.DataFrame({"unique_id": name, "ds": stamps, "y": rng.normal(5, 1, length + 6).cumsum()})
        frame = frame.assign(past=rng.normal(size=length + 6), known=rng.normal(size=length + 6), size=float(length))
        frame.loc[rng.choice(length - 1, 5, replace=False), ["y", "past"]] = np.nan
        rows.append(frame[:length])
        future.append(frame.loc[length:, ["unique_id", "ds", "known"]])
    roles = {"past": "past", "known": "future", "size": "static"}
    return Panel(pd.concat(rows, ignore_index=True), Grid("h"), roles, future=pd.concat(future, ignore_index=True))


@pytest.fixture(scope="module", params=[{"anchor": "mean"}, {"scale": "volatility", "features": "both", "place": True}])
def pipeline(request: pytest.FixtureRequest, panel: Panel) -> Pipeline:
    return Pipeline(PipelineSpec(horizon=1, context=4, **request.param)).fit(panel)


def parts(panel: Panel) -> list[Panel]:
    """The panel as it was at each of ``ROWS``: the series of the row alone, up to the row."""
    owner = np.searchsorted(panel.offsets, ROWS, side="right") - 1
    return [panel.select([panel.ids[i]]).up_to(panel.ds[row]) for i, row in zip(owner, ROWS, strict=True)]


def test_state_at_a_row_is_the_state_behind_it(pipeline: Pipeline, panel: Panel) -> None:
    found = pipeline.states_at(panel, ROWS)
    for i, part in enumerate(parts(panel)):
        alone = pipeline.transform(part).state
        assert set(alone) == set(found)
        for name, state in alone.items():
            np.testing.assert_allclose(found[name][i], state[0], rtol=1e-12, atol=1e-12, err_msg=name)


def test_what_is_known_ahead_is_the_same_from_inside_and_from_the_end(pipeline: Pipeline, panel: Panel) -> None:
    inside = pipeline.ahead_inside(panel, ROWS, 6)
    assert inside.future.shape == (len(ROWS), 6, 1) and inside.calendar.shape == (len(ROWS), 6, 4)
    for i, part in enumerate(parts(panel)):
        last = {part.ids[0]: pd.Timestamp(part.ds[-1])}
        behind = pipeline.ahead_behind(part.grid, last, part.future, 6)
        assert np.array_equal(inside.future[i], behind.future[0])
        assert np.array_equal(inside.calendar[i], behind.calendar[0])


def test_the_next_row_is_what_advance_makes_of_it(pipeline: Pipeline, panel: Panel) -> None:
    """The next row as if 7 had been observed, and the past covariate not."""
    owner = np.searchsorted(panel.offsets, ROWS, side="right") - 1
    states, ahead = pipeline.states_at(panel, ROWS), pipeline.ahead_inside(panel, ROWS, 2)
    static = pipeline.transform(panel).static[owner]
    scaler = pipeline.fitted.values["y"]
    z = (7 - scaler.center[owner]) / scaler.unit[owner]
    found = pipeline.onward(ahead, 0, z, static, states, owner)
    for i, part in enumerate(parts(panel)):
        assert part.future is not None
        row = part.future.sort_values("ds").head(1).assign(y=7.0, past=np.nan, size=part.frame["size"].iloc[0])
        fresh = Panel(row, panel.grid, panel.roles, future=part.future)
        one = pipeline.advance(fresh, pipeline.transform(part).state)
        np.testing.assert_allclose(found.x[found.offsets[i]], one.x[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.future[found.offsets[i] + 1], one.future[1])
        np.testing.assert_allclose(found.anchor[found.offsets[i]], one.anchor[0])
        np.testing.assert_allclose(found.scale[found.offsets[i]], one.scale[0])
        assert found.observed[found.offsets[i]] and np.array_equal(found.static[i], one.static[0])


def test_strides_go_from_origin_to_origin_side_by_side() -> None:
    series, position = np.array([0, 2, 0, 2, 1]), np.array([7, 1, 4, 4, 4])
    found = [(o.tolist(), f.tolist(), n) for o, f, n in strides(series, position)]
    assert found == [([1], [0], 2), ([2, 4], [0, 0], 5), ([0, 3], [5, 2], 3)]
    assert list(strides(np.zeros(0, np.int64), np.zeros(0, np.int64))) == []
