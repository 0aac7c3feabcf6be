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
from pipelines.layout import identical_series
from pipelines.panel import Panel
from pipelines.prices import check_ohlc
from pipelines.regular import LONG_HOLE
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
    lookback: int = 60,
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
        lookback: steps a model would look back on; series shorter than ``lookback + horizon`` are reported.
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
    findings += check_rows(rows, panel, _other_numbers(frame, rows), need=lookback + horizon)
    if other is not None:
        findings += _overlap(panel, other, given, form)
    notes = tuple(note for note in panel.notes if not note.startswith("Look at"))  # these are findings already
    return _report(name, _facts(rows, panel, findings), findings, notes)


def check_rows(rows: Rows, panel: Panel, more: dict[str, Floats], need: int) -> list[Finding]:
    """Findings in rows that can be read: prices, gaps, outliers, constant, short and identical series.

    Args:
        rows: sorted rows.
        panel: what was built from them.
        more: other columns of numbers to look for outliers in, ``[N]`` each.
        need: rows a model needs.
    """
    found: list[Finding] = []
    for code in range(max(len(rows.ids), 1)):
        one = rows.of(code)
        if rows.prices:
            bars = {kind: rows.cells[column][one] for kind, column in rows.prices.items()}
            found += check_ohlc(bars, rows.ds[one], names=rows.prices, where=rows.where, positions=rows.positions[one])
            found += _last_bar(bars, rows, one)
        cells = {name: column for name, column in (rows.cells | more).items() if name not in rows.prices.values()}
        for name, column in cells.items():
            found += _outliers(column[one], name, rows, one)
        if not rows.prices:
            for name in rows.targets:
                found += _edges(rows.cells[name][one], name, rows, one, panel)
    found += _gaps(rows, panel) + _series(panel, need)
    return found


# -- reading on -----------------------------------------------------------------------------------------


