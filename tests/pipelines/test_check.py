"""The check of a file reports every finding with line and column, goes on after a refusal, and is plain JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.check import Report, check_file
from pipelines.errors import UsageError
from pipelines.plausible import SAID
from pipelines.sources.files import read_file


def write(path: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(path, index=False)
    return path


def series(count: int = 200, freq: str = "D") -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"ds": pd.date_range("2023-01-02", periods=count, freq=freq), "y": 50 + rng.normal(0, 1, count)}
    )


def prices(count: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, count)))
    return pd.DataFrame(
        {
            "Date": pd.date_range("2023-01-02", periods=count, freq="B"), "Open": close, "High": close * 1.02,
            "Low": close * 0.98, "Close": close, "Volume": 1000 + rng.integers(0, 100, count),
        }
    )  # fmt: skip


def codes(report: Report) -> set[tuple[str, int | None, str | None]]:
    return {(finding.code, finding.row, finding.column) for finding in report.findings}


def test_a_clean_file_is_fine_and_says_what_it_is(tmp_path: Path) -> None:
    report = check_file(write(tmp_path / "f.csv", series()))
    assert (report.verdict, report.text, report.findings) == ("fine", "fine.", ())
    assert report.facts["rows"] == 200
    assert report.facts["frequency"] == "D"
    assert report.facts["target"] == "y"
    assert "Target: y." in report.notes


def test_the_report_is_one_json_document(tmp_path: Path) -> None:
    rows = prices()
    rows.loc[10, "High"] = 1
    document = json.loads(json.dumps(check_file(write(tmp_path / "f.csv", rows)).to_json(), allow_nan=False))
    assert document["schema"] == 1
    assert document["verdict"] == "usable"
    assert document["findings"][0] == {
        "code": "high_below", "severity": "warning", "message": "High is below Open or Close in 1 row (line 12).",
        "row": 12, "column": "High", "count": 1, "hint": "Compare these rows with the source.",
    }  # fmt: skip


def test_gaps_outliers_and_short_series_are_found_with_their_lines(tmp_path: Path) -> None:
    rows = series(60)
    rows.loc[20, "y"] = 500.0
    report = check_file(write(tmp_path / "f.csv", rows.drop(index=[30, 31])), lookback=60, horizon=5)
    assert codes(report) == {("outliers", 22, "y"), ("gaps", 31, "ds"), ("too_short", None, "y")}
    assert (
        "58 values; a net on windows with lookback 60 and horizon 5 needs 65 or more. Use a shorter --lookback"
        in str(report)
    )


def test_the_default_net_reads_no_lookback(tmp_path: Path) -> None:
    assert check_file(write(tmp_path / "f.csv", series(40))).verdict == "fine"
    report = check_file(write(tmp_path / "f.csv", series(40)), horizon=40)
    assert "40 values; a horizon of 40 needs 41 or more. Use a shorter --horizon, or more data." in str(report)


def test_a_value_far_from_its_neighbours_is_shown_beside_them(tmp_path: Path) -> None:
    rows = series(200)
    rows["y"] = 100 + 10 * np.sin(np.arange(200) / 10) + np.random.default_rng(0).normal(0, 0.1, 200)
    rows.loc[110, "y"] = 109.9  # within the range of all, not of the rows around it
    (found,) = check_file(write(tmp_path / "f.csv", rows)).findings
    assert "1 value far from its neighbours: 109.9 (line 112); the rows around 109.9 lie near 9" in found.message
    assert "tenths" not in found.message


def test_outliers_are_looked_for_in_other_columns_too(tmp_path: Path) -> None:
    rows = series()
    rows["pressure"] = 1000 + np.random.default_rng(1).normal(0, 5, len(rows))
    rows.loc[50, "pressure"] = 7679.0
    report = check_file(write(tmp_path / "f.csv", rows), target="y")
    assert codes(report) == {("outliers", 52, "pressure")}


def test_a_partial_first_and_last_day_are_found(tmp_path: Path) -> None:
    rows = series()
    rows.loc[[0, 199], "y"] = [20.0, 3.0]
    report = check_file(write(tmp_path / "f.csv", rows))
    assert {("partial_edge", 2, "y"), ("partial_edge", 201, "y")} <= codes(report)


def test_a_first_price_below_the_others_is_no_part_of_a_period(tmp_path: Path) -> None:
    rows = prices()[["Date", "Close"]]
    rows.loc[0, "Close"] = 0.55 * rows["Close"].min()
    assert "partial_edge" not in {finding.code for finding in check_file(write(tmp_path / "a.csv", rows)).findings}
    counted = rows.rename(columns={"Close": "visits"})
    assert ("partial_edge", 2, "visits") in codes(check_file(write(tmp_path / "b.csv", counted)))


@pytest.mark.parametrize("seed", range(5))
def test_moves_of_a_share_in_a_month_are_no_splits(tmp_path: Path, seed: int) -> None:
    """Many of them are near 1.5 for 1; on daily rows such a move is far from the usual ones."""
    rng = np.random.default_rng(seed)
    months = pd.date_range("2000-01-01", periods=120, freq="MS")
    months = pd.DataFrame({"date": months, "price": 50 * np.exp(np.cumsum(rng.standard_t(4, 120) * 0.12))})
    assert (months["price"].pct_change().abs() > 0.33).any()
    report = check_file(write(tmp_path / "m.csv", months))
    assert (report.verdict, report.findings) == ("fine", ())
    days = prices()[["Date", "Close"]]
    days.loc[100:, "Close"] /= 1.5
    assert codes(check_file(write(tmp_path / "d.csv", days))) == {("unadjusted_split", 102, "Close")}


def test_a_split_is_claimed_only_near_its_ratio_and_never_of_an_adjusted_price(tmp_path: Path) -> None:
    for name, factor, code in (("Close", 2.0, "unadjusted_split"), ("Close", 1.76, "jump"), ("Adj Close", 2.0, "jump")):
        rows = prices()[["Date", "Close"]].rename(columns={"Close": name})
        rows.loc[100:, name] /= factor
        assert codes(check_file(write(tmp_path / "f.csv", rows))) == {(code, 102, name)}


@pytest.mark.parametrize("rows_after", [1, pytest.param(20, marks=pytest.mark.slow), 100])
@pytest.mark.parametrize("factor", [1.76, 2.0])
def test_a_fit_says_of_a_price_what_the_check_warns_of(tmp_path: Path, factor: float, rows_after: int) -> None:
    rng = np.random.default_rng(1)
    for count, bars in ((200, True), (200, False), (6000, True), (6000, False)):
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.015, count)))
        close[-rows_after:] /= factor
        rows = pd.DataFrame({"Date": pd.date_range("2000-01-03", periods=count, freq="B"), "Close": close})
        if bars:
            rows = rows.assign(Open=close, High=close, Low=close)
        path = write(tmp_path / "f.csv", rows)
        said = [note for note in read_file(path).notes if note.startswith(SAID)]
        warned = [finding for finding in check_file(path).findings if finding.severity == "warning"]
        assert len(said) == len(warned)
        for note, finding in zip(said, warned, strict=True):
            assert note == f"{SAID}line {finding.row}: {finding.message} {finding.hint}"


def test_a_partial_last_bar_is_found_by_its_volume(tmp_path: Path) -> None:
    rows = prices()
    rows.loc[199, "Volume"] = 90
    assert codes(check_file(write(tmp_path / "f.csv", rows))) == {("partial_last_bar", 201, "Volume")}


def test_prices_that_cannot_be_are_an_error_and_the_rest_is_still_checked(tmp_path: Path) -> None:
    rows = prices()
    rows.loc[7, "Close"] = 0.0
    rows.loc[20, "Low"] = 1e6
    report = check_file(write(tmp_path / "f.csv", rows))
    assert report.verdict == "refused"
    assert {("values", 9, "Close"), ("price_not_positive", 9, "Close"), ("low_above", 22, "Low")} <= codes(report)
    assert "--impossible mask" in report.text


def test_a_lone_close_is_checked_as_a_price(tmp_path: Path) -> None:
    rows = prices()[["Date", "Close"]]
    rows.loc[7, "Close"] = -1.0
    report = check_file(write(tmp_path / "a.csv", rows))
    assert report.verdict == "refused"
    assert ("values", 9, "Close") in codes(report)
    assert "--impossible mask" in report.text
    rows = prices()[["Date", "Close"]]
    rows.loc[100:, "Close"] /= 4
    report = check_file(write(tmp_path / "b.csv", rows))
    assert codes(report) == {("unadjusted_split", 102, "Close")}
    assert not any("Look at" in note for note in report.notes)


def test_two_bases_an_unadjusted_split_and_the_basis_are_named(tmp_path: Path) -> None:
    rows = prices()
    rows.loc[:49, "Close"] *= 2
    report = check_file(write(tmp_path / "a.csv", rows))
    assert ("different_bases", 2, "Close") in codes(report)
    assert "different bases" in report.facts["basis"]
    split = prices()
    split["Adj Close"] = split["Close"]
    split.loc[:99, ["Open", "High", "Low", "Close"]] *= 4
    report = check_file(write(tmp_path / "b.csv", split))
    assert codes(report) == {("unadjusted_split", 102, "Close")}
    assert report.facts["basis"] == "Close as traded, Adj Close for splits and dividends"


def test_an_adjusted_close_of_zero_is_no_crash(tmp_path: Path) -> None:
    rows = prices().assign(**{"Adj Close": 0.0})
    rows.loc[:99, ["Open", "High", "Low", "Close"]] *= 4
    report = check_file(write(tmp_path / "f.csv", rows))
    assert ("price_not_positive", 2, "Adj Close") in codes(report)
    assert ("jump", 102, "Close") in codes(report)


def test_several_refusals_are_all_reported(tmp_path: Path) -> None:
    rows = series(100, "h")
    rows = pd.concat([rows.iloc[:50], rows.iloc[49:50].assign(y=1.0), rows.iloc[50:]])
    rows["ds"] = rows["ds"].where(np.arange(len(rows)) != 80, rows["ds"] + pd.Timedelta("7min"))
    report = check_file(write(tmp_path / "f.csv", rows))
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert [(finding.code, finding.row) for finding in errors] == [("time_stamps", 52), ("time_stamps", 82)]
    assert "irregular" in errors[1].message
    assert report.facts["rows"] == 100


def test_a_file_with_several_values_is_usable_once_a_target_is_named(tmp_path: Path) -> None:
    rows = series().rename(columns={"y": "a"}).assign(b=lambda frame: frame["a"] * 2)
    report = check_file(write(tmp_path / "f.csv", rows))
    assert report.verdict == "usable"
    assert codes(report) == {("choose_target", None, None)}


def test_constant_and_identical_series_are_found(tmp_path: Path) -> None:
    rows = pd.concat([series().assign(id=name) for name in "ab"] + [series().assign(id="c", y=1.0)])
    report = check_file(write(tmp_path / "f.csv", rows), id="id")
    assert {finding.code for finding in report.findings} == {"constant", "identical"}
    assert any("a and b are the same" in finding.message for finding in report.findings)


@pytest.mark.parametrize(("shift", "severity"), [(0.0, "warning"), (1.0, "error")])
def test_overlap_of_a_training_and_a_test_file_is_found(tmp_path: Path, shift: float, severity: str) -> None:
    rows = series()
    train, test = rows.iloc[:150], rows.iloc[148:].assign(y=lambda frame: frame["y"] + shift)
    report = check_file(write(tmp_path / "train.csv", train), other=write(tmp_path / "test.csv", test))
    (found,) = report.findings
    assert (found.code, found.severity, found.row, found.count) == ("overlap", severity, 2, 2)
    assert "test.csv" in found.message


def test_what_is_no_table_is_a_refusal_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("<html><title>Sign in</title></html>")
    report = check_file(tmp_path / "f.csv")
    assert report.verdict == "refused"
    assert "HTML page titled 'Sign in'" in report.text
    assert codes(report) == {("not_a_table", None, None)}


def test_a_rename_hole_is_named_with_the_prices_on_both_sides(tmp_path: Path) -> None:
    rows = prices(300).drop(index=range(100, 200))
    report = check_file(write(tmp_path / "f.csv", rows))
    assert ("rename_hole", 101, "Date") in codes(report)
    assert any("no rows for 100 sessions" in finding.message for finding in report.findings)


def test_a_wrong_policy_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gaps 'fill'"):
        check_file(write(tmp_path / "f.csv", series()), gaps="fill")


def test_impossible_prices_beside_the_target_are_no_refusal(tmp_path: Path) -> None:
    rows = prices()
    rows.loc[20, "Open"] = -5.0
    report = check_file(write(tmp_path / "f.csv", rows))
    assert report.verdict == "usable"
    assert ("price_not_positive", 22, "Open") in codes(report)
    assert check_file(write(tmp_path / "f.csv", rows), target="Open").verdict == "refused"


def test_two_columns_of_one_name_are_numbered_here_too(tmp_path: Path) -> None:
    rows = "\n".join(f"2024-01-{day:02d},{day},{day * 2}" for day in range(1, 29))
    (tmp_path / "f.csv").write_text(f"ds,y,y\n{rows}")
    report = check_file(tmp_path / "f.csv")
    assert report.verdict == "usable"
    assert "y (1), y (2)" in report.findings[0].message


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"ds,y\n2024-01-01,1\n" + b"x" * (9 << 20), 3),
        (b'ds,y\n2024-01-01,1\n"2024-01-02,2\n2024-01-03,3\n', 3),
        (b"ds,y\n2024-01-01,\x81\x8d\n", 2),
    ],
)
def test_what_stops_the_reading_of_text_has_a_line(tmp_path: Path, content: bytes, line: int) -> None:
    (tmp_path / "f.csv").write_bytes(content)
    report = check_file(tmp_path / "f.csv")
    assert [(finding.code, finding.row) for finding in report.findings] == [("not_a_table", line)]
    assert f"f.csv, line {line}" in report.text


def test_a_column_without_any_value_is_named(tmp_path: Path) -> None:
    report = check_file(write(tmp_path / "f.csv", series().assign(y=np.nan)))
    assert (report.findings[0].column, "no value in any row of 'y'" in report.text) == ("y", True)


def test_a_jittered_clock_is_refused_but_leaves_no_gaps_in_the_facts(tmp_path: Path) -> None:
    rows = series(60)
    rows["ds"] = pd.date_range("2024-01-01", periods=60, freq="h") + pd.to_timedelta([4, -3, 1] * 20, unit="s")
    report = check_file(write(tmp_path / "f.csv", rows))
    assert report.verdict == "refused" and "--irregular nearest --freq h" in report.text
    assert report.facts["missing"] == 0
