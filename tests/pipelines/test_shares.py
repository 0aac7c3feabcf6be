"""A split after the fit: the same market on another share count gives the same features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipelines.panel import Panel
from pipelines.pipeline import Pipeline
from pipelines.shares import splits_of, to_fit
from pipelines.sources.memory import Memory
from pipelines.spec import PipelineSpec
from pipelines.tickers import load
from tests.splits import DAYS, FIT, SPLIT, market


def panels(**options: object) -> tuple[Panel, Panel, Panel]:
    """The rows of the fit, all rows had there been no split, all rows behind it."""
    plain, split = Memory(), Memory()
    market(plain), market(split, ratio=20.0)
    return (
        load("A", source=split, past="all", end=f"{FIT:%Y-%m-%d}", **options),
        load("A", source=plain, past="all", **options),
        load("A", source=split, past="all", **options),
    )


@pytest.mark.parametrize(
    "spec",
    [
        PipelineSpec(horizon=3, log=True, context=10),
        PipelineSpec(horizon=3, features="both", anchor="none", scaler="minmax"),
        PipelineSpec(horizon=3, anchor="mean", scale="volatility", features="level"),
    ],
)
@pytest.mark.parametrize("target", ["close", "volume"])
def test_features_are_the_same_whatever_was_split_after_the_fit(spec: PipelineSpec, target: str) -> None:
    fit, plain, split = panels(target=target)
    pipeline = Pipeline(spec).fit(fit)
    one, other = pipeline.transform(plain), pipeline.transform(split)
    np.testing.assert_allclose(other.x, one.x, atol=2e-4)
    np.testing.assert_allclose(other.level, one.level, atol=2e-4)
    times = pipeline.to_fit(split)
    assert times is not None and times[0] == pytest.approx(20.0 if target == "close" else 0.05)
    assert pipeline.to_fit(plain) is None and pipeline.to_fit(fit) is None


def test_a_history_that_ends_before_a_split_of_the_fit_is_brought_forward() -> None:
    fit, _, split = panels()
    late = Pipeline(PipelineSpec(horizon=3, log=True)).fit(split)
    assert late.to_fit(split) is None and late.to_fit(split.up_to(FIT)) is None  # cut, its prices know the split
    times = late.to_fit(fit)
    assert times is not None and times[0] == pytest.approx(1 / 20)


def test_only_prices_that_were_adjusted_are_brought_back() -> None:
    fit, _, split = panels()
    assert splits_of(fit) == {} and splits_of(split) == {"A": [[f"{SPLIT:%Y-%m-%d}", 20.0]]}
    known, until = splits_of(fit), str(FIT)
    raw = replace(split, meta={**split.meta, "adjust": "none"})
    assert splits_of(raw) is None and to_fit(raw, "volume", known, until) is None
    assert splits_of(replace(split, meta={})) is None  # of a file, say
    assert to_fit(split, "sentiment", known, until) is None
    assert to_fit(split, "volume", None, until) is None  # nobody knows what the fit knew
    old = [[f"{DAYS[20]:%Y-%m-%d}", 2.0], *splits_of(split)["A"]]  # a split that the source had forgotten
    facts = [{"date": day, "kind": "split", "value": ratio} for day, ratio in old]
    corrected = replace(split, meta={**split.meta, "series": {"A": {"actions": facts}}})
    times = to_fit(corrected, "y", known, until)
    assert times is not None and times[0] == 20.0


def test_each_series_has_its_own_splits() -> None:
    source = Memory()
    market(source, ratio=20.0), market(source, "B"), market(source, "C", ratio=0.5)
    fit = load(["A", "B", "C"], source=source, past="volume", end=f"{FIT:%Y-%m-%d}")
    pipeline = Pipeline(PipelineSpec(horizon=3, log=True)).fit(fit)
    some = load(["C", "A"], source=source, past="volume")
    times = pipeline.to_fit(some)
    assert times is not None
    np.testing.assert_allclose(times, [0.5, 20.0])
    again = Pipeline.from_json(pipeline.to_json())
    np.testing.assert_array_equal(again.to_fit(some), times)


def test_pipelines_of_old_files_have_no_splits_and_take_those_of_their_panel() -> None:
    fit, _, split = panels()
    document = Pipeline(PipelineSpec(horizon=3, log=True)).fit(fit).to_json()
    del document["fitted"]["splits"]
    old = Pipeline.from_json(document)
    assert old.to_fit(split) is None
    times = old.knowing(fit).to_fit(split)
    assert times is not None and times[0] == pytest.approx(20.0)
    assert pd.Timestamp(old.fitted.until) == FIT
