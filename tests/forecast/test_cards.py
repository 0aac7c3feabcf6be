"""`forecast models`: every net and preset with its size, where it comes from and its whole configuration."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import forecast
from forecast import cards
from forecast.cli import app
from forecast.config import Config
from forecast.family import FAMILY
from forecast.presets import PRESETS
from pipelines.errors import UsageError


def call(*args: str) -> str:
    done = CliRunner().invoke(app, ["models", *args], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_list_has_every_member_and_preset() -> None:
    document = json.loads(call("--json"))
    assert [card["name"] for card in document["models"]] == list(FAMILY)
    assert [card["name"] for card in document["presets"]] == list(PRESETS)
    for card in document["models"]:
        assert card["weights"] > 100
        assert card["modes"] == list(FAMILY[card["name"]].modes)
        assert "settings" not in card
    text = call()
    for name in (*FAMILY, *PRESETS):
        assert f"\n{name} " in text
    assert "stream, window, both ends" in text


def test_weights_are_those_of_a_fit(make_panel) -> None:
    y = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, 300)))
    panel = make_panel(y, freq="B", meta={"kind": "price"})
    for core in ("lstm", "esn"):
        model = forecast.fit(panel, Config.make(core=core, epochs=1, threads=1))
        assert model.facts["parameters"] == cards.weights(Config.make(None, core=core))
    assert cards.weights(Config.make(None, hidden=32)) < cards.weights(Config())


def test_show_gives_a_configuration_that_can_be_used() -> None:
    (card,) = json.loads(call("show", "esn", "--json"))["cards"]
    assert Config.make(card["settings"]) == Config.make(None, core="esn")
    assert "Jaeger" in card["reference"]
    model, preset = json.loads(call("show", "segrnn", "--json"))["cards"]
    assert (model["kind"], preset["kind"]) == ("model", "preset")
    assert preset["settings"]["model"]["loss"] == "mae"
    text = call("show", "segrnn")
    assert "2308.11200" in text
    assert 'loss = "mae"  # of the preset' in text
    assert "# segment: left open" in text
    assert 'anchor = "last"' in text


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match=r"no model or preset 'gur'\. Did you mean 'gru'\?"):
        cards.find("gur")
