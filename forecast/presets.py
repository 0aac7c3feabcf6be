"""Named configurations: a preset is a table of settings that a flag, a file or ``--set`` may still change."""

from __future__ import annotations

from typing import Any

from pipelines.errors import UsageError, did_you_mean

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "price": (
        "log returns from the last close in units of volatility, one unit per step ahead",
        {"data": {"kind": "price"}},
    ),
    "sensor": (
        "values relative to a causal mean of about a season, with a linear skip over two weeks",
        {"data": {"kind": "sensor"}},
    ),
}


def preset_values(name: str | None) -> dict[str, Any]:
    """Settings of the preset ``name``; none for ``None``.

    Raises:
        UsageError: there is no such preset.
    """
    if name is None:
        return {}
    if name not in PRESETS:
        raise UsageError(
            f"there is no preset {name!r}.{did_you_mean(name, list(PRESETS))}", hint=f"Presets: {', '.join(PRESETS)}."
        )
    return PRESETS[name][1]
