"""Every real file beside the checkout is read as one command says, or refused with cause and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.check import check_file
from pipelines.errors import DataError, UsageError
from pipelines.sources.files import read_file
from tests.data_table import CASES, DATA, Case, outcome

pytestmark = pytest.mark.shared


def _marked(case: Case) -> object:
    """The case by its name; a large file is slow."""
    return pytest.param(case, id=case.name, marks=pytest.mark.slow if case.rows > 300_000 else ())


@pytest.mark.parametrize("case", [_marked(case) for case in CASES])
def test_a_real_file_is_read_or_refused_with_cause_and_remedy(case: Case) -> None:
    if case.refused:
        with pytest.raises((DataError, UsageError)) as caught:
            read_file(case.path, **case.options())
        assert case.path.name in str(caught.value)
        assert caught.value.hint
        for words in case.refused:
            assert words in str(caught.value)
        return
    panel = read_file(case.path, **case.options())
    assert (len(panel), str(panel.grid), panel.missing) == (case.rows, case.grid, case.missing)


@pytest.mark.slow
@pytest.mark.parametrize("case", [_marked(case) for case in CASES])
def test_a_real_file_fits_end_to_end_or_is_refused(case: Case, tmp_path: Path) -> None:
    """The whole command a person types, not only the reading: ``make data-table`` prints what this sees."""
    code, text = outcome(case, tmp_path)
    if case.refused:
        assert code in (2, 3), text
        assert all(words in text for words in case.refused)
    elif code:
        # the few that are read and cannot be learned from are too short, and say so
        assert code == 3, text
        assert "with a value; horizon" in text or "needs at least" in text, text
    else:
        assert text.startswith(f"{case.rows} rows, {case.grid}, {case.missing} missing")


def test_the_table_names_every_file() -> None:
    found = {
        str(path.relative_to(DATA))
        for top in ("sensors", "stocks")
        for path in (DATA / top).rglob("*")
        if path.is_file()
    }
    assert found == {case.file for case in CASES}


@pytest.mark.parametrize(
    ("file", "options", "verdict", "expected"),
    [
        ("stocks/google_course/Google_Stock_Price_Train.csv", {}, "refused", [("different_bases", 2, "Close", 560)]),
        (
            "stocks/bokeh_AAPL.csv",
            {},
            "usable",
            [("unadjusted_split", 80, "Close", 1), ("unadjusted_split", 1256, "Close", 1)],
        ),
        (
            "stocks/yf_repair/SSW-JO-1d-100x-error.csv",
            {},
            "usable",
            [("unit_jump", 8, "Close", 1), ("low_above", 17, "Low", 1)],
        ),
        ("stocks/mpf_yahoofinance-SPY-20080101-20180101.csv", {}, "usable", [("low_above", 1808, "Low", 2)]),
        ("stocks/lean/daily/qqq.zip", {"target": ["c5"]}, "usable", [("rename_hole", 1441, "c1", 1588)]),
        ("stocks/sp5yr/APTV_data.csv", {"lookback": 60}, "usable", [("too_short", None, "close", 44)]),
        ("stocks/mpf_yahoofinance-AAPL-20040819-20180120.csv", {}, "fine", []),
        ("sensors/nab/art_flatline.csv", {}, "usable", [("constant", None, "value", 4032)]),
        ("sensors/nab/machine_temperature_system_failure.csv", {}, "refused", [("time_stamps", 10151, "timestamp", 1)]),
        (
            "sensors/DailyDelhiClimateTrain.csv",
            {"target": ["meantemp"]},
            "usable",
            [("outliers", 1184, "meanpressure", 9)],
        ),
        ("stocks/vega_stocks_long.csv", {}, "fine", []),
        (
            "sensors/DailyDelhiClimateTest.csv",
            {"target": ["meantemp"]},
            "usable",
            [("outliers", 2, "meanpressure", 1)],
        ),
        ("sensors/daily-min-temperatures.csv", {}, "fine", [("gaps", 1461, "Date", 2)]),
    ],
)
def test_the_check_finds_what_the_manifest_says(
    file: str, options: dict[str, Any], verdict: str, expected: list[tuple[str, int | None, str, int]]
) -> None:
    report = check_file(DATA / file, **options)
    assert report.verdict == verdict
    found = {(finding.code, finding.row, finding.column, finding.count) for finding in report.findings}
    assert set(expected) <= found


def test_the_check_finds_the_row_that_train_and_test_share() -> None:
    report = check_file(
        DATA / "sensors/DailyDelhiClimateTrain.csv", target="meantemp", other=DATA / "sensors/DailyDelhiClimateTest.csv"
    )
    assert report.verdict == "refused"
    assert ("overlap", 2) in {(finding.code, finding.row) for finding in report.findings}
