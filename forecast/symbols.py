"""Symbols: what a sequence is made of, as whole numbers and back: characters, tokens of a list, bins of a series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UsageError

Tokens = NDArray[np.int64]
Floats = NDArray[np.float64]
Kind = Literal["text", "tokens", "numbers"]
SHOWN = 8


@dataclass(frozen=True)
class Vocabulary:
    """The different characters of a text, or the different tokens of a list, in sorted order."""

    known: tuple[Any, ...]
    kind: Kind = "text"

    @classmethod
    def of(cls, sequence: str | Sequence[Any]) -> Vocabulary:
        if isinstance(sequence, str):
            return cls(tuple(sorted(set(sequence))), "text")
        wrong = [one for one in sequence if isinstance(one, bool) or not isinstance(one, str | int)]
        if wrong:
            raise UsageError(
                f"a token is {wrong[0]!r} ({type(wrong[0]).__name__}); tokens are whole numbers or strings.",
                hint="Give a text, a list of int or str, or numbers with bins=32 for a series.",
            )
        return cls(tuple(sorted(set(sequence), key=lambda one: (isinstance(one, str), one))), "tokens")

    def __len__(self) -> int:
        return len(self.known)

    def encode(self, sequence: Any) -> Tokens:
        """``[N]`` the place of every symbol.

        Raises:
            UsageError: a symbol that was never learned, or a sequence of another kind.
        """
        if self.kind == "text" and not isinstance(sequence, str):
            raise UsageError(f"got {type(sequence).__name__}, expected a text (str).", hint="It learned a text.")
        if self.kind == "tokens" and isinstance(sequence, str):
            raise UsageError("got a text, expected a list of tokens.", hint="It learned a list of tokens.")
        place = {symbol: i for i, symbol in enumerate(self.known)}
        unknown = sorted({one for one in sequence if one not in place}, key=str)
        if unknown:
            what = "character" if self.kind == "text" else "token"
            raise UsageError(
                f"{what}{'s' if len(unknown) > 1 else ''} it never learned: {_listed(unknown)}.",
                hint=f"It knows {len(self)}: {_listed(self.known, 60)}.",
            )
        return np.array([place[one] for one in sequence], np.int64)

    def decode(self, tokens: Tokens) -> str | list[Any]:
        found = [self.known[i] for i in tokens]
        return "".join(found) if self.kind == "text" else found

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "known": list(self.known)}


@dataclass(frozen=True)
class Bins:
    """Ranges of a series of numbers, about equally frequent, and the mean of what fell into each.

    ``edges [K - 1]`` between the bins, ``means [K]``, both in units of the series. A number outside of all that was
    seen falls into the outermost bin; what comes back is always one of the means.
    """

    edges: Floats
    means: Floats
    kind: Kind = "numbers"

    @classmethod
    def of(cls, values: Any, bins: int) -> Bins:
        """At most ``bins`` ranges between quantiles of ``values``; fewer where values repeat."""
        bins = check_whole("bins", bins, 2, hint="32 is a good start.")
        series = _numbers(values)
        edges = np.unique(np.quantile(series, np.linspace(0, 1, bins + 1)[1:-1])) if len(series) else np.zeros(0)
        at = np.searchsorted(edges, series, side="right")
        used = np.unique(at)  # a bin that nothing fell into is no bin
        return cls(edges[used[1:] - 1], np.array([series[at == one].mean() for one in used]))

    def __len__(self) -> int:
        return len(self.means)

    def encode(self, sequence: Any) -> Tokens:
        """``[N]`` the bin of every number."""
        return np.searchsorted(self.edges, _numbers(sequence), side="right").astype(np.int64)

    def decode(self, tokens: Tokens) -> Floats:
        found: Floats = self.means[tokens]
        return found

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "edges": self.edges.tolist(), "means": self.means.tolist()}


Symbols = Vocabulary | Bins


def symbols_of(sequence: Any, bins: int | None) -> Symbols:
    """The symbols of ``sequence``: characters of a text, tokens of a list, ``bins`` of numbers (32 where not said).

    Whole numbers are tokens unless ``bins`` is given.
    """
    if isinstance(sequence, str):
        if bins is not None:
            raise UsageError("bins are for numbers; a text has characters.", hint="Leave bins out.")
        return Vocabulary.of(sequence)
    if not hasattr(sequence, "__len__"):
        raise UsageError(
            f"got {type(sequence).__name__}, expected a text, a list of tokens, or numbers.", hint="See its docstring."
        )
    listed = sequence.tolist() if hasattr(sequence, "tolist") else [_plain(one) for one in sequence]
    if bins is not None or any(isinstance(one, float) for one in listed):
        return Bins.of(sequence, 32 if bins is None else bins)
    return Vocabulary.of(listed)


def check_whole(name: str, value: Any, low: int, high: int | None = None, *, hint: str) -> int:
    """``value`` as Python's own whole number.

    Raises:
        UsageError: it is none, or out of range.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if whole and low <= value and (high is None or value <= high):
        return int(value)
    reach = f"of at least {low:,}" if high is None else f"from {low:,} to {high:,}"
    raise UsageError(f"{name} is {value!r}, expected a whole number {reach}.", hint=hint)


def _plain(one: Any) -> Any:
    """Python's own number for numpy's."""
    return one.item() if isinstance(one, np.generic) else one


def from_json(document: dict[str, Any]) -> Symbols:
    if document["kind"] == "numbers":
        return Bins(np.array(document["edges"], np.float64), np.array(document["means"], np.float64))
    return Vocabulary(tuple(document["known"]), document["kind"])


def _numbers(values: Any) -> Floats:
    try:
        series = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"a series of numbers was expected ({error}).", hint="Give floats.") from error
    if series.ndim != 1 or not np.isfinite(series).all():
        raise UsageError(
            f"a series of shape {series.shape} with {int((~np.isfinite(series)).sum())} values that are no numbers.",
            hint="Give one row of finite numbers; fill or drop what is missing.",
        )
    return series


def _listed(symbols: Sequence[Any], most: int = SHOWN) -> str:
    shown = " ".join(repr(one) for one in symbols[:most])
    return f"{shown} and {len(symbols) - most} more" if len(symbols) > most else shown
