"""Settings that nothing reads are named, and only those."""

from __future__ import annotations

import pandas as pd
import pytest

import forecast
from forecast.config import Config
from forecast.family import FAMILY
from forecast.generate import Generator
from forecast.idle import idle, idle_in_generator
from forecast.presets import PRESETS, preset_values
from pipelines.errors import UsageError


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
        (
            {"model": {"core": "esn"}, "data": {"k1": 16, "lanes": 3}, "train": {"precision": "bf16-mixed"}},
            ["train.precision=bf16-mixed does nothing: the readout of esn", "data.lanes=3", "data.k1=16"],
        ),
        ({"model": {"core": "esn", "loss": "mae"}}, []),
        ({"model": {"core": "esn", "loss": "mae", "ridge": 0.1}}, ["model.loss=mae does nothing: the readout of esn"]),
        ({"train": {"updates": 9}}, []),
        ({"train": {"updates": 9, "epochs": 2}}, ["train.updates=9 does nothing: train.epochs"]),
        ({"model": {"core": "esn"}, "train": {"updates": 9, "epochs": 2}}, ["train.epochs=2", "train.updates=9"]),
        ({"model": {"core": "segrnn"}, "data": {"short": 9, "long": 20}}, ["data.short=9 does", "data.long=20 does"]),
        ({"model": {"core": "segrnn"}, "data": {"short": 9, "long": 20, "scale": "volatility"}}, []),
        ({"data": {"short": 9, "long": 20}}, []),
        (
            {"data": {"short": 9, "long": 20, "features": "level", "scale": "one", "anchor": "mean"}},
            ["data.long=20 does nothing"],
        ),
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
        ({"train": {"updates": 9, "epochs": 2}}, ["train.updates=9 does nothing: train.epochs"]),
        ({"model": {"classes": 7, "hidden": 8}}, ["model.classes=7 does nothing: a generator has as many"]),
        ({}, []),
    ],
)
def test_a_generator_says_what_it_does_not_read(settings: dict[str, dict[str, object]], said: list[str]) -> None:
    found = idle_in_generator(Config.make(settings))
    assert len(found) == len(said)
    assert all(sentence.startswith(start) for sentence, start in zip(found, said, strict=True))


QUICK = {"hidden": 4, "updates": 4, "threads": 1}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"loss": "mse"}, r"model\.loss=mse does nothing"),
        ({"lookback": 30}, r"data\.lookback=30 does nothing"),
        ({"classes": 7}, r"model\.classes=7 does nothing"),
        ({"model__kernel": 5}, r"model\.kernel=5 does nothing"),
    ],
)
def test_a_fit_warns_of_what_its_call_named(random_walk, settings: dict[str, object], said: str) -> None:
    with pytest.warns(UserWarning, match=said) as caught:
        forecast.fit(random_walk, **settings, **QUICK)
    assert [(one.filename, len(caught)) for one in caught] == [(__file__, 1)]


@pytest.mark.parametrize(
    ("base", "settings"),
    [
        ({"core": "esn"}, {"lanes": 3, "k1": 5, "k2": 9, "precision": "bf16-mixed"}),
        ({"core": "esn", "ridge": 0.01}, {"loss": "mae"}),
        ({"core": "gru", "epochs": 1}, {"updates": 7}),
        ({"core": "segrnn", "epochs": 1, "lookback": 12, "horizon": 3}, {"short": 9, "long": 20}),
        ({"core": "gru", "epochs": 1, "features": "level", "scale": "one", "anchor": "mean"}, {"long": 20}),
    ],
)
def test_what_is_said_to_do_nothing_does_nothing(
    random_walk, base: dict[str, object], settings: dict[str, object]
) -> None:
    plain = forecast.fit(random_walk, **base, hidden=4, threads=1).predict()
    with pytest.warns(UserWarning, match="does nothing") as caught:
        changed = forecast.fit(random_walk, **base, **settings, hidden=4, threads=1).predict()
    assert len(caught) == len(settings)
    pd.testing.assert_frame_equal(changed, plain, check_exact=True)


def test_nested_values_are_a_configuration_and_named_in_the_call(random_walk) -> None:
    with pytest.warns(UserWarning, match=r"model\.loss=mse does nothing"):
        model = forecast.fit(random_walk, {"model": {"loss": "mse", "core": "gru"}, "train": {"updates": 4}}, hidden=4)
    assert (model.config.model.core, model.config.model.hidden) == ("gru", 4)
    with pytest.raises(UsageError, match="Did you mean"):
        forecast.fit(random_walk, {"model": {"hiden": 4}})
    with pytest.raises(UsageError, match="config is str") as caught:
        forecast.fit(random_walk, "gru")
    assert 'core="gru"' in str(caught.value.hint)


def test_what_a_configuration_brings_along_is_not_warned_of(random_walk) -> None:
    """Presets, and one configuration for several nets; warnings are errors here."""
    forecast.fit(random_walk, Config.make({"model": {"loss": "mse"}}), **QUICK)


def test_a_diagnosis_and_a_generator_warn_too(random_walk) -> None:
    with pytest.warns(UserWarning, match=r"model\.loss=mse does nothing") as caught:
        forecast.diagnose(random_walk, loss="mse", **QUICK)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match=r"data\.holdout=0\.3 does nothing: a generator") as caught:
        Generator.fit("to be or not to be, " * 9, holdout=0.3, **QUICK)
    assert [one.filename for one in caught] == [__file__]
