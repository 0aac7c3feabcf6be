"""A configuration refuses what it does not know, and says what was meant."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from forecast.config import Config, locate, read_config
from forecast.presets import PRESETS, preset_values
from forecast.request import data_request, make_config
from forecast.spans import cut_spans, looks_like_prices, settle
from pipelines.errors import TooShortError, UsageError, ValueRangeError


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"modle": {}}, "Did you mean 'model'"),
        ({"model": {"hiden": 3}}, r"'model.hiden'. Did you mean 'model.hidden'"),
        ({"model": {"core": "ltsm"}}, "Did you mean 'lstm'"),
        ({"model": {"core": "LSTM"}}, "Did you mean 'lstm'"),
        ({"data": {"scaler": "Robst"}}, "Did you mean 'robust'.*It may be standard, robust, minmax or none"),
        ({"data": {"log": "x"}}, "It may be true, false or auto; `forecast settings data.log`"),
        ({"data": {"stop": 2}}, "It may be a number, above 0 and below 0.9; `forecast settings data.stop`"),
        ({"data": {"k1": 0}}, "data.k1 is 0.*`forecast settings` says"),
        ({"model": {"hidden": 0}}, "model.hidden"),
        ({"model": {"hidden": "many"}}, "many"),
        ({"model": {"dropout": 1.0}}, "model.dropout"),
        ({"model": {"quantiles": [0.9, 0.5]}}, "quantiles must rise"),
        ({"model": {"skip": -1}}, "skip"),
        ({"model": {"quantiles": [0.05, 0.25, 0.5, 0.9]}}, "mirror each other"),
        ({"model": {"quantiles": [0.0125, 0.5, 0.9875]}}, "whole per cents"),
        ({"data": {"k1": 8, "k2": 4}}, "data.k2 is 4"),
        ({"data": {"stop": 0.5, "holdout": 0.5}}, "below 0.9"),
        ({"data": {"lanes": 0}}, "data.lanes is 0"),
        ({"train": {"epochs": 0}}, "at least 1"),
        ({"train": {"lr": -1}}, "train.lr"),
    ],
)
def test_refusals(values: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Config.make(values)


def test_frozen() -> None:
    with pytest.raises(ValidationError):
        Config().model.hidden = 3  # type: ignore[misc]


def test_flat_and_dotted_names() -> None:
    config = Config.make(horizon=7, model__hidden=9, **{"train.lr": 0.1})
    assert (config.data.horizon, config.model.hidden, config.train.lr) == (7, 9, 0.1)
    assert config.override(horizon=8).data.horizon == 8
    with pytest.raises(UsageError, match="ambiguous"):
        locate("clip")
    with pytest.raises(UsageError, match=r"Did you mean 'data\.horizon'"):
        locate("horison")


def test_json_round_trip() -> None:
    config = Config.make(horizon=7, core="gru")
    assert Config.make(config.to_json()) == config


def test_files(tmp_path) -> None:
    (tmp_path / "a.toml").write_text("[data]\nhorizon = 3\n")
    (tmp_path / "a.json").write_text('{"data": {"horizon": 4}}')
    (tmp_path / "bad.toml").write_text("horizon = = 3")
    (tmp_path / "list.json").write_text("[1]")
    assert make_config(tmp_path / "a.toml", None, []).data.horizon == 3
    assert make_config(tmp_path / "a.json", "price", ["data.horizon=5"], core="gru").data.horizon == 5
    for name, says in (("bad.toml", "not readable"), ("list.json", "holds list"), ("none.toml", "no such")):
        with pytest.raises(UsageError, match=says):
            read_config(tmp_path / name)
    with pytest.raises(UsageError, match="expected name=value"):
        make_config(None, None, ["horizon"])


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"data.kind": "sensor", "data.log": True}, "If this is no price: leave out data.log"),
        ({"data.log": True}, "If this is no price: leave out data.log"),
        ({"data.kind": "price", "data.log": True}, "If this is no price: --preset sensor, without data.log"),
        ({"data.kind": "price"}, "If this is no price: --preset sensor."),
    ],
)
def test_what_makes_a_price_of_a_column_is_what_to_leave_out(tmp_path, settings: dict, hint: str) -> None:
    file = tmp_path / "wave.csv"
    file.write_text("ds,y\n" + "".join(f"2024-01-{day:02d},{day - 9}\n" for day in range(1, 29)))
    flags = dict.fromkeys(("ticker", "past", "future", "static", "source", "offline", "start", "end", "time", "id"))
    flags |= {"csv": file, "target": ["y"], "interval": "1d"}
    with pytest.raises(ValueRangeError, match="a price of -8") as caught:
        data_request(flags, Config.make(None, **settings)).load()
    assert hint in str(caught.value.hint)
    with pytest.raises(ValueRangeError, match="a price of -8") as caught:
        data_request(flags, Config.make(None, **settings), no_price="Another column.").load()
    assert "Another column." in str(caught.value.hint) and "--preset" not in str(caught.value.hint)


def test_every_preset_is_valid() -> None:
    for name in PRESETS:
        Config.make(preset_values(name))
        assert PRESETS[name].about
    with pytest.raises(UsageError, match="Did you mean 'sensor'"):
        preset_values("senser")


def test_settled_configurations_stay_settled(random_walk, sensors) -> None:
    for panel in (random_walk, sensors):
        once = settle(Config(), panel)
        assert "auto" not in str({k: v for k, v in once.to_json().items() if k != "train"})
        assert settle(once, panel) == once


def test_kinds(random_walk, sensors, make_panel) -> None:
    assert settle(Config(), sensors).data.kind == "sensor"
    import dataclasses

    named = dataclasses.replace(random_walk, target="Close")
    assert looks_like_prices(named)
    assert settle(Config(), named).data.log is True
    assert not looks_like_prices(make_panel([1.0, -1.0] * 20, target="close"))
    assert settle(Config.make(kind="price"), random_walk).data.scale == "volatility"


def test_the_anchor_follows_the_training_rows(make_panel) -> None:
    rng = np.random.default_rng(0)
    walk = rng.normal(size=1500).cumsum()
    assert settle(Config(), make_panel(walk, freq="h")).data.anchor == "last"
    assert settle(Config(), make_panel(rng.normal(size=1500), freq="h")).data.anchor == "mean"
    season = np.sin(np.arange(1500) * 2 * np.pi / 24) + rng.normal(0, 0.3, 1500)
    assert settle(Config.make(horizon=24), make_panel(season, freq="h")).data.anchor == "mean"
    # what comes after the training rows has no say
    late = np.where(np.arange(1500) < 1050, walk, rng.normal(size=1500) * 50)
    assert settle(Config(), make_panel(late, freq="h")).data.anchor == "last"


def test_spans_are_in_order_and_cover_everything(sensors) -> None:
    spans = cut_spans(sensors, Config())
    assert sensors.start < spans.train_end < spans.stop_end < spans.end == sensors.end
    assert (spans.train <= spans.stop).all()
    assert (spans.stop <= sensors.lengths).all()
    seen = np.unique(sensors.ds[~np.isnan(sensors.column("y"))])
    tail = round(0.15 * len(seen))
    assert spans.train_end == seen[len(seen) - 2 * tail - 1]
    assert spans.stop_end == seen[len(seen) - tail - 1]
    with pytest.raises(TooShortError, match="horizon 190 needs 572 or more"):
        cut_spans(sensors, Config.make(horizon=190))


def test_a_file_too_short_says_how_many_rows_would_do_and_names_a_horizon_only_if_one_would(make_panel) -> None:
    config = Config.make(horizon=5)
    with pytest.raises(
        TooShortError, match="29 time stamps with a value; horizon 5 needs 30 or more: 20 to train on, 5 "
    ) as few:
        cut_spans(make_panel(np.arange(29.0)), config)
    assert str(few.value.hint).startswith("Use --horizon 4 or shorter, or more history")
    assert cut_spans(make_panel(np.arange(30.0)), config).train.tolist() == [20]
    with pytest.raises(TooShortError, match="needs 30 or more") as none:
        cut_spans(make_panel(np.arange(2.0)), config)
    assert "--horizon" not in str(none.value.hint)


def test_a_night_without_values_is_no_span(make_panel) -> None:
    """Values in the first 100 and the last 20 of 1,000 rows: every span still has some."""
    y = np.full(1000, np.nan)
    y[:100], y[-20:] = 1.0, 2.0
    panel = make_panel(y)
    spans = cut_spans(panel, Config())
    for low, high in ((0, spans.train[0]), (spans.train[0], spans.stop[0]), (spans.stop[0], 1000)):
        assert (~np.isnan(y[low:high])).sum() >= 18


def test_more_lanes_than_rows_are_refused(random_walk) -> None:
    with pytest.raises(UsageError, match=r"data.lanes is 100,000, and there are \d[\d,]* training rows"):
        settle(Config.make(lanes=100_000), random_walk)
    with pytest.raises(UsageError, match=r"train.lr") as caught:
        make_config(None, None, ["train.lr=NaN"])
    assert "two values" not in str(caught.value)
    assert settle(Config.make(lanes=100_000, mode="window", lookback=20), random_walk).data.lanes == 100_000
