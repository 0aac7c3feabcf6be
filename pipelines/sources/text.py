"""Text: the bytes of a file -> a table of text cells that remember their line; refuses what is no table.

Compressed files (gzip, a zip with one member) are opened. Nothing is converted here: cells stay text.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from pipelines.columns import PRICE_NAMES, key
from pipelines.dateforms import families
from pipelines.errors import FileFormatError, UsageError, did_you_mean
from pipelines.values import MISSING_WORDS
from pipelines.where import Where, line_error, plural

MAX_LINE = 8 << 20  # bytes; no table of series has a longer line
_CHUNK = 1 << 20
SEPARATORS = (",", ";", "\t", "|")
_NUMBER = re.compile(r"[-+]?[\d.,]*\d[.,]?\d*(?:[eE][-+]?\d+)?%?")


@dataclass
class Table:
    """Cells as text, one row per record; ``where`` knows the line of each."""

    frame: pd.DataFrame
    where: Where
    notes: list[str] = field(default_factory=list)


def read_text_table(
    path: str | Path, *, sep: str | None = None, encoding: str | None = None, header: bool | None = None
) -> Table:
    """The table in a text file.

    Args:
        path: csv, tsv or the like; plain, ``.gz`` or a ``.zip`` with one member.
        sep: separator of the cells; found when left out.
        encoding: such as ``"cp1252"``; UTF-8 (with or without BOM), UTF-16 with BOM, then Windows-1252 are tried.
        header: whether the first row names the columns; found when left out.

    Raises:
        FileFormatError: the file is missing, a folder, empty, a Git LFS pointer, HTML, JSON, a workbook, binary, has
            a line of more than 8 MiB, an open quote, or a row with more cells than columns.
    """
    path = Path(path)
    notes: list[str] = []
    text = decode(content(path, notes), path, encoding, notes)
    lines = text.split("\n", 60)[:60]
    sep = sep if sep is not None else separator(lines)
    rows, numbers = _records(text, sep, path)
    if not rows:
        raise FileFormatError(f"{path.name} is empty.", hint="Was the download or export cut off?")
    rows, numbers = _without_preamble(rows, numbers, path, notes)
    stacked = _yfinance(rows, numbers, path, notes)
    if stacked is not None:
        return stacked
    named = _has_header(rows) if header is None else header
    names = list(rows[0]) if named else []
    body, numbers = (rows[1:], numbers[1:]) if named else (rows, numbers)
    if not body:
        raise FileFormatError(f"{path.name} has a header and no rows.", hint="Was the download or export cut off?")
    if not named:
        names = [f"c{position + 1}" for position in range(max(map(len, body)))]
        notes.append(f"{path.name} has no header: columns are called c1 to c{len(names)}.")
    return _table(names, body, numbers, path, notes, sep)


# -- bytes ----------------------------------------------------------------------------------------------


def content(path: Path, notes: list[str]) -> bytes:
    """The bytes of a file, opened if compressed.

    Raises:
        FileFormatError: it is missing, a folder, or holds no text table.
    """
    if path.is_dir():
        inside = sorted(entry.name for entry in path.iterdir() if entry.suffix.lower() in (".csv", ".txt", ".parquet"))
        listed = f" It holds {', '.join(inside[:5])}{' ...' if len(inside) > 5 else ''}." if inside else ""
        raise FileFormatError(f"{path} is a folder.{listed}", hint="Name one file.")
    if not path.exists():
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileFormatError(f"{path} does not exist.{did_you_mean(path.name, near)}", hint="Check the path.")
    try:
        with path.open("rb") as file:
            data = _opened(file, path, notes)
    except OSError as error:
        raise FileFormatError(f"{path.name} cannot be read ({error.strerror or error}).", hint="Check it.") from error
    _refuse_other_formats(data[:4096], path)
    return data


def _opened(file: io.BufferedReader, path: Path, notes: list[str]) -> bytes:
    magic = file.read(8)
    file.seek(0)
    try:
        if magic[:2] == b"\x1f\x8b":
            return _checked(gzip.open(file), path)
        if magic[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(file) as archive:
                member = _member(archive, path)
                notes.append(f"Read {member} inside {path.name}.")
                with archive.open(member) as inner:
                    return _checked(inner, path)
    except (EOFError, zipfile.BadZipFile, gzip.BadGzipFile, zipfile.LargeZipFile) as error:
        raise FileFormatError(f"{path.name} is a damaged archive ({error}).", hint="Fetch it again.") from error
    return _checked(file, path)


def _member(archive: zipfile.ZipFile, path: Path) -> str:
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
    if any(name.startswith("xl/") for name in names):
        raise FileFormatError(f"{path.name} is an Excel workbook.", hint="Save the sheet as CSV.")
    if len(names) != 1:
        raise FileFormatError(
            f"{path.name} holds {len(names)} files ({', '.join(names[:4])}).", hint="Unpack it and name one."
        )
    return names[0]


def _checked(stream: IO[bytes] | gzip.GzipFile | io.BufferedIOBase, path: Path) -> bytes:
    """All bytes of a stream, given up as soon as one line is too long."""
    parts: list[bytes] = []
    since = lines = 0
    while chunk := stream.read(_CHUNK):
        first = chunk.find(b"\n")
        if (since := since + (len(chunk) if first < 0 else first)) > MAX_LINE:
            raise line_error(
                FileFormatError,
                path.name,
                lines + 1,
                f"longer than {MAX_LINE >> 20} MiB.",
                hint="No table of series looks like this: check the line ends, or whether the file is text at all.",
            )
        if first >= 0:
            since = len(chunk) - chunk.rfind(b"\n") - 1
            lines += chunk.count(b"\n")
        parts.append(chunk)
        if len(parts) == 1:
            _refuse_other_formats(chunk[:4096], path)
    return b"".join(parts)


def _refuse_other_formats(head: bytes, path: Path) -> None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:400].lower()
    known = (
        (
            b"version https://git-lfs",
            "is a Git LFS pointer, not the data itself",
            "Run `git lfs pull`, or download it.",
        ),
        (b"par1", "is a parquet file", "Read it with read_parquet or read_file."),
        (b"%pdf", "is a PDF", "Export the table as CSV."),
        (b"{", "is JSON, not a table", "Convert it to CSV with one row per time stamp."),
        (b"[{", "is JSON, not a table", "Convert it to CSV with one row per time stamp."),
        (b"<?xml", "is XML, not a table", "Export the table as CSV."),
    )
    for magic, what, hint in known:
        if start.startswith(magic):
            raise FileFormatError(f"{path.name} {what}.", hint=hint)
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<script")):
        title = re.search(rb"<title[^>]*>(.*?)</title>", head, re.DOTALL | re.IGNORECASE)
        said = f" titled {title[1].decode('utf-8', 'replace').strip()!r}" if title else ""
        raise FileFormatError(
            f"{path.name} is an HTML page{said}, not a table.", hint="The download got a web page: use the raw link."
        )
    if head[:4] == b"\xd0\xcf\x11\xe0":
        raise FileFormatError(f"{path.name} is an old Excel workbook.", hint="Save the sheet as CSV.")
    if b"\x00" in head and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise FileFormatError(f"{path.name} is binary, not text.", hint="Export the table as CSV or parquet.")


def decode(data: bytes, path: Path, encoding: str | None, notes: list[str]) -> str:
    """Bytes as text; line ends made plain.

    Raises:
        FileFormatError: they are not in ``encoding``, or in none that is tried.
        UsageError: ``encoding`` is unknown.
    """
    if not data.strip():
        raise FileFormatError(f"{path.name} is empty.", hint="Was the download or export cut off?")
    tried = [encoding] if encoding else ["utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "cp1252"]
    failure: UnicodeDecodeError | None = None
    for name in tried:
        try:
            text = data.decode(name)
        except LookupError as error:
            raise UsageError(f"encoding {name!r} is unknown.", hint="For instance utf-8, cp1252, utf-16.") from error
        except UnicodeDecodeError as error:
            failure = failure or error
            continue
        if failure is not None:
            line = data.count(b"\n", 0, failure.start) + 1
            byte = data[failure.start]
            notes.append(
                f"{path.name}, line {line}: byte 0x{byte:02x} is not UTF-8; read as Windows-1252 (--encoding if that "
                "is wrong)."
            )
        return text.replace("\r\n", "\n").replace("\r", "\n")
    assert failure is not None
    line = data.count(b"\n", 0, failure.start) + 1
    raise line_error(
        FileFormatError,
        path.name,
        line,
        f"byte 0x{data[failure.start]:02x} cannot be read as {' or '.join(tried)}.",
        hint="Give the file's encoding with --encoding, or save it as UTF-8.",
    )


# -- records --------------------------------------------------------------------------------------------


def separator(lines: Sequence[str]) -> str:
    """The mark that cuts the first lines into the same number of cells, header included; ``" "`` for blanks."""
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    best, score = ",", (False, False, 1)
    for mark in (*SEPARATORS, " "):
        counts = [len(cells) for cells in _cut(lines, mark)]
        if not counts:
            continue
        usual, times = Counter(counts).most_common(1)[0]
        rated = (usual > 1 and counts[0] == usual, usual > 1 and times >= 0.8 * len(counts), usual)
        if mark == " " and score[2] > 1:
            continue  # blanks are also inside dates and names: only when nothing else cuts the lines
        if rated > score:
            best, score = mark, rated
    return best


def _cut(lines: Sequence[str], mark: str) -> Iterator[list[str]]:
    if mark == " ":
        return (line.split() for line in lines)
    return csv.reader(lines, delimiter=mark, skipinitialspace=True)


def _records(text: str, sep: str, path: Path) -> tuple[list[list[str]], list[int]]:
    """Cells of every line that is not blank, and the line each record begins in."""
    if sep.isspace() and sep != "\t":
        cut = [(line.split(), number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        return [cells for cells, _ in cut], [number for _, number in cut]
    if len(sep) != 1:
        raise UsageError(f"separator {sep!r} is not one character.", hint="Leave it out to have it found.")
    reader = csv.reader(io.StringIO(text), delimiter=sep, skipinitialspace=True, strict=False)
    rows, numbers, line = [], [], 1
    try:
        for cells in reader:
            if cells and (cells[0] or any(cell.strip() for cell in cells)):
                rows.append(cells)
                numbers.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise line_error(
            FileFormatError, path.name, line, f"{error}.",
            hint="Most likely a quote that is never closed: correct that line.",
        ) from error  # fmt: skip
    if rows and '"' in text and len(rows) > 1 and any("\n" in cell for cell in rows[-1]):
        raise line_error(
            FileFormatError, path.name, numbers[-1], "a quote is opened and never closed.", hint="Correct that line."
        )
    return rows, numbers


def _without_preamble(
    rows: list[list[str]], numbers: list[int], path: Path, notes: list[str]
) -> tuple[list[list[str]], list[int]]:
    """Rows from the header on: comments and titles above it left out, and said."""
    middle = len(rows) // 2
    filled = [sum(1 for cell in cells if cell.strip()) for cells in rows[:31]]
    usual = Counter(sum(1 for cell in cells if cell.strip()) for cells in rows[middle : middle + 200]).most_common(1)[
        0
    ][0]
    begin = 0
    while (
        begin < min(len(rows) - 1, 30)
        and usual > 1
        and (rows[begin][0].lstrip().startswith("#") or (filled[begin] == 1 and len(rows) - begin > 2))
    ):
        begin += 1
    if begin:
        word = "line" if begin == 1 else "lines"
        notes.append(f"{path.name}: {begin} {word} above the table left out ({rows[0][0].strip()[:40]!r}).")
    return rows[begin:], numbers[begin:]


def _kind(cell: str) -> str:
    cell = cell.strip()
    if not cell:
        return ""
    family = str(families(pd.Series([cell]))[0])
    if _NUMBER.fullmatch(cell):
        return "date" if family == "compact" else "number"
    return "date" if family else "text"


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first row names the columns: a date above a date says no, else a word above a number or a date yes.

    A word that means "missing" is none. Columns may be called 0, 1, 2, ... as long as one of them has a name.
    """
    values = ("number", "date")
    if len(rows) == 1:
        return not any(_kind(cell) in values for cell in rows[0])
    pairs = [(cell, _kind(cell), _kind(below)) for cell, below in zip(rows[0], rows[1], strict=False)]
    if any(kind == below == "date" for _, kind, below in pairs):
        return False
    words = [below for cell, kind, below in pairs if kind == "text" and cell.strip().lower() not in MISSING_WORDS]
    if any(below in values for below in words):
        return True
    return not any(kind in values and below in values for _, kind, below in pairs)


