"""Sources of series, by name.

New ones implement :class:`pipelines.sources.base.Source`; ``load(..., source=object)`` takes one without
registration.
"""

from __future__ import annotations

from collections.abc import Callable

from pipelines.errors import UsageError, did_you_mean
from pipelines.sources.base import Bars, Fetched, Request, Source

__all__ = ["Bars", "Fetched", "Request", "Source", "get", "names"]


def _yahoo() -> Source:
    from pipelines.sources.yahoo import Yahoo

    return Yahoo()


def _sample() -> Source:
    from pipelines.sources.samples import Samples

    return Samples()


def _memory() -> Source:
    from pipelines.sources.memory import shared

    return shared()


_REGISTRY: dict[str, Callable[[], Source]] = {"yahoo": _yahoo, "sample": _sample, "memory": _memory}


def names() -> tuple[str, ...]:
    """Names that :func:`get` knows."""
    return tuple(_REGISTRY)


def get(name: str) -> Source:
    """The source called ``name``.

    Raises:
        UsageError: there is none.
    """
    if name not in _REGISTRY:
        raise UsageError(
            f"source {name!r} is unknown.{did_you_mean(name, names())}", hint=f"Sources: {', '.join(names())}."
        )
    return _REGISTRY[name]()
