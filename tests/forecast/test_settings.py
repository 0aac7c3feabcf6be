"""`forecast settings`: every setting with its default, what it may be and what it means."""

from __future__ import annotations

import doctest
import json

import pytest
from typer.testing import CliRunner

import forecast.allowed
import forecast.settings
from forecast.cli import app
from forecast.config import Config, default_of, field_names
from forecast.family import FAMILY
from forecast.settings import find
from pipelines.errors import UsageError


def call(*args: str, columns: int = 200) -> str:
    done = CliRunner().invoke(app, ["settings", *args], env={"COLUMNS": str(columns)})
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_setting_is_told_in_full() -> None:
    cards = json.loads(call("--json"))["settings"]
    assert [card["name"] for card in cards] == field_names()
    for card in cards:
        assert card["about"] and card["allowed"], card["name"]
        assert card["default"] == default_of(card["name"])
    text = call()
    assert all(f"\n{name} " in text for name in field_names())


def test_words_are_wrapped_and_not_cut() -> None:
    lines = call("model.decoder", columns=90).splitlines()
    assert max(map(len, lines)) <= 90
    assert "ahead." in lines[-1]


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("model.core", "rnn, rnn-relu, lstm, gru, esn, mlp, cnn or segrnn"),
        ("model.hidden", "a whole number, at least 1 and at most 8,192"),
        ("data.stop", "a number, above 0 and below 0.9"),
        ("data.calendar", "true, false or shortest"),
        ("data.lanes", "auto or a whole number"),
        ("model.ridge", "a number, above 0"),
        ("model.init", "orthogonal, identity, chrono or torch"),
        ("model.quantiles", "a list of numbers"),
    ],
)
def test_what_a_setting_may_be(name: str, allowed: str) -> None:
    (card,) = find(name)
    assert card["allowed"] == allowed


def test_names_sections_and_nets_with_defaults_of_their_own() -> None:
    assert [card["name"] for card in find("clip")] == ["data.clip", "train.clip"]
    assert {card["name"].split(".")[0] for card in find("train")} == {"train"}
    (card,) = find("hidden")
    assert card["defaults"] == {core: FAMILY[core].defaults["model.hidden"] for core in ("esn", "segrnn")}
    assert "64; esn: 300; segrnn: 128" in call("hidden")
    with pytest.raises(UsageError, match="Did you mean 'hidden'"):
        find("hiden")


def test_what_is_said_to_be_allowed_is() -> None:
    for card in find():
        Config.make(None, **{card["name"]: card["default"]})


@pytest.mark.parametrize("module", [forecast.allowed, forecast.settings])
def test_the_examples_in_the_docstrings(module) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0