def _table(
    names: list[str], body: list[list[str]], numbers: list[int], path: Path, notes: list[str], sep: str
) -> Table:
    widths = np.fromiter(map(len, body), np.int64, len(body))
    width = len(names)
    usual = Counter(widths.tolist()).most_common(1)[0][0]
    if usual == width + 1 and not all(not cells[-1].strip() for cells in body if len(cells) == usual):
        names, width = ["", *names], width + 1  # row names without a name, as R writes them
    where = Where((path.name,), np.asarray(numbers, np.int64))
    for position in np.flatnonzero(widths > width):
        if any(cell.strip() for cell in body[position][width:]):
            raise where.error(
                FileFormatError,
                f"{widths[position]} cells, but {width} columns.",
                position=int(position),
                hint=f"A {sep!r} inside a cell? Quote such cells, or name the separator with --sep.",
            )
    short = np.flatnonzero(widths < width)
    if len(short) and usual >= width:
        notes.append(
            f"{path.name}, {where.lines_of(short)}: {plural(len(short), 'row')} with fewer than {width} cells; the "
            "rest is missing."
        )
    cells = [row[:width] + [""] * (width - len(row)) if len(row) != width else row for row in body]
    head = [name.strip() for name in names]
    repeated = np.array([row[0].strip() == head[0] and [cell.strip() for cell in row] == head for row in cells])
    if head[0] and repeated.any():
        notes.append(f"{path.name}, {where.lines_of(np.flatnonzero(repeated))}: the header again; left out.")
        kept = np.flatnonzero(~repeated)
        cells, where = [cells[position] for position in kept], Where(where.names, np.asarray(numbers, np.int64)[kept])
    frame = pd.DataFrame(cells, columns=range(width), dtype="str")
    nameless = [
        position for position, name in enumerate(names) if not name.strip() and bool((frame[position] == "").all())
    ]
    frame = frame.drop(columns=nameless)
    frame.columns = pd.Index([name for position, name in enumerate(names) if position not in nameless])
    return Table(frame, where, notes)


