"""The search space: declared on the fields, narrowed by hand, conditional, and never of values that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from forecast.config import Config
from forecast.ranges import Choice, Range
from forecast.space import Space, declared, make_space, parse_range, read_space, setting
from pipelines.errors import UsageError


def suggested(space: Space, seed: int = 0, count: int = 20) -> list[tuple[dict[str, Any], Config]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    out = []
    for _ in range(count):
        trial = study.ask()
        config = space.suggest(trial)
        out.append((trial.params, config))
        study.tell(trial, 0.0)
    return out


def test_declared_ranges_hold_their_default_and_nothing_the_configuration_refuses() -> None:
    found = declared()
    assert {"model.core", "model.hidden", "train.lr", "data.k1"} <= set(found)
    for name, one in found.items():
        default = setting(Config(), name)
        inside = default in one.values if isinstance(one, Choice) else one.low <= default <= one.high
        assert inside, f"{name}: the default {default} is outside its range"
        for value in one.values if isinstance(one, Choice) else (one.low, one.high):
            Config().override(**{name: value})
        if one.when is not None:
            setting(Config(), one.when[0])


def test_the_start_is_the_default_configuration() -> None:
    space = make_space(Config())
    start = space.start()
    assert start is not None
    assert Config().override(**start) == Config()


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_setting_is_searched_only_where_it_means_something() -> None:
    space = make_space(Config())
    assert space.conditional
    for params, config in suggested(space):
        rnn = config.model.core == "rnn"
        assert ("train.clip" in params) == rnn
        assert ("model.layers" in params) == (not rnn)
        assert "data.lookback" not in params
    window = make_space(Config.make({"data": {"mode": "window"}}))
    assert "data.lookback" in window.ranges
    assert "data.k1" not in window.ranges


def test_what_was_chosen_is_not_searched() -> None:
    space = make_space(Config.make({"model": {"core": "gru"}}), fixed=["hidden"])
    assert not {"model.core", "model.hidden", "train.clip"} & set(space.ranges)
    assert all(config.model.core == "gru" and config.model.hidden == 64 for _, config in suggested(space))
    again = make_space(Config.make({"model": {"hidden": 32}}), {"hidden": {"low": 8, "high": 16}})
    assert again.ranges["model.hidden"] == Range(8, 16)


def test_a_value_fixes_a_setting_and_a_list_is_a_choice() -> None:
    space = make_space(Config(), {"model": {"hidden": 8, "core": ["gru", "lstm"]}, "seed": [0, 1]}, only=True)
    assert space.base.model.hidden == 8
    assert space.ranges == {"model.core": Choice(("gru", "lstm")), "train.seed": Choice((0, 1))}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hidden=16:64:log", ("hidden", {"low": 16, "high": 64, "log": True})),
        ("train.lr=0.001:0.1", ("train.lr", {"low": 0.001, "high": 0.1, "log": False})),
        ("core=lstm,gru", ("core", ["lstm", "gru"])),
        ("level=true,false", ("level", [True, False])),
        ("k1=auto,16", ("k1", ["auto", 16])),
    ],
)
def test_ranges_of_the_command_line(text: str, expected: tuple[str, Any]) -> None:
    assert parse_range(text) == expected


@pytest.mark.parametrize("text", ["hidden", "hidden=", "hidden=1:2:3", "hidden=a:b", "hidden=1:2:log:4"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--range got"):
        parse_range(text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hiden": [1, 2]}, "hiden"),
        ({"hidden": {"low": 64, "high": 16}}, "goes from 64 to 16"),
        ({"dropout": {"low": 0.0, "high": 0.5, "log": True}}, "goes from"),
        ({"lr": {"low": 0.001, "high": float("inf")}}, "both finite"),
        ({"dropout": {"low": 0.0, "high": 1.5}}, "dropout"),
        ({"core": ["lstm", "gruu"]}, "gruu"),
        ({"hidden": []}, "no choice"),
        ({"hidden": {"low": 1, "up": 3}}, "not understood"),
    ],
)
def test_ranges_nobody_can_use_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_space(Config(), given)


def test_nothing_to_search_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to search"):
        make_space(Config(), {}, only=True)


def test_a_toml_file(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text('only = true\n[model]\ncore = ["lstm", "gru"]\nhidden = {low = 8, high = 32, log = true}\n')
    values, only = read_space(file)
    space = make_space(Config(), values, only=only)
    assert space.ranges == {"model.core": Choice(("lstm", "gru")), "model.hidden": Range(8, 32, log=True)}


def test_json_and_back() -> None:
    space = make_space(Config.make({"data": {"horizon": 3}}), {"lr": {"low": 0.001, "high": 0.01, "log": True}})
    assert Space.from_json(space.to_json()) == space


def test_a_grid_has_ends_and_middles() -> None:
    given = {"hidden": {"low": 4, "high": 64, "log": True}, "core": ["lstm", "gru"], "dropout": {"low": 0, "high": 0.5}}
    points = make_space(Config(), given, only=True).grid()
    assert points["model.hidden"] == [4, 16, 64]
    assert points["model.core"] == ["lstm", "gru"]
    assert points["model.dropout"] == [0.0, 0.25, 0.5]
    wide = {"updates": list(range(1, 400)), "seed": list(range(300))}
    with pytest.raises(UsageError, match="grid has"):
        make_space(Config(), wide, only=True).grid()