def _read_on(table: Table, options: Options, findings: list[Finding]) -> tuple[Rows, Panel] | None:
    """Rows and panel; each refusal becomes a finding, and reading goes on with the policy that gets past it."""
    ways: list[dict[str, Any]] = [{"duplicates": "first"}, {"impossible": "keep"}, {"irregular": "snap"}]
    numbers = tuple(
        str(name)
        for name in table.frame.columns
        if columns.numeric_like(table.frame[name]) and columns.key(str(name)) not in columns.TIME_NAMES
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


# -- findings -------------------------------------------------------------------------------------------


def _gaps(rows: Rows, panel: Panel) -> list[Finding]:
    found = []
    y, ds = panel.column("y"), panel.ds
    for number, name in enumerate(panel.ids):
        begin, end = int(panel.offsets[number]), int(panel.offsets[number + 1])
        holes = np.flatnonzero(np.diff(np.concatenate([[0], np.isnan(y[begin:end]).astype(np.int8), [0]])))
        if not len(holes):
            continue
        lengths = holes[1::2] - holes[::2]
        of = f" of {name}" if len(panel.ids) > 1 else ""
        worst = int(np.argmax(lengths))
        before = ds[begin + holes[::2][worst] - 1]
        line = _line_at(rows, before)
        share = lengths.sum() / (end - begin)
        found.append(
            Finding(
                "gaps", "warning" if share > 0.2 else "info",
                f"{plural(int(lengths.sum()), 'row')}{of} missing on the grid ({share:.1%}, "
                f"{plural(len(lengths), 'gap')}); the "
                f"longest is {plural(int(lengths[worst]), 'row')} after {shown(before)}.",
                line, rows.time, int(lengths.sum()),
                "They are masked; --gaps interpolate:N fills short ones, --gaps error refuses them.",
            )
        )  # fmt: skip
        if lengths[worst] > LONG_HOLE and (rows.prices or panel.grid.calendar) and panel.grid.step_seconds >= 86_400:
            after = y[begin + holes[1::2][worst]]
            found.append(
                Finding(
                    "rename_hole", "warning",
                    f"no rows{of} for {plural(int(lengths[worst]), 'session')} after {shown(before)}: a ticker that "
                    "was renamed, "
                    f"suspended or given to another company (value {y[begin + holes[::2][worst] - 1]:g} before, "
                    f"{after:g} after).",
                    line, rows.time, int(lengths[worst]),
                    "Use the rows after the hole only (--start), or join both names.",
                )
            )  # fmt: skip
    return found


def _line_at(rows: Rows, stamp: np.datetime64) -> int | None:
    at = np.flatnonzero(rows.ds == stamp)
    return rows.where.line(int(rows.positions[at[0]])) if len(at) else None


def _outliers(column: Floats, name: str, rows: Rows, one: NDArray[np.int64]) -> list[Finding]:
    """Values far from the median of their neighbourhood: more than 15 robust deviations and half the usual range."""
    good = np.flatnonzero(np.isfinite(column))
    if len(good) < 20:
        return []
    x = column[good]
    padded = np.pad(x, 3, mode="edge")
    rest = np.abs(x - np.median(np.lib.stride_tricks.sliding_window_view(padded, 7), axis=-1))
    spread = np.subtract(*np.percentile(x, [95, 5]))
    usual = 1.4826 * float(np.median(rest[rest > 0])) if (rest > 0).any() else 0.0
    far = good[(rest > 15 * usual) & (rest > 0.5 * spread)] if usual > 0 else good[:0]
    if not len(far):
        return []
    positions = rows.positions[one[far]]
    cells = ", ".join(f"{column[at]:g}" for at in far[:3])
    return [
        Finding(
            "outliers", "warning" if len(far) <= max(10, len(good) // 200) else "info",
            f"{plural(len(far), 'value')} far from its neighbours: {cells} ({rows.where.lines_of(positions)}); the "
            "middle "
            f"nine tenths lie within {np.percentile(x, 5):g} and {np.percentile(x, 95):g}.",
            rows.where.line(int(positions[0])), name, len(far),
            "Compare with the source; empty the cells that are wrong.",
        )
    ]  # fmt: skip


def _edges(column: Floats, name: str, rows: Rows, one: NDArray[np.int64], panel: Panel) -> list[Finding]:
    """A first or last day (or longer step) that looks like part of one: a total far below its neighbours."""
    good = np.flatnonzero(np.isfinite(column))
    if len(good) < 30 or panel.grid.step_seconds < 86_400 or np.nanmin(column) < 0:
        return []
    found = []
    for at, near, word in ((good[0], good[1:29], "first"), (good[-1], good[-29:-1], "last")):
        if column[at] < 0.6 * np.median(column[near]) and column[at] < np.min(column[near]):
            line = rows.where.line(int(rows.positions[one[at]]))
            found.append(
                Finding(
                    "partial_edge", "warning",
                    f"the {word} value, {column[at]:g}, is below every one of its 28 neighbours (median "
                    f"{np.median(column[near]):g}): perhaps only part of the period.",
                    line, name, 1, "Drop the row if its period is not complete.",
                )
            )  # fmt: skip
    return found


def _last_bar(bars: dict[str, Floats], rows: Rows, one: NDArray[np.int64]) -> list[Finding]:
    volume = bars.get("volume")
    if volume is None or len(volume) < 22 or not np.isfinite(volume[-1]) or not np.nanmedian(volume[-21:-1]) > 0:
        return []
    if volume[-1] >= 0.25 * np.nanmedian(volume[-21:-1]):
        return []
    return [
        Finding(
            "partial_last_bar", "warning",
            f"the last bar has {volume[-1] / np.nanmedian(volume[-21:-1]):.0%} of the usual volume: perhaps an "
            "unfinished session.",
            rows.where.line(int(rows.positions[one[-1]])), rows.prices["volume"], 1,
            "Drop the row if the session was not over.",
        )
    ]  # fmt: skip


def _series(panel: Panel, need: int) -> list[Finding]:
    found = []
    y = panel.column("y")
    for number, name in enumerate(panel.ids):
        column = y[panel.offsets[number] : panel.offsets[number + 1]]
        of = f"series {name}: " if len(panel.ids) > 1 else ""
        known = column[np.isfinite(column)]
        if len(known) < need:
            found.append(
                Finding("too_short", "warning",
                        f"{of}{plural(len(known), 'value')}; a model with this lookback and horizon needs {need}.",
                        None, panel.target, len(known), "Use a shorter --lookback or --horizon, or more data.")
            )  # fmt: skip
        if len(known) > 1 and np.ptp(known) == 0:
            found.append(
                Finding("constant", "warning",
                        f"{of}every value is {known[0]:g}: there is nothing to forecast, and MASE is undefined.",
                        None, panel.target, len(known), "Leave the series out.")
            )  # fmt: skip
    found += [
        Finding("identical", "warning", f"series {left} and {right} are the same, value for value.", None, panel.target,
                1, "Leave one out: scores would count it twice.")
        for left, right in identical_series(panel.frame)
    ]  # fmt: skip
    return found


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
    line = _line_at(rows, first.to_datetime64())
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
