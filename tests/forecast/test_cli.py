"""The command line as a person uses it: exit codes, one JSON document, no traceback, nothing left behind."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import pipelines

QUICK = ["--horizon", "2", "--epochs", "2", "--set", "model.hidden=8", "--threads", "1"]


def run(*args: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "forecast", *args], cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "COLUMNS": "160", **(env or {})},
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the checkout with a sensor file and a long file of two series."""
    folder = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2024-01-01", periods=400, freq="h")
    wide = pd.DataFrame({"when": stamps, "power": 5 + np.sin(np.arange(400) / 4) + rng.normal(0, 0.1, 400)})
    wide["temp"] = rng.normal(size=400)
    wide.to_csv(folder / "plant.csv", index=False)
    long = pd.concat([wide.assign(site=name, power=wide["power"] * k) for k, name in ((1, "north"), (3, "south"))])
    long.to_csv(folder / "sites.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def fitted(place: Path) -> dict[str, object]:
    """The document of one fit on the S&P 500 sample."""
    done = run("fit", "--ticker", "^GSPC", "--source", "sample", *QUICK, "--out", "spx", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    document: dict[str, object] = json.loads(done.stdout)
    return document


def test_fit_json(fitted: dict, place: Path) -> None:
    assert set(fitted) == {"schema", "run", "series", "forecast", "validation", "notes", "timing", "config"}
    assert fitted["schema"] == 1
    assert fitted["series"]["rows"] == 5031
    assert fitted["series"]["last"] == {"^GSPC": pytest.approx(2506.85)}
    # the sessions after 2018-12-31: New Year's Day is none
    assert [row["ds"] for row in fitted["forecast"]] == ["2019-01-02T00:00:00", "2019-01-03T00:00:00"]
    assert fitted["validation"]["verdict"]["label"] in {"skill", "no skill", "worse than naive", "too little data"}
    assert {row["model"] for row in fitted["validation"]["scores"]} >= {"lstm", "naive", "drift", "seasonal naive"}
    assert not (place / "lightning_logs").exists()


def test_run_folder(fitted: dict, place: Path) -> None:
    names = {file.name for file in (place / "spx").iterdir()}
    assert names >= {
        "config.json", "pipeline.json", "weights.safetensors", "state.safetensors", "data.parquet", "manifest.json",
        "forecast.csv", "scores.csv", "forecast.png",
    }  # fmt: skip
    assert (place / "spx" / "forecast.png").read_bytes()[:4] == b"\x89PNG"
    table = pd.read_csv(place / "spx" / "forecast.csv")
    assert table["lstm"].tolist() == pytest.approx([row["lstm"] for row in fitted["forecast"]])


def test_predict_gives_the_same_bits_in_a_new_process(fitted: dict, place: Path) -> None:
    done = run("predict", "spx", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["forecast"] == fitted["forecast"]
    assert done.stderr == ""


@pytest.mark.slow
def test_predict_on_other_rows_reads_the_column_of_the_run(place: Path) -> None:
    """Volume was fitted: newer rows of the ticker must not be read as closes."""
    data = ["--ticker", "^GSPC", "--source", "sample"]
    done = run("fit", *data, "--target", "volume", *QUICK, "--out", "volume", cwd=place)
    assert done.returncode == 0, done.stderr
    alone = json.loads(run("predict", "volume", "--json", cwd=place).stdout)
    again = run("predict", "volume", *data, "--json", cwd=place)
    assert json.loads(again.stdout)["forecast"] == alone["forecast"] and "forecasts" not in again.stderr
    other = run("predict", "volume", *data, "--target", "close", cwd=place)
    assert "the run forecasts 'volume'; of this data 'close' was read" in " ".join(other.stderr.split())


@pytest.mark.slow
def test_predict_reads_newer_rows_as_the_run_was_read(place: Path) -> None:
    """By the run's id column and zone; said where rows are too few or out of the way, and that stamps are UTC."""
    stamps = pd.date_range("2023-02-15", periods=400, freq="h", tz="UTC").tz_convert("Europe/Berlin").tz_localize(None)
    wave = 50 + 10 * np.sin(np.arange(400) / 4)
    parts = [pd.DataFrame({"when": stamps, "site": name, "load": wave + k}) for k, name in enumerate("ab")]
    whole = pd.concat(parts)
    whole.to_csv(place / "zones.csv", index=False)
    pd.concat(part.tail(20) for part in parts).to_csv(place / "tail.csv", index=False)
    done = run("fit", "--csv", "zones.csv", "--id", "site", "--tz", "Europe/Berlin", "--target", "load", *QUICK,
               "--out", "my zones", cwd=place)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "date (UTC)" in done.stdout and " UTC, h (Europe/Berlin)" in done.stdout
    assert "forecast predict 'my zones'" in done.stdout
    again = run("predict", "my zones", "--csv", "zones.csv", cwd=place)
    assert again.returncode == 0 and again.stderr == "", again.stderr
    assert again.stdout.split("Forecast")[1].split() == done.stdout.split("Forecast")[1].split("Holdout")[0].split()
    few = run("predict", "my zones", "--csv", "tail.csv", cwd=place)
    assert few.returncode == 0 and "a, b: fewer rows than the" in few.stderr, few.stderr


def test_predict_says_under_json_what_it_says_on_stderr(place: Path) -> None:
    """Watts instead of the kilowatts that the run was fitted to."""
    done = run("fit", "--csv", "plant.csv", "--target", "power", *QUICK, "--out", "kilo", cwd=place)
    assert done.returncode == 0, done.stderr
    assert json.loads(run("predict", "kilo", "--json", cwd=place).stdout)["notes"] == []
    frame = pd.read_csv(place / "plant.csv")
    frame.assign(power=1000 * frame["power"]).tail(8).to_csv(place / "watts.csv", index=False)
    again = run("predict", "kilo", "--csv", "watts.csv", "--json", cwd=place)
    few, other, far = json.loads(again.stdout)["notes"]
    assert "fewer rows than the" in few and "8 values differ from those that the run holds" in other
    assert ": its newest values lie far from those" in far
    assert all(note in " ".join(again.stderr.split()) for note in (few, other, far)), again.stderr


def test_what_a_run_reads_again() -> None:
    """The columns it forecasts, whatever they and its series are called."""
    from forecast.commands.options import DATA_FLAGS
    from forecast.commands.predict import _like

    stamps = pd.date_range("2024-01-01", periods=40, freq="h")
    columns = {name: np.arange(40.0) for name in ("Open", "flow, left", "c", "d")}
    one = pd.DataFrame({"time": stamps, **columns})
    two = pd.concat([one.assign(site="x"), one.assign(site="y")])
    asked = {**dict.fromkeys(DATA_FLAGS), "csv": "new.csv"}
    for frame, site, targets in (
        (one, None, ["flow, left"]),
        (one, None, ["Open", "flow, left"]),
        (one, None, ["Open", "flow, left", "c", "d"]),
        (two, "site", ["Open"]),
        (two, "site", ["Open", "flow, left"]),
    ):
        panel = pipelines.from_frame(frame, time="time", target=targets, id=site)
        assert _like(panel, asked)["target"] == targets
        assert _like(panel, {**asked, "target": ["c"]})["target"] == ["c"]


@pytest.mark.slow
def test_a_file_of_one_series_per_row_is_read_again(place: Path) -> None:
    rows = [[f"H{i}", *np.round(5 + np.sin(np.arange(60) / 3 + i), 3)] for i in range(2)]
    pd.DataFrame(rows, columns=["id", *(f"V{k}" for k in range(60))]).to_csv(place / "m4.csv", index=False)
    data = ["--csv", "m4.csv", "--time", "2024-01-01", "--freq", "h"]
    done = run("fit", *data, *QUICK, "--set", "model.skip=0", "--out", "m4", cwd=place)
    assert done.returncode == 0, done.stderr
    again = run("predict", "m4", *data, "--json", cwd=place)
    assert again.returncode == 0 and json.loads(again.stdout)["forecast"], again.stderr


def test_ids_that_look_like_markup_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from forecast.commands.fit import forecast_table
    from forecast.commands.screen import out

    ids = ["flow [m3/h]", "a [/s]"]
    frame = pd.DataFrame({"unique_id": ids, "ds": pd.Timestamp("2024-01-01"), "cutoff": pd.Timestamp("2023-12-31")})
    out().print(forecast_table(frame.assign(gru=1.0), "gru", [], "", most=1))
    out().print(forecast_table(frame.assign(gru=1.0).iloc[::-1], "gru", [], "; --json gives them all", most=1))
    said = capsys.readouterr().out
    assert all(name in said for name in ids) and "1 more row; --json gives them all" in said


@pytest.mark.parametrize(("levels", "heading", "share"), [([50, 80], "inside 80 %", "75.0 %"), ([], None, None)])
def test_the_holdout_is_told_of_the_widest_intervals_the_net_has(levels, heading, share, capsys) -> None:
    from forecast.commands.fit import show_validation
    from forecast.commands.screen import out

    row = {"mae": 1.0, "rmse": 1.0, "mase": 1.0, "direction": 0.5, "missing": 0}
    scores = pd.DataFrame([{"model": "gru", **row, "coverage_50": 0.4, "coverage_80": 0.75}, {"model": "naive", **row}])
    show_validation(out(), SimpleNamespace(scores=scores, verdict={"text": ""}, notes=[], spans={}), "gru", levels)
    head, mine, naive = capsys.readouterr().out.split("\n\n")[0].strip().splitlines()[1:4]
    assert (heading or "missing") in head and head.count("inside") == len(levels[-1:])
    if share:
        assert share in mine and naive.split()[-2:] == ["-", "0"]


def test_predict_on_other_rows(fitted: dict, place: Path) -> None:
    done = run("predict", "spx", "--ticker", "^GSPC", "--source", "sample", "--end", "2018-11-21", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    # Thanksgiving 2018 was the 22nd
    assert [row["ds"][:10] for row in json.loads(done.stdout)["forecast"]] == ["2018-11-23", "2018-11-26"]


def test_predict_reads_the_lone_series_of_a_file_as_that_of_the_run(fitted: dict, place: Path) -> None:
    days = pipelines.load("^GSPC", source="sample").ds[-300:]
    pd.DataFrame({"Date": days, "Close": np.linspace(2600, 2700, 300)}).to_csv(place / "index.csv", index=False)
    done = run("predict", "spx", "--csv", "index.csv", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    assert {row["unique_id"] for row in out["forecast"]} == {"^GSPC"}
    assert any(note.endswith("is taken for '^GSPC', the only series of the run.") for note in out["notes"])
    assert any("values differ from those that the run holds" in note for note in out["notes"])
    named = pd.DataFrame({"Date": days, "Close": 2600.0 + np.arange(300), "who": "DJI"})
    named.rename(columns={"who": "unique_id"}).to_csv(place / "named.csv", index=False)
    other = run("predict", "spx", "--csv", "named.csv", cwd=place)
    assert other.returncode == 2 and "series 'DJI' is none of those fitted: ^GSPC" in " ".join(other.stderr.split())


def test_what_a_person_sees(place: Path) -> None:
    done = run("fit", "--csv", "plant.csv", "--time", "when", "--target", "power", "--past", "temp", *QUICK, cwd=place)
    assert done.returncode == 0, done.stderr
    for piece in ("400 rows", "2024-01-01 to 2024-01-17 15:00:00", "Trained lstm", "Forecast", "Holdout", "Verdict",
                  "seasonal naive", "never saw these rows", "Run folder", "forecast.png"):  # fmt: skip
        assert piece in done.stdout, piece
    assert done.stderr == ""


@pytest.mark.slow
def test_several_series_by_id(place: Path) -> None:
    done = run("fit", "--csv", "sites.csv", "--time", "when", "--target", "power", "--id", "site", *QUICK,
               "--model", "gru", "--out", "sites", "--json", cwd=place)  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["forecast"]
    assert [row["unique_id"] for row in rows] == ["north", "north", "south", "south"]
    assert rows[2]["gru"] > 2 * rows[0]["gru"]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["fit"], 2, "neither a ticker nor a file"),
        (["fit", "--ticker", "A", "--csv", "plant.csv"], 2, "both a ticker and a file"),
        (["fit", "--csv", "nothing.csv"], 3, "nothing.csv"),
        (["fit", "--csv", "plant.csv", "--time", "when", "--target", "powr"], 2, "power"),
        (["fit", "--ticker", "^GSPC", "--source", "sample", "--set", "model.hiden=3"], 2, "mean 'model.hidden'"),
        (["fit", "--ticker", "^GSPC", "--source", "sample", "--model", "lstn"], 2, "Did you mean 'lstm'"),
        (["backtest", "--ticker", "^GSPC", "--source", "sample", "--model", "drift"], 2, "in every backtest"),
        (["fit", "--ticker", "^GSPC", "--source", "sample", "--horizon", "0"], 2, "horizon"),
        (["fit", "--ticker", "^GSPC", "--source", "sample", "--out", "plant.csv"], 2, "exists already"),
        (["fit", "--ticker", "^GSPC", "--source", "sample", "--preset", "prise"], 2, "Did you mean 'price'"),
        (["fit", "--ticker", "^GSPC", "--source", "sample", "--config", "none.toml"], 2, "no such configuration"),
        (["fit", "--ticker", "^GSPD", "--source", "sample"], 4, "Did you mean"),
        (["fit", "--ticker", "AAPL", "--offline"], 4, "cache"),
        (["predict", "nowhere"], 5, "not a run folder"),
        (["predict", "nowhere", "--end", "2020-01-01"], 2, "goes with --ticker or --csv"),
        (["fit", "--csv", "plant.csv", "--source", "sample"], 2, "--source goes with --ticker"),
        (["fit", "--csv", "plant.csv", "--time", "when", "--target", "power", "--start", "foo"], 2, "expected a day"),
        (["fit", "--csv", "plant.csv", "--time", "when", "--target", "power", "--start", "2030-01-01"], 2, "behind"),
        (["fit", "--ticker", "^GSPC", "--source", "sample", "--csv-sep", ";"], 2, "No such option"),
    ],
)  # fmt: skip
def test_wrong_use(
    place: Path, args: list[str], code: int, says: str, monkeypatch: pytest.MonkeyPatch,
    command_line: Callable[..., tuple[int, str, str]],
) -> None:  # fmt: skip
    monkeypatch.chdir(place)
    ended, out, err = command_line(*args)
    assert ended == code, err
    assert says in err
    assert "Traceback" not in out + err
    assert out == ""


def test_errors_under_json_are_one_document(place: Path) -> None:
    done = run("fit", "--csv", "nothing.csv", "--json", cwd=place)
    document = json.loads(done.stdout)
    assert document["error"]["code"] == done.returncode == 3
    assert document["error"]["hint"]


def test_a_wrong_flag_under_json_is_one_document_too(place: Path) -> None:
    done = run("fit", "--tickr", "A", "--json", cwd=place)
    assert json.loads(done.stdout)["error"]["code"] == done.returncode == 2


def test_the_last_day_is_whole(place: Path) -> None:
    from forecast.request import DataRequest

    given = {"csv": place / "plant.csv", "time": "when", "target": ("power",)}
    assert str(DataRequest(**given, end="2024-01-03").load().end) == "2024-01-03 23:00:00"
    assert str(DataRequest(**given, end="2024-01-03 05:00").load().end) == "2024-01-03 05:00:00"


def test_debug_shows_the_traceback(place: Path) -> None:
    done = run("predict", "nowhere", "--debug", cwd=place)
    assert "Traceback" in done.stderr
    assert done.returncode == 5


@pytest.mark.slow
def test_settings_from_a_file_and_flags_win(place: Path) -> None:
    (place / "my.toml").write_text('[data]\nhorizon = 4\n[model]\ncore = "gru"\nhidden = 8\n[train]\nepochs = 2\n')
    args = ["fit", "--csv", "plant.csv", "--time", "when", "--target", "power", "--config", "my.toml", "--horizon", "3"]
    done = run(*args, "--out", "fromfile", "--json", cwd=place)
    config = json.loads(done.stdout)["config"]
    assert (config["data"]["horizon"], config["model"]["core"], config["model"]["hidden"]) == (3, "gru", 8)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_leaves_nothing_behind(place: Path, number: signal.Signals, code: int) -> None:
    out = place / f"killed-{code}"
    job = subprocess.Popen(
        [sys.executable, "-m", "forecast", "fit", "--ticker", "^GSPC", "--source", "sample", "--epochs", "1000",
         "--set", "train.patience=1000", "--out", str(out)],
        cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background inherits deafness
    )  # fmt: skip
    assert job.stdout is not None
    line = job.stdout.readline()  # what was loaded is printed before training begins
    assert "5,031 rows" in line
    time.sleep(6)  # into the middle of training
    job.send_signal(number)
    try:
        out_text, err_text = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == code, err_text
    assert "Traceback" not in out_text + err_text
    assert not out.exists()
    assert not list(place.glob(f".{out.name}*"))


def test_data_commands(place: Path) -> None:
    listed = run("data", "list", "--json", cwd=place)
    cards = {card["name"]: card for card in json.loads(listed.stdout)["samples"]}
    assert cards["sp500"]["rows"] == 5031
    shown = run("data", "show", "sp500", "--json", cwd=place)
    assert json.loads(shown.stdout)["card"] == cards["sp500"]
    unknown = run("data", "show", "sp5oo", cwd=place)
    assert unknown.returncode == 4
    assert "Did you mean" in unknown.stderr


def test_the_config_knows_every_core() -> None:
    from forecast.nn.cores import CORES as REGISTRY
    from forecast.sections import CORES

    assert set(CORES) == set(REGISTRY)


def test_data_check(place: Path) -> None:
    fine = run("data", "check", "plant.csv", "--time", "when", "--target", "power", "--json", cwd=place)
    assert fine.returncode == 0, fine.stderr
    assert json.loads(fine.stdout)["facts"]["rows"] == 400
    text = (place / "plant.csv").read_text().splitlines()
    text[9] = text[9].split(",")[0] + ",oops,1.0"
    (place / "bad.csv").write_text("\n".join(text))
    bad = run("data", "check", "bad.csv", "--time", "when", "--target", "power", cwd=place)
    assert bad.returncode == 3
    assert "line 10" in bad.stdout
    assert "Traceback" not in bad.stderr


@pytest.mark.slow
def test_prices_by_preset_are_masked_and_a_value_that_rules_the_fit_is_said_on_stderr(place: Path) -> None:
    y = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, 300)))
    y[50], y[100] = -3, y[100] * 100
    stamps = pd.date_range("2024-01-01", periods=300, freq="D")
    pd.DataFrame({"day": stamps, "worth": y.round(4)}).to_csv(place / "worth.csv", index=False)
    refused = run("fit", "--csv", "worth.csv", "--preset", "price", *QUICK, cwd=place)
    assert refused.returncode == 3
    assert "worth.csv, line 52, column 'worth': a price of -3" in refused.stderr
    assert "--impossible mask" in refused.stderr
    done = run(
        *("fit", "--csv", "worth.csv", "--preset", "price", "--impossible", "mask", *QUICK),
        *("--out", "worth", "--json"), cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["series"]["missing"] == 1
    assert document["config"]["data"]["log"] is True
    assert done.stderr.count("\n") == 1
    assert "Look at line 102: worth rises to 10" in done.stderr


def test_version_and_help(place: Path) -> None:
    assert run("--version", cwd=place).stdout.startswith("forecast-toolkit ")
    text = run("fit", "--help", cwd=place).stdout
    for flag in ("--ticker", "--csv", "--time", "--target", "--id", "--horizon", "--seed", "--out", "--json"):
        assert flag in text


def test_shell_completion(place: Path) -> None:
    done = run(cwd=place, env={"_FORECAST_COMPLETE": "complete_bash", "COMP_WORDS": "forecast f", "COMP_CWORD": "1"})
    assert "fit" in done.stdout


@pytest.mark.parametrize(
    ("stamps", "shown"),
    [
        (["2024-01-01", "2024-01-02"], ["2024-01-01", "2024-01-02"]),
        (["2024-01-01 23:00", "2024-01-02"], ["2024-01-01 23:00", "2024-01-02 00:00"]),
        (["2024-01-01 00:00:30", "2024-01-01 00:01"], ["2024-01-01 00:00:30", "2024-01-01 00:01:00"]),
    ],
)
def test_a_column_of_stamps_has_one_form(stamps: list[str], shown: list[str]) -> None:
    from forecast.commands.screen import whens

    assert whens(pd.Series([pd.Timestamp(stamp) for stamp in stamps])) == shown


def test_an_interrupt_during_imports_is_heeded_behind_them() -> None:
    from forecast.imports import importing

    reached = []

    def load() -> None:
        with importing():
            signal.raise_signal(signal.SIGINT)
            reached.append(True)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            load()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert reached
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234.50"), (2.5e30, "2.5e+30"), (-9.1455474e12, "-9.14555e+12"), (999999999.0, "999,999,999.00")],
)
def test_numbers_keep_their_size(value: float, text: str) -> None:
    from forecast.commands.screen import number

    assert number(value) == text
