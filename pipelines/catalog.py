"""The catalogue: what data exists, read from the TOML cards in ``datasets/``.

A card says where a data set comes from, under which licence, what is in it and which loader reads
it; it holds no data itself. In a wheel the cards lie in ``pipelines/_catalog``, in a checkout in
``datasets/`` beside the package.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines.errors import DataError, TickerNotFoundError, did_you_mean


@dataclass(frozen=True)
class Card:
    """What one data set is.

    ``rows`` and ``missing`` count the stamps of the grid; ``sha256`` is over the target's float64
    values, so that a changed upstream file is noticed.
    """

    name: str
    title: str
    source: str
    licence: str
    loader: str
    series: str
    target: str
    unit: str
    freq: str
    start: str
    end: str
    rows: int
    missing: int
    sha256: str
    calendar: str | None = None
    currency: str | None = None
    ticker: str | None = None
    aliases: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    notes: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Everything this data set answers to: ticker, name, aliases."""
        own = (self.ticker,) if self.ticker else ()
        return (*own, self.name, *self.aliases)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def folder() -> Path:
    """Where the cards lie.

    Raises:
        DataError: neither the wheel's nor the checkout's folder is there.
    """
    here = Path(__file__).resolve().parent
    for place in (here / "_catalog", here.parent / "datasets"):
        if place.is_dir():
            return place
    raise DataError(
        f"the catalogue is missing: no cards in {here / '_catalog'} or {here.parent / 'datasets'}.",
        hint="Install the toolkit again.",
    )


def read_card(path: Path) -> Card:
    """One card.

    Raises:
        DataError: the file is not TOML, lacks a key, or holds one that no card has.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"card {path} is not TOML: {error}.", hint="Compare it with the other cards.") from error
    known = [item.name for item in fields(Card)]
    for key in raw:
        if key not in known:
            raise DataError(
                f"card {path} has the unknown key {key!r}.{did_you_mean(key, known)}", hint=f"Keys: {', '.join(known)}."
            )
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
    try:
        return Card(**values)
    except TypeError as error:
        raise DataError(f"card {path} is incomplete: {error}.", hint="Compare it with the other cards.") from error


@lru_cache(maxsize=4)
def _read(place: Path) -> tuple[Card, ...]:
    return tuple(read_card(path) for path in sorted(place.glob("*.toml")))


def cards() -> tuple[Card, ...]:
    """All cards, by name."""
    return _read(folder())


def card(name: str) -> Card:
    """The card that answers to ``name``: its ticker, name or an alias, in any case.

    Raises:
        TickerNotFoundError: there is none; the message suggests the nearest name.
    """
    wanted = name.strip().casefold()
    for found in cards():
        if wanted in (known.casefold() for known in found.names):
            return found
    known = [label for found in cards() for label in found.names]
    raise TickerNotFoundError(
        f"there is no sample named {name!r}.{did_you_mean(name, known)}",
        hint=f"Samples: {', '.join(found.series for found in cards())} (`forecast data list`).",
    )
