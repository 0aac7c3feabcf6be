"""Files: csv and parquet as they lie on a disk -> a Panel. What was decided is in ``panel.notes``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
import pandas as pd

from pipelines import columns
from pipelines.clean import Options, build, prepare
from pipelines.dates import looks_like_dates
from pipelines.errors import FileFormatError, UsageError
from pipelines.panel import Panel
from pipelines.sources.text import Table, content, read_text_table
from pipelines.where import Where, plural

Path_ = str | Path


class ReadOptions(TypedDict, total=False):
    """Keyword arguments of the readers; as in :func:`pipelines.clean.from_frame`, plus how text is written.

    ``decimal`` and ``thousands`` are marks, decided by the file when left out.
    """

    time: str | None
    target: str | Sequence[str] | None
    id: str | None
    past: Sequence[str]
    future: Sequence[str]
    static: Sequence[str]
    freq: str | None
    calendar: str | None
    tz: str | None
    gaps: str
    irregular: str
    duplicates: str
    impossible: str
    dayfirst: bool | None
    decimal: str | None
    thousands: str | None
    kind: str | None


@dataclass(frozen=True)
class Format:
    """How a text file is written; None: found."""

    sep: str | None = None
    encoding: str | None = None
    header: bool | None = None


def read_csv(
    path: Path_ | Sequence[Path_],
    *,
    sep: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    **options: Unpack[ReadOptions],
) -> Panel:
    """A Panel from a csv file (or several of one layout, which become one panel).

    Args:
        path: plain, gzipped, or a zip with one member.
        sep: separator; found when left out, like the following.
        encoding: of the text.
        header: whether the first row names the columns.
        **options: see :class:`ReadOptions`.

    Raises:
        UsageError: an argument is wrong.
        DataError: the file cannot be read as series; the message names file, line, column and remedy.
    """
    tables = [_text(Path(one), Format(sep, encoding, header)) for one in _paths(path)]
    return panel_of(tables, as_options(options))


def read_parquet(path: Path_ | Sequence[Path_], **options: Unpack[ReadOptions]) -> Panel:
    """A Panel from a parquet file, or several of one layout; see :func:`read_csv`."""
    return panel_of([_parquet(Path(one)) for one in _paths(path)], as_options(options))


def read_file(
    path: Path_ | Sequence[Path_],
    *,
    sep: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    **options: Unpack[ReadOptions],
) -> Panel:
    """A Panel from csv or parquet, told apart by the content of each file; see :func:`read_csv`."""
    tables = [read_table(one, Format(sep, encoding, header)) for one in _paths(path)]
    return panel_of(tables, as_options(options))


def as_options(options: ReadOptions) -> Options:
    """Keyword arguments as validated :class:`~pipelines.clean.Options`."""
    return Options(**{name: given for name, given in options.items() if given is not None})  # type: ignore[arg-type]


def read_table(path: Path_, form: Format | None = None) -> Table:
    """The raw table of a csv or parquet file."""
    path = Path(path)
    form = form or Format()
    if path.is_file():
        with path.open("rb") as file:
            if file.read(4) == b"PAR1":
                return _parquet(path)
    return _text(path, form)


def panel_of(tables: list[Table], options: Options) -> Panel:
    """One panel from raw tables of one layout."""
    table = tables[0] if len(tables) == 1 else _stacked(tables, options)
    table = long_layout(table, options)
    rows = prepare(table.frame, options, table.where, table.notes)
    return build(rows, options, source=table.where.name(), meta={"files": list(table.where.names)})


def _paths(path: Path_ | Sequence[Path_]) -> list[Path_]:
    paths: list[Path_] = [path] if isinstance(path, str | Path) else list(path)
    if not paths:
        raise UsageError("no file was named.", hint="Give a path.")
    return paths


def _text(path: Path, form: Format) -> Table:
    return read_text_table(path, sep=form.sep, encoding=form.encoding, header=form.header)


def _parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        content(path, [])  # says whether it is a folder or missing
    try:
        frame = pq.read_table(path).to_pandas()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:120]
        raise FileFormatError(f"{path.name} is no readable parquet file ({reason}).", hint="Write it again.") from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    return Table(frame, Where((path.name,), np.arange(1, len(frame) + 1), word="row"), [])


def _stacked(tables: list[Table], options: Options) -> Table:
    """Tables of one layout under one another; files without an id get one from their name."""
    first = list(tables[0].frame.columns)
    for table in tables[1:]:
        odd = set(map(str, table.frame.columns)) ^ set(map(str, first))
        if odd:
            raise FileFormatError(
                f"{table.where.name()} and {tables[0].where.name()} have different columns "
                f"({', '.join(sorted(odd)[:4])}).",
                hint="Read files of one layout together, others on their own.",
            )
    known = options.id or columns.id_column(pd.concat([t.frame for t in tables]), None, [], tables[0].where, [])
    frames = [table.frame for table in tables]
    if known is None:
        frames = [
            table.frame.assign(file=re.sub(r"\.(csv|txt|tsv|parquet|gz|zip)", "", table.where.name()))
            for table in tables
        ]
    notes = [note for table in tables for note in table.notes]
    if known is None:
        notes.append(f"Series: one per file ({plural(len(tables), 'file')}).")
    stacked = pd.concat(frames, ignore_index=True)
    if known is None:
        stacked = stacked.rename(columns={"file": "series"}) if "series" not in first else stacked
    return Table(stacked, Where.concat([table.where for table in tables]), list(dict.fromkeys(notes)))


def long_layout(table: Table, options: Options) -> Table:
    """One series per row (as in the M4 files) turned into long rows, when the time is counted from a date."""
    frame = columns.tidy_names(table.frame.reset_index(drop=True), table.where, [])
    first = str(frame.columns[0])
    named = [options.target] if isinstance(options.target, str) else list(options.target)
    other = [name for name in named if name != "value"]  # as the values are called below
    if frame.shape[1] <= 20 or other or not frame[first].is_unique or columns.numeric_like(frame[first]):
        return table
    rest = [str(name) for name in frame.columns[1:]]
    long = frame.melt(id_vars=[first], value_vars=rest, var_name="step", value_name="value")
    if not columns.numeric_like(long["value"].iloc[:: max(1, len(long) // 5000)]):
        return table
    if columns.start_date(options.time, frame) is None:
        if options.time is not None or looks_like_dates(frame[first]):
            return table
        raise FileFormatError(
            f"{table.where.name()}: one series per row ({plural(len(frame), 'row')}, {plural(len(rest), 'column')}) "
            "and no dates.",
            hint="Say where its rows begin: --time 2015-01-01 --freq h (rows become series).",
        )
    order = np.argsort(np.tile(np.arange(len(frame)), len(rest)), kind="stable")
    lines = table.where.line_numbers()
    where = Where(table.where.names, np.tile(lines, len(rest))[order], word=table.where.word)
    long = long.iloc[order].reset_index(drop=True).drop(columns="step").rename(columns={first: "unique_id"})
    table.notes.append(f"One series per row: {plural(len(frame), 'series')}, named by column {first!r}.")
    return Table(long, where, table.notes)
