"""Settings: what each is called, its default, what it may be and what it means."""

from __future__ import annotations

from typing import Any

from forecast.allowed import allowed
from forecast.config import Config, default_of, field_names, locate
from forecast.family import FAMILY
from pipelines.errors import UsageError, did_you_mean


def find(name: str | None = None) -> list[dict[str, Any]]:
    """All settings, those of a section, or those called ``name`` with or without their section.

    Each is ``{"name", "default", "defaults", "allowed", "about"}``; ``defaults`` by net where it is another one.

    Raises:
        UsageError: there is no setting and no section of that name.

    Example:
        >>> find("clip")[0]["name"], len(find("clip"))
        ('data.clip', 2)
    """
    known = field_names()
    if name is None:
        names = known
    elif name in Config.model_fields:
        names = [full for full in known if full.startswith(f"{name}.")]
    else:
        names = [full for full in known if full.split(".")[1] == name] or [_located(name)]
    return [_card(full) for full in names]


def _located(name: str) -> str:
    sections = list(Config.model_fields)
    if "." not in name and (near := did_you_mean(name, sections)):
        raise UsageError(f"there is no section {name!r}.{near}", hint=f"Sections: {', '.join(sections)}.")
    try:
        return ".".join(locate(name))
    except UsageError as error:
        error.hint = f"Sections: {', '.join(sections)}. {error.hint}"
        raise


def _card(name: str) -> dict[str, Any]:
    section, field = name.split(".")
    info = Config.model_fields[section].annotation.model_fields[field]  # type: ignore[union-attr]
    others = {core: member.defaults[name] for core, member in FAMILY.items() if name in member.defaults}
    return {
        "name": name, "default": default_of(name), "defaults": others, "allowed": allowed(info),
        "about": info.description,
    }  # fmt: skip
