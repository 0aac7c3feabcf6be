"""`forecast settings`: every setting with its default, what it may be and what it means."""

from __future__ import annotations

import doctest
import json
import re
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError
from typer.testing import CliRunner

import forecast.allowed
import forecast.settings
from forecast import allowed
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
    """Every name and bound that the words give is taken by its field, and what lies beyond is not."""
    checked = 0
    for card in find():
        section, field = card["name"].split(".")
        info = Config.model_fields[section].annotation.model_fields[field]
        taken = TypeAdapter(Annotated[info.annotation, "bounds", *info.metadata]).validate_python
        taken(card["default"])
        bound = re.search(r"number(?:, (.*))?$", card["allowed"])
        for word, text in re.findall(r"(at least|above|at most|below) ([\d.,e+-]*\d)", bound[1] or "" if bound else ""):
            whole = "whole" in card["allowed"]
            edge = int(text.replace(",", "")) if whole else float(text)
            step = 1 if whole else 1e-9 * max(1.0, abs(edge))
            inward = step if word in ("at least", "above") else -step
            beyond = edge - inward if word in ("at least", "at most") else edge
            taken(edge + inward)
            with pytest.raises(ValidationError):
                taken(beyond)
            checked += 1
        for name in allowed.choices(info):
            taken({"true": True, "false": False}.get(name, name))
            checked += 1
        if (
            bound is None
            and not info.examples
            and not {"a text", "a list of numbers"} & set(card["allowed"].split(" or "))
        ):
            with pytest.raises(ValidationError):
                taken("no such name")
    assert checked > 80


@pytest.mark.parametrize("name", ["Data", "trian"])
def test_a_section_that_is_nearly_named(name: str) -> None:
    with pytest.raises(UsageError, match=r"no section .* Did you mean") as caught:
        find(name)
    assert "data, model, train" in str(caught.value.hint)
    with pytest.raises(UsageError, match=r"no setting 'train\.lrr'\. Did you mean 'train\.lr'") as caught:
        find("train.lrr")
    assert "Sections: data, model, train." in str(caught.value.hint)


@pytest.mark.parametrize("module", [forecast.allowed, forecast.settings])
def test_the_examples_in_the_docstrings(module) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0
