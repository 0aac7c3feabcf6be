"""Streams continue, reset and pad as promised, for any lengths; windows are what scikit-learn expects."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.batches import gather, resident, streams, windows
from pipelines.errors import TooShortError, UsageError
from pipelines.pipeline import Pipeline
from pipelines.plans import Chunk, Piece, _cut, _lay_out, pieces_of, plan_streams, plan_whole, plan_windows
from pipelines.prepared import Prepared
from pipelines.spec import PipelineSpec

lengths = st.lists(st.integers(1, 90), min_size=1, max_size=6)


def pieces(counts: list[int]) -> list[Piece]:
    starts = np.concatenate([[0], np.cumsum(counts)])
    return [Piece(i, int(starts[i]), int(starts[i] + n)) for i, n in enumerate(counts)]


def counted(chunks: list[Chunk]) -> list[int]:
    """Every row that carries loss, as often as it does."""
    rows: list[int] = []
    for chunk in chunks:
        for b in range(len(chunk.start)):
            rows += [int(chunk.start[b]) + k for k in range(int(chunk.counted_from[b]), int(chunk.valid[b]))]
    return rows


@given(lengths, st.integers(1, 5), st.integers(1, 16), st.integers(0, 12), st.integers(1, 16))
def test_every_row_is_an_origin_once(counts: list[int], lanes: int, k1: int, extra: int, first: int) -> None:
    chunks = plan_streams(pieces(counts), lanes, k1, k1 + extra, min(first, k1))
    assert sorted(counted(chunks)) == list(range(sum(counts)))


@given(lengths, st.integers(1, 5), st.integers(1, 16), st.integers(0, 12), st.integers(1, 16))
def test_a_lane_continues_or_resets(counts: list[int], lanes: int, k1: int, extra: int, first: int) -> None:
    spans = pieces(counts)
    borders = {piece.start for piece in spans}
    chunks = plan_streams(spans, lanes, k1, k1 + extra, min(first, k1))
    assert all(len(chunk.start) == lanes for chunk in chunks)
    for before, after in itertools.pairwise(chunks):
        if any(after is chunk for chunk in chunks[:-2]):
            assert (after.stride, after.size) == (k1, k1 + extra)
        if after is chunks[-1]:
            assert after.size == after.valid.max()
        if not after.reset[after.valid > 0].any():
            assert 2 * (after.size - extra) >= k1, "an update of a few rows"
        for b in range(lanes):
            if after.valid[b] and not after.reset[b]:
                assert after.start[b] == before.start[b] + before.stride
                assert after.series[b] == before.series[b]
                assert before.valid[b] == before.size, "a lane went on behind padding"
    for chunk in chunks:
        assert chunk.stride <= k1 and chunk.size <= chunk.stride + extra, "longer than was asked for"
        for b in range(lanes):
            span = spans[int(chunk.series[b])]
            if chunk.valid[b]:
                assert span.start <= chunk.start[b] and chunk.start[b] + chunk.valid[b] <= span.stop
                if chunk.start[b] in borders:
                    assert chunk.reset[b]


def test_lanes_are_balanced() -> None:
    chunks = plan_streams(pieces([1000]), 8, 16)
    # 1000 rows are 125 of each lane: seven chunks of 16 and one of 13
    assert [chunk.size for chunk in chunks] == [16] * 7 + [13]


@given(st.integers(1, 500), st.integers(1, 9), st.integers(1, 16), st.integers(0, 12), st.integers(1, 16))
def test_no_step_of_one_long_series_is_idle(rows: int, lanes: int, k1: int, extra: int, first: int) -> None:
    chunks = plan_streams(pieces([rows]), lanes, k1, k1 + extra, min(first, k1))
    read = sum(chunk.stride for chunk in chunks[:-1]) + chunks[-1].size
    assert read <= max(-(-rows // lanes), min(k1 + extra, rows))


@given(lengths, st.integers(1, 5), st.integers(1, 16), st.integers(0, 12), st.integers(1, 16))
def test_lanes_are_as_short_as_can_be(counts: list[int], lanes: int, k1: int, extra: int, first: int) -> None:
    first = min(first, k1)
    shortest = min(k1, max(counts))
    while any(lane >= lanes for lane, *_ in _cut(counts, shortest, k1, first, extra)):
        shortest += 1
    layout = _lay_out(pieces(counts), lanes, k1, first, extra)
    found = [[(p.series, p.stop - p.start) for p in lane] for lane in layout]
    allowed = []
    for steps in range(shortest, shortest + 3):  # the search stops within a step or 1 in 256
        best: list[list[tuple[int, int]]] = [[] for _ in range(max(lanes, sum(counts)))]
        for lane, which, _, rows in _cut(counts, steps, k1, first, extra):
            best[lane].append((which, rows))
        allowed.append(best[:lanes])
    assert found in allowed


def test_a_short_rest_shares_with_the_chunk_before() -> None:
    sizes = [[chunk.size for chunk in plan_streams(pieces([1000]), 8, 16, first=first)] for first in (14, 10)]
    assert sizes == [[14] + [16] * 6 + [15], [10] + [16] * 6 + [9, 10]]  # 125 steps a lane; 3 are not left alone
    assert [chunk.size for chunk in plan_streams(pieces([100]), 8, 16, first=10)] == [16]  # 13 steps are one chunk


def test_slack_moves_where_lanes_begin() -> None:
    tight, loose = (plan_streams(pieces([1000]), 8, 16, slack=slack)[0].start for slack in (0.0, 0.02))
    assert tight.tolist() == [125 * b for b in range(8)]
    assert loose.tolist() == [128 * b for b in range(8)]  # 127, and one more for an even number of eighths of k1


@given(st.integers(2000, 9000), st.floats(0.001, 0.02), st.integers(4, 8))
def test_chunks_have_few_lengths(rows: int, slack: float, first: int) -> None:
    chunks = plan_streams(pieces([rows]), 4, 64, first=8 * first, slack=slack)
    assert {chunk.size for chunk in chunks} <= {32, 36, 40, 44, 48, 56, 64}


def test_many_short_series_fill_every_lane() -> None:
    assert len(plan_streams(pieces([64] * 1000), 32, 32, 64)) == 32  # 32 series a lane, one chunk each


def test_a_lane_is_not_cut_below_a_chunk() -> None:
    (chunk, *more) = plan_streams(pieces([300]), 32, 64)
    assert not more and sorted(chunk.valid)[-5:] == [44, 64, 64, 64, 64]


def test_a_series_does_not_begin_where_its_first_chunk_has_no_room() -> None:
    chunks = plan_streams(pieces([36, 52]), 2, 16)  # behind 36 rows, 48 steps, two would fit on lanes of 50
    fresh = [int(chunk.start[b]) for chunk in chunks for b in range(2) if chunk.valid[b] and chunk.reset[b]]
    assert sorted(fresh) == [0, 36]


def test_phase_moves_the_borders() -> None:
    early, late = (plan_streams(pieces([100]), 1, 16, first=first) for first in (16, 5))
    assert [int(c.start[0]) for c in early[:3]] == [0, 16, 32]
    assert [int(c.start[0]) for c in late[:3]] == [0, 5, 21]
    assert late[0].size == 5


@pytest.mark.parametrize(
    "bad", [{"lanes": 0}, {"k1": 0}, {"k1": 8, "k2": 4}, {"first": 0}, {"first": 9}, {"slack": -1}]
)
def test_bad_plan_arguments(bad: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="expected lanes >= 1"):
        plan_streams(pieces([50]), **{"lanes": 2, "k1": 8, **bad})


def test_no_rows() -> None:
    with pytest.raises(TooShortError):
        plan_streams([], 2, 8)


@given(lengths, st.integers(1, 40))
def test_whole_histories_are_never_cut(counts: list[int], size: int) -> None:
    chunks = list(plan_whole(pieces(counts), size))
    assert sorted(counted(chunks)) == list(range(sum(counts)))
    assert chunks[0].reset.all() and not any(chunk.reset.any() for chunk in chunks[1:])
    assert {chunk.size for chunk in chunks} == {size}


@pytest.fixture
def prepared(sensors):
    pipeline = Pipeline(PipelineSpec(horizon=3, context=4)).fit(sensors, until="2020-01-09")
    return pipeline.transform(sensors)


def test_targets_are_the_next_values(prepared: Prepared) -> None:
    source = resident(prepared)
    for chunk in plan_streams(pieces_of(prepared), 3, 16):
        batch = gather(source, chunk)
        for b, k, h in zip(*np.nonzero(batch.mask), strict=True):
            row = int(chunk.start[b]) + k
            shift = prepared.context * (int(chunk.series[b]) + 1)
            assert batch.y[b, k, h] == prepared.level[row + shift + h + 1]
            assert batch.anchor[b, k] == np.float32(prepared.anchor[row])
            assert np.array_equal(
                batch.level[b, k : k + prepared.context + 1], prepared.level[row + shift - 4 : row + shift + 1]
            )


def test_masks_are_the_observed_targets_inside_the_span(prepared: Prepared) -> None:
    until = 150
    total = 0
    for batch in streams(prepared, lanes=2, k1=32, until=until):
        total += int(batch.mask.sum())
    expected = 0
    for offset in prepared.offsets:
        for t in range(until):
            if prepared.observed[offset + t]:
                expected += sum(bool(prepared.observed[offset + t + h]) for h in (1, 2, 3) if t + h < until)
    assert total == expected


def test_targets_and_skip_windows_are_views(prepared: Prepared) -> None:
    batch = next(iter(streams(prepared, lanes=2, k1=32)))
    assert batch.y.base is not None and np.shares_memory(batch.y, batch.level)
    assert batch.y.strides[1] == batch.y.strides[2] == 4
    assert batch.mask.shape == batch.y.shape == (2, 32, 3)


def test_windows_of_the_net_end_at_their_origin(prepared: Prepared) -> None:
    rng = np.random.default_rng(0)
    chunks = plan_windows(pieces_of(prepared, 0, 100), 20, 16, rng)
    assert len(counted(chunks)) == 3 * 81
    assert sorted(counted(chunks)) == sorted(int(o) + t for o in prepared.offsets for t in range(19, 100))
    batch = gather(resident(prepared), chunks[0])
    assert batch.x.shape[:2] == (16, 20) and batch.y.shape == (16, 1, 3)
    row = int(chunks[0].start[0]) + 19
    assert np.array_equal(batch.x[0, -1], prepared.x[row])
    assert batch.anchor[0, 0] == np.float32(prepared.anchor[row])


def test_windows_too_long(prepared: Prepared) -> None:
    with pytest.raises(TooShortError, match="--lookback"):
        plan_windows(pieces_of(prepared, 0, 10), 20, 16, None)


def test_windows_for_people(make_panel) -> None:
    panel = make_panel({"a": np.arange(10.0), "b": np.arange(100.0, 108.0)})
    w = windows(panel, lookback=4, horizon=2)
    assert w.X.shape == (5 + 3, 4, 1) and w.y.shape == (8, 2) and w.flat.shape == (8, 4)
    assert w.X[0, :, 0].tolist() == [0, 1, 2, 3] and w.y[0].tolist() == [4, 5]
    assert w.origins[0] == np.datetime64("2020-01-04") and w.unique_id[5] == "b"
    assert w.X[5, :, 0].tolist() == [100, 101, 102, 103]


def test_windows_leave_missing_values_out(make_panel) -> None:
    y = np.arange(12.0)
    y[6] = np.nan
    w = windows(make_panel(y), lookback=3, horizon=1)
    assert not np.isnan(w.X).any() and not np.isnan(w.y).any()
    assert pd.Timestamp("2020-01-07") not in set(pd.to_datetime(w.origins))


def test_windows_feed_a_regressor_in_three_lines(random_walk) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import cross_val_score

    from pipelines.folds import WalkForwardSplit

    w = windows(random_walk, lookback=10, horizon=2)
    model = Ridge().fit(w.flat, w.y)
    assert model.predict(w.flat).shape == w.y.shape
    split = WalkForwardSplit(3, test=50, horizon=2)
    assert len(cross_val_score(Ridge(), w.flat, w.y, cv=split, groups=w.origins)) == 3


@pytest.mark.parametrize(("lookback", "horizon"), [(0, 1), (5, 0)])
def test_bad_windows(random_walk, lookback: int, horizon: int) -> None:
    with pytest.raises(UsageError):
        windows(random_walk, lookback=lookback, horizon=horizon)


def test_windows_of_a_short_series(make_panel) -> None:
    with pytest.raises(TooShortError, match="need 11"):
        windows(make_panel(np.arange(8.0)), lookback=10, horizon=1)
