"""Reading files: every way a csv can be wrong is read in one documented way, or refused with file, line, column, "
"remedy."""

from __future__ import annotations

import gzip
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.check import check_file
from pipelines.clean import from_frame
from pipelines.errors import DataError, FileFormatError, TimeError, ToolkitError, UsageError, ValueRangeError
from pipelines.panel import Panel
from pipelines.sources.files import read_csv, read_file, read_parquet

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes lines (or bytes) to a file and returns its path."""

    def put(
        *lines: str, data: bytes | None = None, name: str = "f.csv", end: str = "\n", encoding: str = "utf-8"
    ) -> Path:
        path = tmp_path / name
        path.write_bytes(data if data is not None else (end.join(lines) + end).encode(encoding))
        return path

    return put


def days(count: int, start: str = "2024-01-01") -> list[str]:
    return [f"{stamp:%Y-%m-%d}" for stamp in pd.date_range(start, periods=count)]


def values(panel: Panel) -> list[float]:
    return [float(value) for value in panel.column("y")]


def said(panel: Panel, words: str) -> bool:
    return any(words in note for note in panel.notes)


def refuses(kind: type[Exception], *words: str) -> pytest.RaisesExc[Exception]:
    """Expects a refusal that holds all the words and a remedy."""

    def fits(error: Exception) -> bool:
        return bool(getattr(error, "hint", None)) and all(word in str(error) for word in words)

    return pytest.raises(kind, check=fits)


# -- numbers --------------------------------------------------------------------------------------------


def test_western_thousands_are_read_and_said(write: Write) -> None:
    panel = read_csv(
        write("ds,y,z", '2024-01-01,"1,234.5",1', '2024-01-02,"1,234,567",2', "2024-01-03,8,3"), target="y"
    )
    assert values(panel) == [1234.5, 1234567.0, 8.0]
    assert said(panel, "y: thousands separators removed in 2 rows")


def test_indian_thousands_are_read(write: Write) -> None:
    panel = read_csv(write("ds,y", '2024-01-01,"12,34,567.50"', '2024-01-02,"1,00,000.25"', '2024-01-03,"98,765.00"'))
    assert values(panel) == [1234567.5, 100000.25, 98765.0]


def test_a_decimal_comma_with_thousands_points_is_read_and_said(write: Write) -> None:
    panel = read_csv(
        write("ds;y;z", "2024-01-01;1.234,5;1.000", "2024-01-02;2,25;2.000", "2024-01-03;3;3.500"), target=["y", "z"]
    )
    assert values(panel.select(["y"])) == [1234.5, 2.25, 3.0]
    assert values(panel.select(["z"])) == [1000.0, 2000.0, 3500.0]
    assert said(panel, "decimal comma")


@pytest.mark.parametrize("mark", [" ", "\u00a0", "\u202f", "'", "’"])
def test_blanks_and_apostrophes_are_thousands_marks(write: Write, mark: str) -> None:
    panel = read_csv(write("ds;y", f"2024-01-01;1{mark}234.5", f"2024-01-02;1{mark}234{mark}567", "2024-01-03;7"))
    assert values(panel) == [1234.5, 1234567.0, 7.0]


def test_a_comma_that_can_be_either_is_refused_and_the_user_can_say(write: Write) -> None:
    path = write("ds;y", "2024-01-01;1,234", "2024-01-02;2,345", "2024-01-03;3,456")
    with refuses(FileFormatError, "f.csv, line 2, column 'y'", "1234", "1.234", "--thousands"):
        read_csv(path)
    assert values(read_csv(path, thousands=",")) == [1234.0, 2345.0, 3456.0]
    assert values(read_csv(path, decimal=",")) == [1.234, 2.345, 3.456]


def test_two_decimal_marks_in_one_file_are_refused(write: Write) -> None:
    path = write("ds;y;z", "2024-01-01;1,5;2.5", "2024-01-02;1,7;2.7")
    with refuses(FileFormatError, "line 2", "'1,5'", "'2.5'", "--decimal"):
        read_csv(path, target="y")


def test_currency_percent_suffix_and_accounting_negatives(write: Write) -> None:
    panel = read_csv(
        write("ds;a;b;c;d", "2024-01-01;$1,234.50;5%;1.5M;(12.5)", "2024-01-02;$2.25;6.5%;900K;3.0"),
        target=["a", "b", "c", "d"],
    )
    assert [values(panel.select([name]))[0] for name in "abcd"] == [1234.5, 5.0, 1_500_000.0, -12.5]
    assert said(panel, "values are in percent")


@pytest.mark.parametrize("word", ["", "NA", "?", "N/A", "-", "null", "#N/A", "None"])
def test_words_for_missing_are_missing(write: Write, word: str) -> None:
    panel = read_csv(write("ds,y", "2024-01-01,1", f"2024-01-02,{word}", "2024-01-03,3"))
    assert np.array_equal(panel.column("y"), [1, np.nan, 3], equal_nan=True)
    assert word == "" or said(panel, repr(word))


def test_a_code_for_missing_is_masked_and_said_with_its_lines(write: Write) -> None:
    cells = ["21.5", "-9999", "20.1", "19.8", "-9999", "20.4"]
    panel = read_csv(write("ds,y", *map(",".join, zip(days(6), cells, strict=True))))
    assert np.isnan(panel.column("y")).tolist() == [False, True, False, False, True, False]
    assert said(panel, "y: -9999 read as missing in 2 rows (lines 3 and 6)")


def test_a_large_negative_value_among_its_like_is_kept(write: Write) -> None:
    cells = ["-9000", "-9999", "4000", "-8000", "100", "-9500"]
    panel = read_csv(write("ds,y", *map(",".join, zip(days(6), cells, strict=True))))
    assert values(panel)[1] == -9999.0


@pytest.mark.parametrize("cell", ["inf", "-inf", "Infinity"])
def test_an_infinite_target_is_refused(write: Write, cell: str) -> None:
    path = write("ds,y", "2024-01-01,1", f"2024-01-02,{cell}", "2024-01-03,3")
    with refuses(ValueRangeError, "f.csv, line 3, column 'y'", "infinite", "empty it"):
        read_csv(path)


def test_nan_in_the_target_is_a_masked_row(write: Write) -> None:
    panel = read_csv(write("ds,y", "2024-01-01,1", "2024-01-02,NaN", "2024-01-03,3"))
    assert panel.missing == 1


def test_a_cell_that_is_no_number_is_refused_with_its_place(write: Write) -> None:
    path = write("ds,y", "2024-01-01,1", "2024-01-02,twelve", *(f"{day},3" for day in days(9, "2024-01-03")))
    with refuses(ValueRangeError, "f.csv, line 3, column 'y'", "'twelve'"):
        read_csv(path)


def test_true_and_false_become_one_and_zero(write: Write) -> None:
    panel = read_csv(write("ds,y,open_day", "2024-01-01,1,TRUE", "2024-01-02,2,FALSE"), target="y", future=["open_day"])
    assert panel.column("open_day").tolist() == [1.0, 0.0]


# -- text -----------------------------------------------------------------------------------------------


def test_bom_semicolons_and_crlf_are_read(write: Write) -> None:
    path = write(data="\ufeffds;y\r\n2024-01-01;1.5\r\n2024-01-02;2.5\r\n".encode())
    assert values(read_csv(path)) == [1.5, 2.5]


@pytest.mark.parametrize("sep", [",", ";", "\t", "|", " "])
def test_any_separator_is_found(write: Write, sep: str) -> None:
    assert values(read_csv(write(f"ds{sep}y", f"2024-01-01{sep}1", f"2024-01-02{sep}2"))) == [1.0, 2.0]


def test_a_header_that_is_not_utf8_is_read_as_windows_1252_and_said(write: Write) -> None:
    path = write("Datum;Außentemperatur", "2024-01-01;1.5", "2024-01-02;2.5", encoding="cp1252")
    panel = read_csv(path)
    assert panel.target == "Außentemperatur"
    assert said(panel, "line 1: byte 0xdf is not UTF-8; read as Windows-1252")


def test_a_file_in_no_encoding_is_refused(write: Write) -> None:
    path = write(data=b"ds,y\n2024-01-01,1\n2024-01-02,\x81\x8d\n")
    with refuses(FileFormatError, "f.csv, line 3", "0x81", "--encoding"):
        read_csv(path)


def test_utf16_with_bom_is_read(write: Write) -> None:
    assert values(read_csv(write("ds,y", "2024-01-01,1", "2024-01-02,2", encoding="utf-16"))) == [1.0, 2.0]


def test_padded_names_are_stripped_and_said(write: Write) -> None:
    panel = read_csv(write(" ds , value ", "2024-01-01,1", "2024-01-02,2"))
    assert panel.target == "value"
    assert said(panel, "Blanks around column names")


def test_equal_columns_of_one_name_are_one_column(write: Write) -> None:
    panel = read_csv(write("ds,y,y", "2024-01-01,1,1", "2024-01-02,2,2"))
    assert values(panel) == [1.0, 2.0]
    assert said(panel, "'y' occurs twice with equal cells")


def test_differing_columns_of_one_name_are_refused_until_one_is_named(write: Write) -> None:
    path = write("ds,y,y", "2024-01-01,1,5", "2024-01-02,2,6")
    with refuses(UsageError, "no column 'y'", "y (1)", "y (2)"):
        read_csv(path, target="y")
    assert values(read_csv(path, target="y (2)")) == [5.0, 6.0]


def test_ten_digits_that_are_a_date_and_an_hour_are_no_seconds(write: Write) -> None:
    panel = read_csv(write("MESS_DATUM,t", *(f"20240101{hour:02d},{hour}.5" for hour in range(24))))
    assert panel.grid.freq == "h" and str(panel.start) == "2024-01-01 00:00:00"
    path = write("when,t", *(f"{1_700_000_000 + 3600 * hour},{hour}.5" for hour in range(24)))
    seconds = read_csv(path, time="when")
    assert panel.grid.freq == seconds.grid.freq and str(seconds.start)[:4] == "2023"


def test_a_point_that_can_be_either_is_refused_and_the_user_can_say(write: Write) -> None:
    """950 beside 1.012: a writer of three decimals would have put 950.000."""
    path = write("datum;last", "2024-01-01;950", "2024-01-02;1.012", "2024-01-03;1.103")
    with refuses(FileFormatError, "line 3, column 'last'", "'1.012' can be read as 1012 or as 1.012", "--thousands ."):
        read_csv(path)
    assert values(read_csv(path, thousands=".")) == [950.0, 1012.0, 1103.0]
    assert values(read_csv(path, decimal=".")) == [950.0, 1.012, 1.103]
    plain = write("ds,y", "2024-01-01,950", "2024-01-02,1.012", "2024-01-03,1.1")
    assert values(read_csv(plain)) == [950.0, 1.012, 1.1]
    large = write("ds,y", "2024-01-01,1500", "2024-01-02,12.125", "2024-01-03,1499")
    assert values(read_csv(large)) == [1500.0, 12.125, 1499.0]  # 1500 would be 1.500
    beside = write("ds,y,w", "2024-01-01,1,7", "2024-01-02,2,1.125", "2024-01-03,3,9")
    assert values(read_csv(beside, target="y")) == [1.0, 2.0, 3.0]
    frame = pd.DataFrame({"ds": ["2024-01-01", "2024-01-02"], "y": ["950", "1.012"]})
    with refuses(FileFormatError, "thousands="):
        from_frame(frame)
    assert values(from_frame(frame, thousands=".")) == [950.0, 1012.0]


def test_columns_called_by_numbers_are_a_header_beside_one_with_a_name(write: Write) -> None:
    panel = read_csv(write("date,0,1,OT", "2024-01-01,1,2,3", "2024-01-02,4,5,6"), target="1")
    assert values(panel) == [2.0, 5.0] and not said(panel, "no header")
    assert values(read_csv(write("2024-01-01,NA,3", "2024-01-02,1,4"), target="c3")) == [3.0, 4.0]
    for first in ("2024-01-01,ok,1.5", "20240101,ok,1.5"):
        path = write(first, first.replace("01,ok,1.5", "02,3,2.5"))
        assert values(read_csv(path, target="c3")) == [1.5, 2.5]  # a date above a date: no header


def test_no_header(write: Write) -> None:
    panel = read_csv(write("2024-01-01,1", "2024-01-02,2"))
    assert panel.target == "c2"
    assert said(panel, "no header")


def test_no_time_column_is_refused_and_rows_can_be_counted_from_a_date(write: Write) -> None:
    path = write("a,b", "1,2", "3,4", "5,6")
    with refuses(TimeError, "f.csv: no column holds dates", "a, b", "--time", "--freq"):
        read_csv(path, target="a")
    for start, freq, calendar, want in (
        ("2024-01-31", "ME", None, ["2024-01-31", "2024-02-29", "2024-03-31"]),
        ("2024-01-01", "h", None, ["2024-01-01 00:00", "2024-01-01 01:00", "2024-01-01 02:00"]),
        ("2024-01-01", "15min", None, ["2024-01-01 00:00", "2024-01-01 00:15", "2024-01-01 00:30"]),
        ("2024-01-05", "B", None, ["2024-01-05", "2024-01-08", "2024-01-09"]),
        ("2024-01-01", "D", "XNYS", ["2024-01-02", "2024-01-03", "2024-01-04"]),
    ):
        panel = read_csv(path, target="a", time=start, freq=freq, calendar=calendar)
        assert list(panel.ds) == [pd.Timestamp(stamp).to_datetime64() for stamp in want], freq


def test_an_unknown_column_is_refused_with_the_nearest_name(write: Write) -> None:
    path = write("ds,temperature,power", "2024-01-01,1,2", "2024-01-02,2,3")
    with refuses(UsageError, "no column 'temprature' for the target", "Did you mean 'temperature'?", "Columns:"):
        read_csv(path, target="temprature")
    with refuses(UsageError, "no column 'when' for the time"):
        read_csv(path, target="power", time="when")


@pytest.mark.parametrize(
    ("head", "first", "second"),
    [
        ("year,month,day,y", "2024,1,31,1", "2024,2,1,2"),
        ("Year,Month,Day,Hour,y", "2024,1,31,23,1", "2024,2,1,0,2"),
        ("Date,Time,y", "2024-01-31,23:00,1", "2024-02-01,00:00,2"),
        ("date,time,y", "31/01/2024,23:00:00,1", "01/02/2024,00:00:00,2"),
    ],
)
def test_a_date_split_over_columns_is_put_together(write: Write, head: str, first: str, second: str) -> None:
    panel = read_csv(
        write(head, first, second), freq="D" if "Day" not in head and "Time" not in head and "time" not in head else "h"
    )
    assert str(panel.start)[:10] == "2024-01-31"
    assert str(panel.end)[:10] == "2024-02-01"
    assert said(panel, "put together")


def test_the_two_row_header_of_yfinance_is_a_panel_of_tickers(write: Write) -> None:
    index = pd.date_range("2024-01-02", periods=3, name="Date")
    columns = pd.MultiIndex.from_product(
        [["Close", "Open", "High", "Low", "Volume"], ["AAPL", "MSFT"]], names=["Price", "Ticker"]
    )
    frame = pd.DataFrame(np.arange(30.0).reshape(3, 10) + 10, index=index, columns=columns)
    frame["High"] += 50
    frame["Low"] = 1.0
    path = write("", name="two.csv")
    frame.to_csv(path)
    panel = read_csv(path, freq="B")
    assert panel.ids == ("AAPL", "MSFT")
    assert values(panel.select(["MSFT"])) == frame["Close", "MSFT"].tolist()
    assert said(panel, "header of yfinance.download")


def test_the_one_ticker_header_of_yfinance_keeps_line_numbers(write: Write) -> None:
    path = write(
        "Price,Close,High,Low,Open,Volume", "Ticker,SPY,SPY,SPY,SPY,SPY", "Date,,,,,", "2024-01-02,5,6,4,5,10",
        "2024-01-03,x,6,4,5,10", "2024-01-04,5,6,4,5,10", *(f"{day},5,6,4,5,10" for day in days(9, "2024-01-05")),
    )  # fmt: skip
    with refuses(ValueRangeError, "f.csv, line 5, column 'Close'"):
        read_csv(path)


def test_a_junk_first_row_is_left_out_and_said(write: Write) -> None:
    panel = read_csv(write("date,close", "11:34,270.49", "2018/10/12,258.78", "2018/10/11,252.23", "2018/10/10,256.88"))
    assert len(panel) == 3
    assert said(panel, "Line 2 left out: '11:34'")


def test_titles_above_and_totals_below_the_table_are_left_out_and_said(write: Write) -> None:
    panel = read_csv(
        write("# exported by X", "Sales report", "ds,y", "2024-01-01,1", "2024-01-02,2", "2024-01-03,4", "Total,7")
    )
    assert values(panel) == [1.0, 2.0, 4.0]
    assert said(panel, "2 lines above the table left out")
    assert said(panel, "Line 7 left out: 'Total'")


def test_a_row_with_too_many_cells_is_refused(write: Write) -> None:
    path = write("ds,y", "2024-01-01,1", "2024-01-02,1,5", "2024-01-03,2")
    with refuses(FileFormatError, "f.csv, line 3", "3 cells, but 2 columns", "--sep"):
        read_csv(path)


def test_a_repeated_header_is_left_out_and_said(write: Write) -> None:
    panel = read_csv(write("ds,y", "2024-01-01,1", "ds,y", "2024-01-02,2"))
    assert values(panel) == [1.0, 2.0]
    assert said(panel, "line 3: the header again")


def test_an_open_quote_is_refused(write: Write) -> None:
    path = write("ds,y", "2024-01-01,1", '2024-01-02,"2', "2024-01-03,3")
    with refuses(FileFormatError, "f.csv, line 3", "never closed"):
        read_csv(path)


# -- what is no table -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"ds,y\n", "a header and no rows"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS pointer"),
        (
            b"<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>",
            "an HTML page titled '404 Not Found'",
        ),
        (b'{"a": [1, 2]}', "is JSON"),
        (b"\x00\x01\x02binary", "is binary"),
        (b"%PDF-1.7 ...", "is a PDF"),
    ],
)
def test_what_is_no_table_is_named(write: Write, data: bytes, words: str) -> None:
    with refuses(FileFormatError, "f.csv", words):
        read_csv(write(data=data))


def test_a_folder_is_refused_and_its_files_named(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text("ds,y\n")
    with refuses(FileFormatError, "is a folder", "prices.csv"):
        read_csv(tmp_path)


def test_a_missing_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text("ds,y\n")
    with refuses(FileFormatError, "does not exist", "Did you mean 'prices.csv'?"):
        read_csv(tmp_path / "price.csv")


def test_a_line_of_two_gigabytes_is_given_up_early(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    with path.open("wb") as file:
        file.write(b"ds,y\n" + b"1" * (10 << 20))
        file.truncate(2 << 30)  # sparse: takes no room on the disk
    with refuses(FileFormatError, "long.csv, line 2", "longer than 8 MiB"):
        read_csv(path)


def test_gzip_and_zip_are_opened_and_an_archive_of_two_is_refused(write: Write, tmp_path: Path) -> None:
    text = b"ds,y\n2024-01-01,1\n2024-01-02,2\n"
    assert values(read_csv(write(data=gzip.compress(text), name="f.csv.gz"))) == [1.0, 2.0]
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.writestr("a.csv", text)
    assert values(read_csv(tmp_path / "one.zip")) == [1.0, 2.0]
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", text)
        archive.writestr("b.csv", text)
    with refuses(FileFormatError, "two.zip holds 2 files", "a.csv"):
        read_csv(tmp_path / "two.zip")
    with refuses(FileFormatError, "damaged archive"):
        read_csv(write(data=gzip.compress(text)[:-9], name="cut.csv.gz"))


# -- parquet, several files -----------------------------------------------------------------------------


def test_parquet_and_csv_of_one_frame_give_one_panel(tmp_path: Path) -> None:
    frame = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=5, freq="h"), "y": [1.0, 2.0, 3.0, 4.0, 5.0]})
    frame.to_parquet(tmp_path / "f.parquet")
    frame.to_csv(tmp_path / "f.csv", index=False)
    one, two = read_parquet(tmp_path / "f.parquet"), read_file(tmp_path / "f.csv")
    assert one.fingerprint() == two.fingerprint() == read_file(tmp_path / "f.parquet").fingerprint()
    with refuses(FileFormatError, "is a parquet file"):
        read_csv(tmp_path / "f.parquet")
    frame.assign(y=np.inf).to_parquet(tmp_path / "inf.parquet")
    with refuses(ValueRangeError, "inf.parquet, row 1, column 'y'"):
        read_parquet(tmp_path / "inf.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing PAR1")
    with refuses(FileFormatError, "no readable parquet file"):
        read_file(tmp_path / "bad.parquet")


def test_several_files_are_one_panel_named_by_file_or_by_id(write: Write) -> None:
    one = write("ds,y", "2024-01-01,1", "2024-01-02,2", name="a.csv")
    two = write("ds,y", "2024-01-01,3", "2024-01-02,4", name="b.csv")
    assert read_csv([one, two]).ids == ("a", "b")
    bad = write("ds,y", "2024-01-01,3", "2024-01-02,x", "2024-01-03,4", "2024-01-04,4", "2024-01-05,4", name="c.csv")
    with refuses(ValueRangeError, "c.csv, line 3, column 'y'"):
        read_csv([one, bad])


def test_files_that_contradict_each_other_are_refused_with_both_lines(write: Write) -> None:
    one = write("symbol,ds,y", "A,2024-01-01,1", "A,2024-01-02,2", "B,2024-01-01,1", "B,2024-01-02,1", name="train.csv")
    two = write("symbol,ds,y", "A,2024-01-02,9", "A,2024-01-03,9", "B,2024-01-03,1", "B,2024-01-04,2", name="test.csv")
    with refuses(TimeError, "test.csv, line 2", "train.csv, line 3", "different values"):
        read_csv([one, two])


# -- long and wide --------------------------------------------------------------------------------------


def test_a_long_file_with_a_common_id_is_a_panel_and_said(write: Write) -> None:
    panel = read_csv(write("ticker,date,price", "A,2024-01-01,1", "A,2024-01-02,2", "B,2024-01-01,3", "B,2024-01-02,4"))
    assert panel.ids == ("A", "B")
    assert said(panel, "Series: column 'ticker' (2 values)")


def test_a_long_file_without_an_id_chosen_is_refused_and_the_column_named(write: Write) -> None:
    path = write("place,date,y", "N,2024-01-01,1", "N,2024-01-02,2", "S,2024-01-01,3", "S,2024-01-02,4")
    with refuses(TimeError, "f.csv, line 4", "2024-01-01", "--id 'place'"):
        read_csv(path)
    assert read_csv(path, id="place").ids == ("N", "S")


def test_wide_columns_become_series_and_their_padding_is_trimmed(write: Write) -> None:
    panel = read_csv(
        write("ds,a,b", "2024-01-01,1,", "2024-01-02,2,5", "2024-01-03,,6", "2024-01-04,4,7"), target=["a", "b"]
    )
    assert panel.ids == ("a", "b")
    assert panel.lengths.tolist() == [4, 3]
    assert said(panel, "1 leading row without a target left out")


def test_one_series_per_row_padded_to_the_right(write: Write) -> None:
    head = ",".join(["V1", *(f"V{n}" for n in range(2, 32))])
    rows = [",".join(["H1", *map(str, range(30))]), ",".join(["H2", *map(str, range(20)), *[""] * 10])]
    path = write(head, *rows)
    with refuses(FileFormatError, "one series per row", "--time"):
        read_csv(path)
    panel = read_csv(path, time="2024-01-01", freq="h")
    assert panel.ids == ("H1", "H2")
    assert panel.lengths.tolist() == [30, 20]


def test_a_price_file_forecasts_the_close_and_says_so(write: Write) -> None:
    rows = [f"{day},10,11,9,10.5,10.4,100" for day in days(5)]
    panel = read_csv(write("Date,Open,High,Low,Close,Adj Close,Volume", *rows))
    assert panel.target == "Close"
    assert said(panel, "Target: Close (a price file")


def test_the_target_must_be_chosen_among_several(write: Write) -> None:
    with refuses(UsageError, "2 columns could be the target: a, b", "--target"):
        read_csv(write("ds,a,b", "2024-01-01,1,2", "2024-01-02,2,3"))


def test_every_refusal_of_a_row_carries_row_and_column(write: Write) -> None:
    path = write("ds,y", "2024-01-01,1", "2024-01-02,inf")
    with pytest.raises(DataError) as caught:
        read_csv(path)
    assert (caught.value.row, caught.value.column) == (3, "y")


_BASES = (
    "ds,y\n" + "\n".join(f"{day},{n}.5" for n, day in enumerate(days(12))),
    "Date;Open;High;Low;Close;Adj Close;Volume\r\n"
    + "\r\n".join(f"{n}/{n}/2024;10;12;9;1{n}.5;1{n}.2;1,234,5{n:02d}" for n in range(1, 10)),
    "symbol,time,price\n" + "\n".join(f"{name},2024-01-01 0{n}:00:00+01:00,{n}" for name in "AB" for n in range(1, 9)),
)
_SCRAPS = tuple(
    b',|;|\n|"|\x00|\xff|NA|-9999|inf|1e400|2024-01-01|1/2/2024|0|-| |\xef\xbb\xbf|\t|1,234'
    b"|1.234,5|999999999999|Z|+05:30|(|%|#|1700-01-01|9999-12-31".split(b"|")
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(base=st.sampled_from(_BASES), seed=st.integers(0, 2**32 - 1))
def test_a_damaged_file_is_read_or_refused_with_a_remedy_and_never_crashes(
    tmp_path: Path, base: str, seed: int
) -> None:
    rng = random.Random(seed)
    data = bytearray(base.encode())
    for _ in range(rng.choice([1, 2, 4, 8])):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.choice([0, 0, 3, 8])] = rng.choice((*_SCRAPS, b""))
    path = tmp_path / "f.csv"
    path.write_bytes(bytes(data))
    refusal: ToolkitError | None = None
    try:
        read_csv(path)
    except ToolkitError as error:
        refusal = error
    assert refusal is None or refusal.hint
    assert check_file(path).verdict in ("fine", "usable", "refused")


def test_a_column_without_any_value_is_passed_over_and_said(tmp_path: Path) -> None:
    """Never in silence: the person may have meant it."""
    rows = "\n".join(f"2024-01-{day:02d},,{day}" for day in range(1, 29))
    (tmp_path / "p.csv").write_text(f"when,power,temperature\n{rows}\n")
    panel = read_csv(tmp_path / "p.csv")
    assert panel.target == "temperature"
    assert any("power: no value at all" in note for note in panel.notes)


def test_what_was_moved_is_kept_in_the_notes_of_the_panel(tmp_path: Path) -> None:
    file = tmp_path / "logger.csv"
    clock = pd.date_range("2024-01-01", periods=30, freq="h") + pd.to_timedelta([4, -3, 0] * 10, unit="s")
    pd.DataFrame({"stamp": clock, "power": range(30)}).to_csv(file, index=False)
    panel = read_csv(file, irregular="nearest")
    assert said(panel, "20 stamps moved to the nearest stamp of the grid h") and panel.missing == 0
