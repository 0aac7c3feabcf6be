"""Configuration: frozen, validated, and strict about names.

``Config(data=..., model=..., train=...)``. Unknown keys are refused with "did you mean". A value of
``"auto"`` is settled from the data by :func:`forecast.spans.settle` before anything is built, and the
settled configuration is what a run saves. Dotted names (``model.hidden``) are what ``--set`` and error
messages use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError, model_validator

from forecast.allowed import allowed, choices
from forecast.family import FAMILY, NEUTRAL, only_in_backtest
from forecast.sections import CORES, DEFAULT_CORE, RECURRENT, UNLOCATED, DataConfig, ModelConfig, Section, TrainConfig
from pipelines.errors import UsageError, did_you_mean


class Config(Section):
    """Everything about a fit that is not data.

    Example:
        >>> Config.make({"data": {"horizon": 10}, "model": {"core": "gru"}}).model.core
        'gru'
    """

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="before")
    @classmethod
    def _own_defaults(cls, values: Any) -> Any:
        """What is not said takes the default of the core."""
        if not isinstance(values, dict):
            return values
        nested = {
            section: part.model_dump(exclude_unset=True) if isinstance(part, BaseModel) else part
            for section, part in values.items()
        }
        model = nested.get("model")
        core = model.get("core", DEFAULT_CORE) if isinstance(model, dict) else DEFAULT_CORE
        for name, value in _own(core).items():
            section, field = name.split(".")
            part = nested.get(section, {})
            if isinstance(part, dict):
                nested[section] = {field: value} | part
        return nested

    @model_validator(mode="after")
    def _fits_the_core(self) -> Self:
        """What does not go together, with the reason, before any data is read."""
        data, model, member = self.data, self.model, FAMILY[self.model.core]
        for name, why in member.lacks.items():
            if getattr(model, name) != NEUTRAL[name]:
                raise ValueError(f"{model.core} has no {name}: {why}; leave model.{name} at {NEUTRAL[name]}")
        if data.mode == "stream" and not member.streams:
            raise ValueError(
                f"{model.core} reads a window as a whole and carries nothing to the next row, so it cannot run as a "
                "stream; use --mode window"
            )
        if data.mode == "stream" and model.bidirectional:
            raise ValueError(
                f"a bidirectional {model.core} reads its window from both ends, so it cannot run as a stream: its "
                "features at a step would have seen later steps; use --mode window, or leave bidirectional out"
            )
        if data.mode == "window" and not member.windows:
            raise ValueError(
                f"{model.core} carries its exact state from the first row on; on windows it would begin anew at each, "
                "for more work and less memory; use --mode stream"
            )
        if model.core == "segrnn":
            self._fits_segments()
        if member.heads and model.head not in ("auto", *member.heads):
            raise ValueError(f"{model.core} has no {model.head} head; use model.head={' or '.join(member.heads)}")
        return self

    def _fits_segments(self) -> None:
        data, segment = self.data, self.model.segment
        if data.strategy == "recursive":
            raise ValueError("segrnn decodes all segments ahead at once; leave data.strategy at direct")
        if data.features != "level" or data.anchor != "last" or data.calendar:
            raise ValueError(
                "segrnn reads values and forecasts their change from the last one; leave data.features at level, "
                "data.anchor at last and data.calendar at false"
            )
        for name, length in (("lookback", data.lookback), ("horizon", data.horizon)):
            if segment is not None and length % segment:
                near = max(segment, round(length / segment) * segment)
                raise ValueError(
                    f"data.{name} is {length}, no multiple of model.segment = {segment}; use --{name} {near}, or leave "
                    "model.segment out"
                )

    @model_validator(mode="after")
    def _fits_the_head(self) -> Self:
        if self.data.strategy == "recursive" and self.model.head == "direction":
            raise ValueError(
                "a net that learns one step says how likely the next change is up, not the change over several; with "
                "model.head=direction use data.strategy=direct"
            )
        if self.model.decoder == "recurrent" and self.model.core not in RECURRENT:
            raise ValueError(f"model.decoder=recurrent goes with {', '.join(RECURRENT)}; use model.decoder=direct")
        if self.model.decoder == "recurrent" and self.data.strategy == "recursive":
            raise ValueError(
                "a recursive forecast needs one step of the net at a time, which leaves nothing to decode; use "
                "data.strategy=direct"
            )
        if self.model.head in UNLOCATED and self.model.skip not in ("auto", 0):
            raise ValueError(
                f"a {self.model.head} head has no location that a linear skip could add to; leave model.skip at 0"
            )
        return self

    @model_validator(mode="after")
    def _remedies(self) -> Self:
        model = self.model
        if model.init is not None and model.core not in RECURRENT:
            raise ValueError(f"model.init is for {', '.join(RECURRENT)}; {model.core} draws its weights its own way")
        if model.init == "chrono" and model.core not in ("lstm", "gru"):
            raise ValueError(f"model.init=chrono sets the gates of an lstm or gru; {model.core} has none")
        if self.train.slowness and (model.core not in RECURRENT or model.bidirectional):
            what = "a bidirectional net" if model.bidirectional else model.core
            raise ValueError(f"train.slowness needs features at every step in time order; {what} has none")
        if not FAMILY[model.core].gradient:
            for name in ("momentum", "clip_value", "activation", "slowness"):
                if getattr(self.train, name):
                    raise ValueError(f"train.{name} acts on gradients; {model.core} is trained by none")
        return self

    @classmethod
    def make(cls, values: Mapping[str, Any] | None = None, **dotted: Any) -> Config:
        """From nested ``values`` and flat names such as ``horizon=10`` or ``model__hidden=32``.

        A flat name without a section goes to the only section that has it.

        Raises:
            UsageError: an unknown key, an ambiguous one, or a value out of range; with the remedy.
        """
        nested: dict[str, Any] = json.loads(json.dumps(dict(values or {})))
        for name, value in dotted.items():
            section, field = locate(name)
            nested.setdefault(section, {})[field] = value
        try:
            return cls.model_validate(nested)
        except ValidationError as error:
            raise _friendly(error) from None

    @classmethod
    def of(cls, given: Config | Mapping[str, Any] | None) -> Config:
        """``given`` itself, one made from its nested values, or the default one.

        Raises:
            UsageError: neither of them, or values :meth:`make` refuses.
        """
        if given is None or isinstance(given, Config):
            return given or cls()
        if isinstance(given, Mapping):
            return cls.make(given)
        raise UsageError(
            f"config is {type(given).__name__}, expected a Config or nested values.",
            hint='Such as {"model": {"core": "gru"}}, or name the settings: core="gru".',
        )

    def override(self, **dotted: Any) -> Config:
        """A copy with flat or dotted names changed.

        With another core, what stood at the default of the old one takes that of the new one.
        """
        nested = self.to_json()
        changed = {".".join(locate(name)): value for name, value in dotted.items()}
        core = changed.get("model.core", self.model.core)
        if core != self.model.core:
            old = _own(self.model.core)
            for name in {**old, **_own(core)}:
                section, field = name.split(".")
                if nested[section][field] == old.get(name, default_of(name)):
                    del nested[section][field]
        return Config.make(nested, **dotted)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


def _own(core: Any) -> Mapping[str, Any]:
    """Defaults by dotted name of ``core`` where they are its own; none for a name that is no core."""
    return FAMILY[core].defaults if core in CORES else {}


def default_of(name: str, core: str = "") -> Any:
    """The default of the setting with the dotted ``name``, as JSON, that of ``core`` where it has its own."""
    section, field = name.split(".")
    info = Config.model_fields[section].annotation.model_fields[field]  # type: ignore[union-attr]
    return _own(core).get(name, list(info.default) if isinstance(info.default, tuple) else info.default)


def read_config(path: Path) -> dict[str, Any]:
    """Nested values from a TOML or JSON file.

    Raises:
        UsageError: the file is missing or not readable as either.
    """
    import tomllib

    try:
        text = path.read_text("utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such configuration file.", hint="Check --config.") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(
            f"{path}: not readable as a configuration ({error}).", hint="Write it as TOML, or as JSON named *.json."
        ) from error
    if not isinstance(values, dict):
        raise UsageError(f"{path}: holds {type(values).__name__}, a table was expected.", hint="See the README.")
    values.pop("schema", None)
    return values


def field_names() -> list[str]:
    """All settings as ``section.field``."""
    return [
        f"{section}.{name}"
        for section, info in Config.model_fields.items()
        for name in info.annotation.model_fields  # type: ignore[union-attr]
    ]


def locate(name: str) -> tuple[str, str]:
    """``(section, field)`` of a flat (``horizon``) or dotted (``model.hidden``, ``model__hidden``) name."""
    known = field_names()
    dotted = name.replace("__", ".")
    hits = [full for full in known if full == dotted or full.split(".")[1] == dotted]
    if len(hits) == 1:
        section, field = hits[0].split(".")
        return section, field
    if hits:
        raise UsageError(f"setting {name!r} is ambiguous.", hint=f"Say one of {', '.join(hits)}.")
    if name in _NO_SETTINGS:
        raise UsageError(f"there is no setting {name!r}.", hint=_NO_SETTINGS[name])
    near = _near(dotted, known) or did_you_mean(dotted, [full.split(".")[1] for full in known])
    raise UsageError(f"there is no setting {name!r}.{near}", hint=f"Settings: {', '.join(known)}.")


_NO_SETTINGS = {
    "model": 'A net is named by core="gru" (--model gru on the command line).',
    "preset": 'A preset\'s values are a configuration: forecast.presets.preset_values("price"), given as config= or to '
    "Config.make (--preset price on the command line).",
}


def _near(name: str, known: list[str]) -> str:
    """The setting that ``name`` may have meant: one of another section that is called the same comes first."""
    same = [full for full in field_names() if full.split(".")[1] == name.split(".")[-1]]
    return f" Did you mean {same[0]!r}?" if same else did_you_mean(name, known)


def _friendly(error: ValidationError) -> UsageError:
    """The first problem as one sentence."""
    problem = error.errors()[0]
    path = [str(part) for part in problem["loc"] if not str(part).startswith(("literal", "int", "constrained"))]
    name = ".".join(path[:2])
    if problem["type"] == "extra_forbidden":
        known = [full for full in field_names() if full.startswith(f"{path[0]}.")] or list(Config.model_fields)
        return UsageError(f"there is no setting {name!r}.{_near(name, known)}", hint=f"Settings: {', '.join(known)}.")
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if "model_" in problem["type"] or isinstance(problem["input"], dict) else f" (got {problem['input']!r})"
    section = Config.model_fields[path[0]].annotation.model_fields if path else {}  # type: ignore[union-attr]
    if len(path) < 2 or path[1] not in section:
        return UsageError(
            f"{name or 'configuration'}: {message}{got}.", hint="`forecast settings` says what each setting may be."
        )
    if name == "model.core" and (method := only_in_backtest(str(problem["input"]))):
        return UsageError(
            f"{method} is a method of backtest only, no net.",
            hint=f"Use `forecast backtest --model {method}`; nets are {', '.join(CORES)}.",
        )
    info = section[path[1]]
    near = "" if problem["type"] == "value_error" else did_you_mean(str(problem["input"]), choices(info))
    return UsageError(
        f"{name}: {message}{got}.{near}",
        hint=f"It may be {allowed(info)}; `forecast settings {name}` says what it means.",
    )