def _yfinance(rows: list[list[str]], numbers: list[int], path: Path, notes: list[str]) -> Table | None:
    """The two- or three-row header of ``yfinance.download().to_csv`` as a long table with a Ticker column."""
    if len(rows) < 4 or len(rows[0]) < 2 or key(rows[0][0]) not in ("price", "ticker", "attributes", ""):
        return None
    upper, lower = [cell.strip() for cell in rows[0][1:]], [cell.strip() for cell in rows[1][1:]]
    fields = {*PRICE_NAMES, "dividends", "stock splits", "capital gains", "repaired?"}
    kinds, tickers = (upper, lower) if all(key(cell) in fields for cell in upper) else (lower, upper)
    if not all(key(cell) in fields for cell in kinds) or all(key(cell) in fields for cell in tickers) or "" in tickers:
        return None
    names_row = key(rows[2][0]) in ("date", "datetime") and not any(cell.strip() for cell in rows[2][1:])
    time = rows[2][0].strip() if names_row else (rows[1][0].strip() or "Date")
    body, lines = rows[2 + names_row :], np.asarray(numbers[2 + names_row :], np.int64)
    wide = pd.DataFrame([row + [""] * (len(upper) + 1 - len(row)) for row in body], dtype="str")
    parts = []
    for ticker in dict.fromkeys(tickers):
        at = [position for position, name in enumerate(tickers) if name == ticker]
        part = wide[[0, *[position + 1 for position in at]]].set_axis([time, *[kinds[p] for p in at]], axis=1)
        part.insert(1, "Ticker", ticker)
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    notes.append(
        f"{path.name} has the header of yfinance.download: read as {plural(len(parts), 'ticker')} "
        f"({', '.join(dict.fromkeys(tickers))})."
    )
    return Table(frame.fillna(""), Where((path.name,), np.tile(lines, len(parts))), notes)
