"""Where: which file and line a row of a frame came from, so that an error can point at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import DataError


@dataclass(frozen=True)
class Where:
    """Origin of the rows of one frame; a "position" is a row number of that frame, from 0.

    Args:
        names: the files (or the one word ``"memory"``).
        lines: ``[N]`` 1-based line of each row in its file; ``None`` for frames that were no file.
        files: ``[N]`` index into ``names``; ``None`` when there is one.
        word: what a row is called: ``"line"`` in text, ``"row"`` elsewhere.
    """

    names: tuple[str, ...]
    lines: NDArray[np.int64] | None = None
    files: NDArray[np.int64] | None = None
    word: str = "line"

    @classmethod
    def memory(cls, name: str = "memory") -> Where:
        """Rows of a frame in memory: positions are called rows and counted from 1."""
        return cls((name,), word="row")

    @classmethod
    def concat(cls, parts: Sequence[Where]) -> Where:
        """The origin of frames put under one another; every part must know its lines."""
        files = [np.full(len(part.line_numbers()), number) for number, part in enumerate(parts)]
        return cls(
            tuple(part.names[0] for part in parts),
            np.concatenate([part.line_numbers() for part in parts]),
            np.concatenate(files).astype(np.int64),
            parts[0].word,
        )

    def line_numbers(self) -> NDArray[np.int64]:
        """``[N]`` lines; empty where there are none."""
        return np.empty(0, np.int64) if self.lines is None else self.lines

    def line(self, position: int) -> int:
        """1-based line (or row) of a position."""
        return int(position) + 1 if self.lines is None else int(self.lines[position])

    def name(self, position: int | None = None) -> str:
        """The file of a position, or the names of all."""
        if position is None or self.files is None:
            return ", ".join(self.names[:3]) + (" ..." if len(self.names) > 3 else "")
        return self.names[int(self.files[position])]

    def at(self, position: int | None, column: str | None = None) -> str:
        """``"prices.csv, line 7, column 'Close'"``."""
        words = [self.name(position)]
        if position is not None:
            words.append(f"{self.word} {self.line(position)}")
        if column is not None:
            words.append(f"column {column!r}")
        return ", ".join(words)

    def lines_of(self, positions: Sequence[int] | NDArray[Any], most: int = 3) -> str:
        """``"line 7"``, ``"lines 7, 9 and 12"`` or ``"lines 7, 9, 12 and 88 more"``."""
        shown = [str(self.line(int(position))) for position in positions[:most]]
        if len(positions) == 1:
            return f"{self.word} {shown[0]}"
        if len(positions) > most:
            return f"{self.word}s {', '.join(shown)} and {len(positions) - most} more"
        return f"{self.word}s {', '.join(shown[:-1])} and {shown[-1]}"

    def error(
        self, kind: type[DataError], text: str, *, hint: str, position: int | None = None, column: str | None = None
    ) -> DataError:
        """An error that begins with the place and carries it as ``row`` and ``column`` for programs."""
        made = kind(f"{self.at(position, column)}: {text}", hint=hint)
        made.row = None if position is None else self.line(position)
        made.column = column
        return made


def line_error(kind: type[DataError], name: str, line: int, text: str, *, hint: str) -> DataError:
    """An error at a line of a file that is no table yet; carries the line as ``row``."""
    made = kind(f"{name}, line {line}: {text}", hint=hint)
    made.row = line
    return made


def plural(count: int, noun: str) -> str:
    """``"1 row"``, ``"2,345 rows"``, ``"2 series"``."""
    return f"{count:,} {noun}{'' if count == 1 or noun.endswith('s') else 's'}"


def some(names: Sequence[str], most: int = 3) -> str:
    """``"a, b, c and 2 more"``."""
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def shown(stamp: Any) -> str:
    """A time stamp for people: the date alone at midnight."""
    moment = pd.Timestamp(stamp)
    if moment is pd.NaT:
        return "-"
    return f"{moment:%Y-%m-%d}" if moment == moment.normalize() else str(moment)


@dataclass(frozen=True)
class Finding:
    """One thing a person should know about a file.

    Args:
        code: short stable name, such as ``"high_below"``.
        severity: ``"error"`` (a fit would refuse or mislead), ``"warning"`` (look at it) or ``"info"``.
        message: one sentence.
        row: 1-based line of the first place; None when it concerns the whole file.
        column: the column; None when it concerns several.
        count: how many rows it concerns.
        hint: what to do.
    """

    code: str
    severity: str
    message: str
    row: int | None = None
    column: str | None = None
    count: int = 1
    hint: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
