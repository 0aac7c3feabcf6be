"""Space: what a study searches: the ranges declared in the configuration, narrowed, widened or replaced.

Assumptions, named: a setting that differs from its default was chosen by somebody and is not searched, unless a
range for it is given; a setting whose condition cannot hold is not searched either.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from forecast.config import Config, default_of, locate, read_config
from forecast.family import FAMILY
from forecast.ranges import Choice, Range, Value
from forecast.sections import DEFAULT_CORE
from pipelines.errors import UsageError

MOST_GRID = 100_000
GRID_POINTS = 3  # of a range of numbers


class Suggests(Protocol):
    """The part of an Optuna trial that is used here."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...
    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Space:
    """``ranges`` by dotted name, around ``base``, which says everything that is not searched."""

    base: Config
    ranges: dict[str, Range | Choice]

    @property
    def conditional(self) -> bool:
        """Whether some settings are searched only under certain values of others."""
        return any(one.when is not None and one.when[0] in self.ranges for one in self.ranges.values())

    def suggest(self, trial: Suggests) -> Config:
        """The configuration of a trial, asking it for one value after another; conditions come before what they rule.

        Raises:
            UsageError: the values do not go together.
        """
        chosen: dict[str, Any] = {}
        for name in sorted(self.ranges, key=lambda name: self.ranges[name].when is not None):
            one = self.ranges[name]
            if one.when is not None and chosen.get(one.when[0], setting(self.base, one.when[0])) not in one.when[1]:
                continue
            if isinstance(one, Choice):
                chosen[name] = trial.suggest_categorical(name, list(one.values))
            elif one.whole:
                chosen[name] = trial.suggest_int(name, int(one.low), int(one.high), log=one.log)
            else:
                chosen[name] = trial.suggest_float(name, float(one.low), float(one.high), log=one.log)
        return self.base.override(**chosen)

    def start(self) -> dict[str, Value] | None:
        """The values of ``base`` for everything searched, to be tried first; ``None`` where a range leaves one out."""
        values: dict[str, Value] = {}
        for name, one in self.ranges.items():
            value = setting(self.base, name)
            inside = value in one.values if isinstance(one, Choice) else _inside(one, value)
            if not inside:
                return None
            values[name] = value
        return values

    @property
    def points(self) -> int:
        """How many points :meth:`grid` has."""
        return math.prod(len(values) for values in self.grid().values())

    def grid(self) -> dict[str, list[Value]]:
        """Every value of a choice, and three of a range: its ends and its middle.

        Raises:
            UsageError: the grid has more points than anybody could try.
        """
        points = {name: _points(one) for name, one in self.ranges.items()}
        count = math.prod(len(values) for values in points.values())
        if count > MOST_GRID:
            raise UsageError(
                f"the grid has {count:,} points.",
                hint="Name a few settings with --range NAME=a,b,c and add --only-ranges, or use --sampler tpe.",
            )
        return points

    def to_json(self) -> dict[str, Any]:
        return {
            "base": self.base.to_json(),
            "ranges": {
                name: {"kind": "choice" if isinstance(one, Choice) else "range", **asdict(one)}
                for name, one in self.ranges.items()
            },
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Space:
        ranges: dict[str, Range | Choice] = {}
        for name, raw in document["ranges"].items():
            when = None if raw["when"] is None else (raw["when"][0], tuple(raw["when"][1]))
            if raw["kind"] == "choice":
                ranges[name] = Choice(tuple(raw["values"]), when)
            else:
                ranges[name] = Range(raw["low"], raw["high"], raw["log"], when)
        return cls(Config.make(document["base"]), ranges)


def declared(core: str = DEFAULT_CORE) -> dict[str, Range | Choice]:
    """The ranges in the annotations of the configuration, by dotted name, with those of ``core`` in their place."""
    found: dict[str, Range | Choice] = {}
    for section, info in Config.model_fields.items():
        for name, field in info.annotation.model_fields.items():  # type: ignore[union-attr]
            for mark in field.metadata:
                if isinstance(mark, Range | Choice):
                    found[f"{section}.{name}"] = mark
    own = FAMILY[core].ranges
    return {name: one for name, one in (found | dict(own)).items() if one is not None}


def make_space(
    base: Config, given: Mapping[str, Any] | None = None, *, fixed: Collection[str] = (), only: bool = False
) -> Space:
    """The space around ``base``.

    Args:
        given: by setting (``hidden`` or ``model.hidden``; nested tables are fine): a list of values, a table
            ``{low, high, log}``, a range, or a single value, which fixes the setting.
        fixed: settings that keep the value they have in ``base``.
        only: search nothing that is not in ``given``.

    Raises:
        UsageError: an unknown setting, a range that is none, a value the configuration refuses, nothing to search.
    """
    known = declared(base.model.core)
    held = {".".join(locate(name)) for name in fixed}
    ranges = {} if only else {
        name: one for name, one in known.items()
        if name not in held and setting(base, name) == default_of(name, base.model.core)
    }  # fmt: skip
    for name, value in _flat(given or {}).items():
        full = ".".join(locate(name))
        one = _range(full, value)
        if one is None:
            ranges.pop(full, None)
            base = base.override(**{full: value})
            continue
        if full in known and one.when is None:
            one = replace(one, when=known[full].when)
        _check(base, full, one)
        ranges[full] = one
    order = [*known, *ranges]
    ranges = {
        name: ranges[name] for name in dict.fromkeys(order) if name in ranges and _possible(ranges, base, ranges[name])
    }
    if not ranges:
        raise UsageError("there is nothing to search.", hint="Give a --range, or fix fewer settings.")
    return Space(base, ranges)


def read_space(file: Path) -> tuple[dict[str, Any], bool]:
    """Ranges from a TOML file, and whether it says ``only = true``."""
    values = read_config(file)
    only = values.pop("only", False)
    if not isinstance(only, bool):
        raise UsageError(f"{file}: only is {only!r}.", hint="Write only = true, or leave it out.")
    return values, only


def parse_range(text: str) -> tuple[str, Any]:
    """``("hidden", Range(16, 64, log=True))`` from ``hidden=16:64:log``; ``hidden=16,32`` is a choice.

    Raises:
        UsageError: neither form.
    """
    name, equals, value = text.partition("=")
    parts = value.split(":")
    try:
        if not equals or not value:
            raise ValueError
        if len(parts) == 1:
            return name.strip(), [_value(part) for part in value.split(",")]
        numbers = [_value(part) for part in parts[:2]]
        if len(parts) > 3 or (len(parts) == 3 and parts[2] != "log") or any(isinstance(n, str) for n in numbers):
            raise ValueError
        return name.strip(), {"low": numbers[0], "high": numbers[1], "log": len(parts) == 3}
    except ValueError:
        raise UsageError(
            f"--range got {text!r}.", hint="Write hidden=16:128, lr=0.001:0.01:log or core=lstm,gru."
        ) from None


def setting(config: Config, name: str) -> Any:
    """The value of the dotted ``name``."""
    section, field = name.split(".")
    return getattr(getattr(config, section), field)


def _value(text: str) -> Value:
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of sections taken apart; a table with ``low`` is a range, not a section."""
    flat: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, Mapping) and name in Config.model_fields:
            flat.update({f"{name}.{inner}": part for inner, part in value.items()})
        else:
            flat[name] = value
    return flat


def _range(name: str, value: Any) -> Range | Choice | None:
    """``None``: a single value, which is no range."""
    if isinstance(value, Range | Choice):
        return value
    if isinstance(value, list | tuple):
        if not value or not all(isinstance(one, bool | int | float | str) for one in value):
            raise UsageError(f"the values {value!r} of {name} are no choice.", hint="Give numbers or texts.")
        return Choice(tuple(dict.fromkeys(value)))
    if isinstance(value, Mapping):
        low, high, log = value.get("low"), value.get("high"), value.get("log", False)
        numbers = all(isinstance(n, int | float) and not isinstance(n, bool) for n in (low, high))
        if not numbers or set(value) - {"low", "high", "log"} or not isinstance(log, bool):
            raise UsageError(f"the range {dict(value)!r} of {name} is not understood.", hint="Give low, high and log.")
        return Range(low, high, log)  # type: ignore[arg-type]
    return None


def _check(base: Config, name: str, one: Range | Choice) -> None:
    if isinstance(one, Range) and (not -math.inf < one.low < one.high < math.inf or (one.log and one.low <= 0)):
        raise UsageError(
            f"the range of {name} goes from {one.low} to {one.high}.",
            hint="low is below high, both finite, and above zero for a logarithmic range.",
        )
    for value in one.values if isinstance(one, Choice) else (one.low, one.high):
        base.override(**{name: value})  # refused with the reason


def _possible(ranges: Mapping[str, Range | Choice], base: Config, one: Range | Choice) -> bool:
    if one.when is None:
        return True
    ruler = ranges.get(one.when[0])
    values = ruler.values if isinstance(ruler, Choice) else (setting(base, one.when[0]),)
    return bool(set(values) & set(one.when[1]))


def _inside(one: Range, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and one.low <= value <= one.high and (not one.whole or isinstance(value, int))


def _points(one: Range | Choice) -> list[Value]:
    if isinstance(one, Choice):
        return list(one.values)
    steps = [i / (GRID_POINTS - 1) for i in range(GRID_POINTS)]
    if one.log:
        values = [math.exp((1 - s) * math.log(one.low) + s * math.log(one.high)) for s in steps]
    else:
        values = [(1 - s) * one.low + s * one.high for s in steps]
    values = [min(max(value, one.low), one.high) for value in values]
    return [key for key, _ in itertools.groupby(round(value) if one.whole else value for value in values)]
