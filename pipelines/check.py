"""Check: read a file as a fit would, go on where a fit would stop, and report every finding with line and column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines import columns, values
from pipelines.clean import Options, build, prepare
from pipelines.errors import DataError, ToolkitError, UsageError
from pipelines.findings import check_rows, line_at
from pipelines.panel import Panel
from pipelines.plausible import SAID
from pipelines.rows import Rows
from pipelines.sources.files import Format, ReadOptions, as_options, long_layout, read_table
from pipelines.sources.text import Table
from pipelines.where import Finding, plural, shown

SCHEMA = 1
Floats = NDArray[np.float64]
_ORDER = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Report:
    """What a check found.

    Args:
        file: its name.
        verdict: ``"fine"``, ``"usable"`` (there are warnings) or ``"refused"`` (a fit with these arguments would stop).
        text: the verdict in one sentence.
        facts: rows, span, frequency, gaps and the like; empty when the file is no table.
        findings: worst first.
        notes: what reading decided.
    """

    file: str
    verdict: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The report as one JSON document."""
        return {"schema": SCHEMA, **asdict(self), "findings": [finding.to_json() for finding in self.findings]}

    def __str__(self) -> str:
        facts = [f"  {name:<12}{given}" for name, given in self.facts.items() if given not in (None, "", [], {})]
        found = [
            f"  {_place(finding)}{finding.severity}: {finding.message} {finding.hint or ''}".rstrip()
            for finding in self.findings
        ]
        said = [f"  {note}" for note in self.notes]
        parts = [f"{self.file}: {self.text}", *facts]
        parts += ["Findings", *found] if found else []
        parts += ["Read as", *said] if said else []
        return "\n".join(parts)


def _place(finding: Finding) -> str:
    words = [f"line {finding.row}"] if finding.row is not None else []
    words += [finding.column] if finding.column is not None else []
    return ", ".join(words) + ": " if words else ""


def check_file(
    path: str | Path,
    *,
    lookback: int | None = None,
    horizon: int = 5,
    other: str | Path | None = None,
    sep: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    **options: Unpack[ReadOptions],
) -> Report:
    """The verdict on a file.

    Args:
        path: the file.
        lookback: rows a net on windows would read; series shorter than ``lookback + horizon`` are reported. Left
            out for a net that reads a stream, as the default one does.
        horizon: steps it would forecast.
        other: a second file of the same layout (a test set) to look for overlap with.
        sep: as :func:`pipelines.sources.files.read_csv`, like the following.
        encoding: of the text.
        header: whether the first row names the columns.
        **options: as for reading.

    Raises:
        UsageError: an option is none (a wrong column is a finding, not an error).
    """
    given = as_options(options)
    form = Format(sep, encoding, header)
    name = Path(path).name
    try:
        table = long_layout(read_table(path, form), given)
    except DataError as error:
        return _report(name, {}, [_of_error(error)], ())
    findings: list[Finding] = []
    read = _read_on(table, given, findings)
    if read is None:
        return _report(name, {"rows": len(table.frame)}, findings, tuple(table.notes))
    rows, panel = read
    frame = columns.tidy_names(table.frame.reset_index(drop=True), table.where, [])
    findings += check_rows(rows, panel, _other_numbers(frame, rows), lookback=lookback, horizon=horizon)
    if other is not None:
        findings += _overlap(panel, other, given, form)
    notes = tuple(note for note in panel.notes if not note.startswith(SAID))  # these are findings already
    return _report(name, _facts(rows, panel, findings), findings, notes)


# -- reading on -----------------------------------------------------------------------------------------


def _read_on(table: Table, options: Options, findings: list[Finding]) -> tuple[Rows, Panel] | None:
    """Rows and panel; each refusal becomes a finding, and reading goes on with the policy that gets past it."""
    ways: list[dict[str, Any]] = [{"duplicates": "first"}, {"impossible": "keep"}, {"irregular": "nearest"}]
    frame = columns.tidy_names(table.frame, table.where, [])
    numbers = tuple(
        str(name)
        for name in frame.columns
        if columns.numeric_like(frame[name]) and columns.key(str(name)) not in columns.TIME_NAMES
    )
    if not options.target:
        ways.append({"target": numbers})
    failure = _attempt(table, options)
    while isinstance(failure, ToolkitError):
        findings.append(_of_error(failure))
        for way in ways:
            tried = replace(options, **way)
            outcome = _attempt(table, tried)
            if not isinstance(outcome, ToolkitError) or str(outcome) != str(failure):
                options, failure = tried, outcome
                ways.remove(way)
                break
        else:
            return None
    return failure


