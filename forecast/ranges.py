"""Ranges: what a tuning study may try, written beside the type of the setting it belongs to.

``hidden: Annotated[int, Range(16, 128, log=True)] = Field(default=64)``. ``when`` names another setting and the
values of it under which this one means anything, so that a study does not search what has no effect.
"""

from __future__ import annotations

from dataclasses import dataclass

Value = bool | int | float | str
Condition = tuple[str, tuple[Value, ...]]


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole ones where both are whole; ``log``: by factors."""

    low: float
    high: float
    log: bool = False
    when: Condition | None = None

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class Choice:
    """One of ``values``."""

    values: tuple[Value, ...]
    when: Condition | None = None
