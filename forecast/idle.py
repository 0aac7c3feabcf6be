"""Settings that a configuration holds but nothing reads: `forecast fit` and `generate` say so, as do their functions.

They are not refused, because one configuration may serve several nets (a backtest, a study), which is also why those
commands say nothing. Functions warn of what was named in the call alone, not of what a :class:`Config` brought along.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from forecast.config import Config, default_of, locate
from forecast.family import FAMILY
from forecast.presets import preset_values
from forecast.sections import POINT_HEADS

_ESN = ("model.spectral_radius", "model.leak", "model.input_scale", "model.connections", "model.ridge")
_GRADIENT = (
    "train.epochs", "train.updates", "train.optimizer", "train.lr", "train.momentum", "train.weight_decay",
    "train.clip", "train.clip_value", "train.average", "train.patience", "train.keep", "train.activation",
    "train.slowness", "train.precision", "data.lanes", "data.k1", "data.k2",
)  # fmt: skip
_OF_FORECASTS = (
    "data.strategy", "data.scaler", "data.short", "data.long", "data.features", "data.volatility", "data.calendar",
    "data.clip", "data.lookback", "model.quantiles", "model.loss", "model.kernel", "model.segment", *_ESN,
)  # fmt: skip


def idle(config: Config, preset: str | None = None) -> list[str]:
    """One sentence per setting that is not at its default and does nothing, such as ``model.loss``.

    Args:
        config: as asked for, not settled: what settling fills in was typed by nobody.
        preset: what it came from, if anything; what that says itself was typed by nobody either.

    Example:
        >>> idle(Config.make({"model": {"loss": "mae"}}))
        ['model.loss=mae does nothing: only a point head reads it, and this one is quantile.']
    """
    core, member = config.model.core, FAMILY[config.model.core]
    head = config.model.head if config.model.head != "auto" else (member.heads or ("quantile",))[0]
    data = config.data
    windows = data.mode == "window" or config.model.bidirectional or not member.streams
    levels = data.features == "level" and data.scale == "one"
    unanchored = levels and data.anchor in ("last", "none")
    rules: list[tuple[tuple[str, ...], bool, str]] = [
        (("model.loss",), head in POINT_HEADS, f"only a point head reads it, and this one is {head}"),
        (("model.classes",), head == "categorical", f"only a categorical head reads it, and this one is {head}"),
        (("model.kernel",), core == "cnn", f"only cnn reads it, and this is {core}"),
        (("model.segment",), core == "segrnn", f"only segrnn reads it, and this is {core}"),
        (_ESN, core == "esn", f"only esn reads it, and this is {core}"),
        (_GRADIENT, member.gradient, f"the readout of {core} is solved for, not trained by gradients"),
        (("data.lookback",), windows, "only windows have a length, and this net reads a stream"),
        (("data.volatility",), data.features != "level", "it goes with relative features"),
        (("data.k1", "data.k2"), not windows, "only streams are cut into chunks, and this net reads windows"),
        (("data.short",), not unanchored, "no causal mean is taken: the net reads levels, and is anchored to no mean"),
        (("data.long",), not levels, "no long mean is taken: the net reads levels, in units of one"),
    ]
    if member.gradient:
        rules.append((("train.updates",), config.train.epochs == "auto", "train.epochs says how long training goes on"))
    else:  # which of its ridges is best is told by the loss
        rules.append(
            (("model.loss",), config.model.ridge is None, f"the readout of {core} has its ridge by model.ridge")
        )
    found = [text for names, read, why in rules if not read for text in _asked_in_vain(config, names, why)]
    said = {
        f"{section}.{name}={value}" for section, part in preset_values(preset).items() for name, value in part.items()
    }
    return [text for text in found if text.partition(" does nothing")[0] not in said]


def idle_in_generator(config: Config) -> list[str]:
    """The same for a generator of symbols, which has no span to stop by, no covariates and no units.

    Example:
        >>> idle_in_generator(Config.make({"train": {"keep": "last"}}))
        ['train.keep=last does nothing: a generator trains to the end and keeps the last weights.']
    """
    rules: dict[tuple[str, ...], str] = {
        ("train.keep", "train.patience"): "a generator trains to the end and keeps the last weights",
        ("data.stop", "data.holdout"): "a generator holds out the last tenth of its text",
        ("model.classes",): "a generator has as many classes as there are symbols",
        _OF_FORECASTS: "a generator reads symbols, not values",
    }
    if config.train.epochs != "auto":
        rules["train.updates",] = "train.epochs says how long training goes on"
    return [text for names, why in rules.items() for text in _asked_in_vain(config, names, why)]


def warn_idle(
    config: Config, given: Any, settings: Mapping[str, Any], find: Callable[[Config], list[str]] = idle
) -> None:
    """Warn the caller's caller (``UserWarning``) of settings that the call named and that do nothing.

    Args:
        config: what came of them.
        given: the call's configuration; nested values count as named, a :class:`Config` does not.
        settings: the call's settings by name.
        find: what does nothing in a configuration.
    """
    named = {".".join(locate(name)) for name in settings}
    for section, part in given.items() if isinstance(given, Mapping) else ():
        named |= {f"{section}.{field}" for field in part}
    for sentence in find(config):
        if sentence.partition("=")[0] in named:
            warnings.warn(sentence, UserWarning, stacklevel=3)


def _asked_in_vain(config: Config, names: tuple[str, ...], why: str) -> list[str]:
    values = config.to_json()
    out = []
    for name in names:
        section, field = name.split(".")
        if values[section][field] != default_of(name, config.model.core):
            out.append(f"{name}={values[section][field]} does nothing: {why}.")
    return out
