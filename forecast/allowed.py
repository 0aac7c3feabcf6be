"""Allowed: what a setting may be, in words, from the type and the bounds of its field."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def choices(info: FieldInfo) -> list[str]:
    """The names a setting is one of, as they are typed; none where numbers or any text will do as well.

    Example:
        >>> from forecast.sections import ModelConfig
        >>> choices(ModelConfig.model_fields["decoder"])
        ['direct', 'recurrent']
    """
    if info.examples:
        return [str(one) for one in info.examples]
    names, kinds = _parts(info.annotation)
    return names if not kinds - {type(None)} else []


def allowed(info: FieldInfo) -> str:
    """One phrase, such as ``auto, price or sensor``, ``a whole number, at least 1`` or ``true or false``.

    Example:
        >>> from forecast.sections import DataConfig
        >>> allowed(DataConfig.model_fields["stop"])
        'a number, above 0 and below 0.9'
    """
    if found := choices(info):
        return _either(found)
    names, kinds = _parts(info.annotation)
    said = list(names)
    if kinds & {int, float}:
        what = "a number" if float in kinds else "a whole number"
        bounds = [
            f"{word} {_number(getattr(part, name))}"
            for part in info.metadata
            for name, word in _BOUNDS.items()
            if getattr(part, name, None) is not None
        ]
        said.append(f"{what}, {' and '.join(bounds)}" if bounds else what)
    if tuple in kinds:
        said.append("a list of numbers")
    if str in kinds:
        said.append("a text")
    return _either(said)


def _parts(annotation: Any) -> tuple[list[str], set[Any]]:
    """What is named in an annotation, and the kinds of value beside it."""
    origin = get_origin(annotation)
    if origin is Literal:
        return [str(one) for one in get_args(annotation)], set()
    if origin in (Union, types.UnionType):
        names: list[str] = []
        kinds: set[Any] = set()
        for part in get_args(annotation):
            more, other = _parts(part)
            names += more
            kinds |= other
        return names, kinds
    if annotation is bool:
        return ["true", "false"], set()
    return [], {origin or annotation}


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _either(found: list[str]) -> str:
    return f"{', '.join(found[:-1])} or {found[-1]}" if found[1:] else found[0]
