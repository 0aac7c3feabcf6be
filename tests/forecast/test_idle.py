"""Settings that nothing reads are named, and only those."""

from __future__ import annotations

import pytest

from forecast.config import Config
from forecast.family import FAMILY
from forecast.idle import idle, idle_in_generator
from forecast.presets import PRESETS, preset_values


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": {"loss": "mae"}}, ["model.loss=mae does nothing: only a point head"]),
        ({"model": {"loss": "mae", "head": "point"}}, []),
        ({"model": {"core": "esn"}, "train": {"lr": 0.1}}, ["train.lr=0.1 does nothing: the readout of esn"]),
        ({"model": {"leak": 0.7}}, ["model.leak=0.7 does nothing: only esn"]),
        ({"model": {"core": "esn", "leak": 0.7}}, []),
        ({"model": {"kernel": 5, "segment": 4}}, ["model.kernel=5", "model.segment=4"]),
        ({"data": {"lookback": 30}}, ["data.lookback=30 does nothing: only windows"]),
        ({"data": {"lookback": 30, "mode": "window"}}, []),
        ({"data": {"lookback": 30}, "model": {"core": "mlp"}}, []),
        ({"data": {"mode": "window", "k1": 16}}, ["data.k1=16 does nothing: only streams"]),
        ({"data": {"k1": 16, "k2": 32}}, []),
    ],
)
def test_what_nothing_reads_is_said(settings: dict[str, dict[str, object]], said: list[str]) -> None:
    found = idle(Config.make(settings))
    assert len(found) == len(said)
    assert all(sentence.startswith(start) for sentence, start in zip(found, said, strict=True))


@pytest.mark.parametrize("core", FAMILY)
def test_defaults_are_not_complained_about(core: str) -> None:
    assert idle(Config.make({"model": {"core": core}})) == []


@pytest.mark.parametrize("name", PRESETS)
def test_presets_hold_nothing_idle(name: str) -> None:
    assert idle(Config.make(preset_values(name))) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"train": {"patience": 3, "lr": 0.01}}, ["train.patience=3 does nothing: a generator trains to the end"]),
        ({"data": {"holdout": 0.3, "k1": 16}}, ["data.holdout=0.3 does nothing: a generator holds out"]),
        ({"model": {"classes": 7, "hidden": 8}}, ["model.classes=7 does nothing: a generator has as many"]),
        ({}, []),
    ],
)
def test_a_generator_says_what_it_does_not_read(settings: dict[str, dict[str, object]], said: list[str]) -> None:
    found = idle_in_generator(Config.make(settings))
    assert len(found) == len(said)
    assert all(sentence.startswith(start) for sentence, start in zip(found, said, strict=True))