def _attempt(table: Table, options: Options) -> tuple[Rows, Panel] | ToolkitError:
    notes = list(table.notes)
    try:
        rows = prepare(table.frame, options, table.where, notes)
        return rows, build(rows, options, source=table.where.name(), meta={})
    except (DataError, UsageError) as error:
        return error


def _of_error(error: ToolkitError) -> Finding:
    several = isinstance(error, UsageError) and "could be the target" in error.message
    return Finding(
        "choose_target" if several else _code(error),
        "warning" if several else "error",
        error.message,
        getattr(error, "row", None),
        getattr(error, "column", None),
        1,
        error.hint,
    )


def _code(error: ToolkitError) -> str:
    return {
        "FileFormatError": "not_a_table", "TimeError": "time_stamps", "ValueRangeError": "values",
        "TooShortError": "too_short", "UsageError": "arguments",
    }.get(type(error).__name__, "data")  # fmt: skip


def _other_numbers(frame: pd.DataFrame, rows: Rows) -> dict[str, Floats]:
    """Columns of numbers that reading did not need, cells that are none as NaN."""
    taken = {rows.time, *rows.time.split("+"), *rows.cells}
    found = {}
    for name in map(str, frame.columns):
        if name not in taken and columns.numeric_like(frame[name]):
            column = values.to_float(
                frame[name], name=name, where=rows.where, style=values.Style(), notes=[], strict=False
            )
            found[name] = column[rows.positions]
    return found


def _report(name: str, facts: dict[str, Any], findings: list[Finding], notes: Sequence[str]) -> Report:
    ordered = tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity]))
    errors = [finding for finding in ordered if finding.severity == "error"]
    warnings = [finding for finding in ordered if finding.severity == "warning"]
    if errors:
        return Report(
            name,
            "refused",
            f"a fit would stop: {errors[0].message} {errors[0].hint or ''}".rstrip(),
            facts,
            ordered,
            tuple(notes),
        )
    if warnings:
        return Report(
            name, "usable", f"usable; {plural(len(warnings), 'thing')} to look at.", facts, ordered, tuple(notes)
        )
    return Report(name, "fine", "fine.", facts, ordered, tuple(notes))


# -- a second file, and the facts ----------------------------------------------------------------------


def _overlap(panel: Panel, other: str | Path, options: Options, form: Format) -> list[Finding]:
    """Stamps that a second file holds too: a test set that the model was trained on, or that contradicts it."""
    table = read_table(other, form)
    target = options.target or tuple(panel.target.split(", "))
    outcome = _attempt(table, replace(options, target=target))
    if isinstance(outcome, ToolkitError):
        return [_of_error(outcome)]
    rows, second = outcome
    name = Path(other).name
    both = panel.frame.merge(second.frame, on=["unique_id", "ds"], suffixes=("", "_other"))
    both = both[both["y"].notna() & both["y_other"].notna()]
    if not len(both):
        return []
    differ = both[both["y"] != both["y_other"]]
    first = both["ds"].iloc[0]
    text = f"{plural(len(both), 'stamp')} from {shown(first)} on are also in {name}"
    text += f", {len(differ):,} of them with other values." if len(differ) else ", with the same values."
    line = line_at(rows, first.to_datetime64())
    return [
        Finding("overlap", "error" if len(differ) else "warning", text, line, panel.target, len(both),
                f"Remove them from one of the files (the line is that of {name}): a test set must begin after training "
                "ends.")
    ]  # fmt: skip


def _facts(rows: Rows, panel: Panel, findings: Iterable[Finding]) -> dict[str, Any]:
    told = panel.describe()
    facts = {
        "rows": len(rows.ds), "series": told["series"], "start": told["start"], "end": told["end"],
        "frequency": told["frequency"], "season": told["season"], "missing": told["missing"], "target": told["target"],
        "time": rows.time,
    }  # fmt: skip
    if rows.prices:
        facts["basis"] = _basis(rows, findings)
    return facts


def _basis(rows: Rows, findings: Iterable[Finding]) -> str:
    """What the closing prices are adjusted for, as far as the file shows it."""
    codes = {finding.code for finding in findings}
    close = rows.prices["close"]
    if "different_bases" in codes:
        return f"{close} and the other prices are on different bases"
    if "adj close" not in rows.prices:
        return "as traded, with unadjusted splits" if "unadjusted_split" in codes else "not said by the file"
    adjusted = rows.prices["adj close"]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = rows.cells[adjusted] / rows.cells[close]
    if "unadjusted_split" in codes:
        return f"{close} as traded, {adjusted} for splits and dividends"
    same = bool(np.nanmax(np.abs(ratio - 1)) < 1e-6)
    return f"{close} and {adjusted} are equal" if same else f"{close} for splits, {adjusted} also for dividends"
