"""Report: numbers are those of the scores, nothing from the data is executed, the run folder stays sealed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from forecast import (
    cli,
    report,
    report_cells,
    report_charts,
    report_data,
    report_markdown,
    report_page,
    report_text,
    storage,
)
from forecast.backtest import backtest
from forecast.model import Model
from forecast.run import run_fit
from pipelines.errors import ArtifactError
from pipelines.grid import Grid
from pipelines.panel import Panel
from tests.forecast.browser import Browser, browser, chromium
from tests.forecast.walks import small, walks

EVIL = "</script><img src=x onerror=alert(1)>"
CHROMIUM = chromium()
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on the path: apt-get install chromium, or set $CHROMIUM"
)


class Momentum:
    """Goes on by a share of the last step; silent at every ``holes``-th origin if asked to be."""

    def __init__(self, name: str, share: float, holes: int = 0) -> None:
        self.name, self.share, self.holes = name, share, holes

    def __repr__(self) -> str:
        return f"Momentum({self.share}, {self.holes})"

    def fit(self, panel: Panel) -> Momentum:
        return self

    def predict(self, panel: Panel, rows: np.ndarray, horizon: int) -> np.ndarray:
        y = panel.column("y")
        out = y[rows][:, None] + (self.share * (y[rows] - y[rows - 1]))[:, None] * np.ones(horizon)
        if self.holes:
            out[:: self.holes] = np.nan
        return out


def nasty_panel() -> Panel:
    calm = walks(160, 160, 130)
    names = {"a": EVIL, "b": 'R&B "it\'s" $x^2$ <b>%{y}</b>\u2028_|`', "c": "_NA"}
    frame = calm.frame.assign(unique_id=calm.frame["unique_id"].astype(str).map(names))
    return Panel(
        frame.assign(**{EVIL: 1.0}), Grid("D"), {EVIL: "past"}, target=f"<i>{EVIL}", source=EVIL,
        notes=(f"a note {EVIL}",), meta={"title": EVIL},
    )  # fmt: skip


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three series with hostile names, two models with conformal intervals, a leak found."""
    folder = tmp_path_factory.mktemp("several") / "run"
    models = [Momentum(f"net{EVIL}", 0.5), Momentum("half", 0.2)]
    result = backtest(nasty_panel(), models, horizon=3, test=60, intervals="split", calibration=25)
    result.save(folder)
    finding = {"check": "forecast", "series": EVIL, "origin": "2024-12-01 00:00:00", "step": 2, "size": 1.5,
               "text": f"moved {EVIL}"}  # fmt: skip
    audit = {
        "schema": 1,
        "subject": EVIL,
        "clean": False,
        "text": f"LEAK in {EVIL}",
        "findings": [finding],
        "notes": [],
    }
    storage.dump_json(folder / "audit.json", audit)
    report.report(folder)
    return folder


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One series, a net with two seeds."""
    folder = tmp_path_factory.mktemp("seeded") / "run"
    backtest(walks(220), [small()], horizon=2, test=60, seeds=2).save(folder)
    report.report(folder)
    return folder


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit, with the page it wrote by itself."""
    folder = tmp_path_factory.mktemp("fitted") / "run"
    panel = walks(260)
    frame = panel.frame.assign(unique_id="NA")
    run_fit(Panel(frame, Grid("D")), small(**{"data.horizon": 3}), out=folder)
    return folder


def charts_of(folder: Path) -> dict[str, Any]:
    text = (folder / "report.html").read_text("utf-8")
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    document: dict[str, Any] = json.loads(found[1])
    return document


class Tags(HTMLParser):
    """Tags with their attributes, and the text of every script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "script"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data


# -- the page ----------------------------------------------------------------------------------
def test_nothing_in_the_page_comes_from_elsewhere_or_from_the_data(several: Path) -> None:
    page = Tags((several / "report.html").read_text("utf-8"))
    assert [dict(at) for tag, at in page.tags if tag == "script"] == [
        {"type": "application/json", "id": "page-data"}, {}, {}
    ]  # fmt: skip
    assert not [tag for tag, _ in page.tags if tag in ("img", "iframe", "object", "embed", "form", "base", "i", "b")]
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "action", "data"):
            value = attributes.get(name) or ""
            assert value in ("", "data:,") or value.startswith("#"), (tag, name, value)


def test_the_policy_names_exactly_the_two_scripts(several: Path) -> None:
    page = Tags((several / "report.html").read_text("utf-8"))
    [policy] = [at["content"] for tag, at in page.tags if at.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    sums = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in page.scripts[1:]]
    assert rules["script-src"] == " ".join(f"'sha256-{one}'" for one in sums)
    assert rules["default-src"] == "'none'" and "connect-src" not in rules
    assert rules["img-src"] == "data: blob:" and rules["form-action"] == rules["base-uri"] == "'none'"


def test_json_in_a_script_cannot_end_it() -> None:
    document = {EVIL: [EVIL, "\u2028\u2029&", float("nan"), float("inf"), 1.5]}
    text = report_page.json_text(document)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {EVIL: [EVIL, "\u2028\u2029&", None, None, 1.5]}


def test_the_verdict_comes_first(several: Path) -> None:
    text = (several / "report.html").read_text("utf-8")
    verdict = storage.load_json(several / "backtest.json")["verdict"]
    body = text[text.index("<main>") :]
    assert body.index('id="verdict"') < min(body.index("<table"), body.index('class="chart"'), body.index("<nav"))
    shown = re.search(r'<p class="claim">(.*?)</p>', body)
    assert shown is not None
    assert shown[1] == verdict["text"].replace("<", "&lt;").replace(">", "&gt;")
    assert f'<span class="badge">{verdict["label"]}</span>' in body


@needs_chromium
@pytest.mark.parametrize("kind", [pytest.param("several", marks=pytest.mark.slow), "seeded", "fitted"])
@pytest.mark.parametrize("width", [1400, pytest.param(420, marks=pytest.mark.slow)])
def test_chromium_opens_it_quietly(
    kind: str, width: int, opened: Browser, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder: Path = request.getfixturevalue(kind)
    tab = opened.tab().open((folder / "report.html").as_uri(), width)
    assert tab.js("document.documentElement.dataset.ready") == "yes"
    tab.js("new Promise(done => setTimeout(done, 300))")
    charts = tab.js(
        "[...document.querySelectorAll('.chart')].map(c => [c.id, c.querySelectorAll('.scatterlayer .trace').length])"
    )
    assert len(charts) >= 8
    assert not [name for name, traces in charts if traces == 0]
    # drawn at this width, nothing sticks out sideways
    assert tab.js("document.documentElement.scrollWidth") == width
    tab.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 50_000
    assert tab.logged == []
    assert tab.dialogs == []
    assert tab.requests == [(folder / "report.html").as_uri()]


@needs_chromium
def test_chromium_moves_through_origins_series_and_models(several: Path, opened: Browser) -> None:
    tab = opened.tab().open((several / "report.html").as_uri())
    shown = "document.getElementById('origin-label').textContent"
    before, title = tab.js(shown), "document.querySelector('#chart-shift-time .ytitle').textContent"
    tab.js("document.getElementById('back').click()")
    assert tab.js(shown) != before
    assert tab.js(title).startswith(EVIL[:20])
    tab.js("const s = document.getElementById('pick-series'); s.value = '2'; s.dispatchEvent(new Event('change'))")
    assert tab.js(title) == "_NA"
    tab.js("const m = document.getElementById('pick-model'); m.value = '1'; m.dispatchEvent(new Event('change'))")
    assert "half" in tab.js("document.getElementById('chart-shift-time').textContent")
    names = tab.js("[...document.querySelectorAll('#pick-series option')].map(o => o.textContent)")
    assert names[0] == EVIL and len(names) == 3
    assert tab.dialogs == [] and tab.logged == []


@needs_chromium
@pytest.mark.slow
def test_chromium_sorts_the_series(several: Path, opened: Browser) -> None:
    tab = opened.tab().open((several / "report.html").as_uri())
    column = "[...document.querySelectorAll('section#series tbody tr')].map(tr => Number(tr.cells[2].dataset.v))"
    worst = tab.js("[...document.querySelectorAll('section#series tbody tr')].map(tr => Number(tr.cells[1].dataset.v))")
    assert worst == sorted(worst, reverse=True)
    press = "document.querySelectorAll('section#series thead button')[2].click()"
    tab.js(press)
    down = tab.js(column)
    assert down == sorted(down, reverse=True)
    tab.js(press)
    assert tab.js(column) == down[::-1]
    assert tab.js("document.querySelectorAll('section#series thead th')[2].getAttribute('aria-sort')") == "ascending"


@needs_chromium
def test_the_browser_would_notice(tmp_path: Path, opened: Browser) -> None:
    """The checks above can fail: a page without our care logs, asks and alerts."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<p>x</p><script>alert(1); console.error("no")</script><img src="http://example.invalid/x.png">', "utf-8"
    )
    tab = opened.tab().open(bad.as_uri())
    assert tab.dialogs == ["1"]
    assert "http://example.invalid/x.png" in tab.requests
    assert any("no" in line for line in tab.logged)


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with browser(CHROMIUM) as started:
        yield started


# -- numbers -----------------------------------------------------------------------------------
def test_steps_are_the_scores_by_step(several: Path) -> None:
    document, steps = storage.load_json(several / "backtest.json"), charts_of(several)["steps"]
    assert steps["measure"] == "MASE" and steps["step"] == [1, 2, 3]
    told = {(row["model"], row["step"]): row["mase"] for row in document["by_step"]}
    for name, values in steps["error"].items():
        assert values == pytest.approx([told[name, step] for step in (1, 2, 3)], rel=1e-6)
        assert steps["ratio"][name] == pytest.approx([told[name, s] / told["naive", s] for s in (1, 2, 3)], rel=1e-6)


def test_skill_over_time_is_the_share_of_error_saved_in_a_window(seeded: Path) -> None:
    skill, frame = charts_of(seeded)["skill"], pd.read_parquet(seeded / "forecasts.parquet")
    model, base = "gru", skill["baseline"]
    loss = {name: (frame["y"] - frame[name]).abs().groupby(frame["cutoff"]).mean() for name in (model, base)}
    n, expected = skill["window"], []
    for end in range(n, len(loss[model]) + 1):
        expected.append(1 - loss[model].iloc[end - n : end].mean() / loss[base].iloc[end - n : end].mean())
    assert skill["skill"][model] == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert skill["stamps"] == [str(stamp.date()) for stamp in loss[model].index[n - 1 :]]


def test_calibration_is_counted(several: Path) -> None:
    frame, part = pd.read_parquet(several / "forecasts.parquet"), charts_of(several)["calibration"]["half"]
    inside = (frame["y"] >= frame["half-lo-90"]) & (frame["y"] <= frame["half-hi-90"])
    assert part["coverage"]["90"] == pytest.approx(inside.groupby(frame["step"]).mean().tolist())
    assert part["quantile"] == [0.05, 0.5, 0.95]
    below = [(frame["y"] <= frame[column]).mean() for column in ("half-lo-90", "half", "half-hi-90")]
    assert part["observed"] == pytest.approx(below)


def test_forecasts_are_those_of_the_frame(several: Path) -> None:
    charts, frame = charts_of(several), pd.read_parquet(several / "forecasts.parquet")
    stamps = charts["stamps"]
    panel = report_data.read_page(several).panel
    for one in charts["series"]:
        mine = frame[frame["unique_id"] == one["id"]]
        y = panel.frame[panel.frame["unique_id"] == one["id"]].set_index("ds")["y"]
        shown = {stamps[one["at"] + i]: value for i, value in enumerate(one["y"])}
        assert shown == pytest.approx({stamp: y[pd.Timestamp(stamp)] for stamp in shown}, rel=1e-6)
        fan = one["fans"][5]
        rows = mine[mine["cutoff"] == stamps[fan["origin"]]].sort_values("step")
        assert [stamps[i] for i in fan["at"]] == [str(stamp.date()) for stamp in rows["ds"]]
        assert fan["f"]["half"] == pytest.approx(rows["half"].tolist(), rel=1e-6)
        assert fan["bounds"]["half"][0][1] == pytest.approx(rows["half-hi-90"].tolist(), rel=1e-6)
        first = mine[mine["step"] == 1].sort_values("cutoff")
        assert one["one"]["last"] == pytest.approx(first["last"].tolist(), rel=1e-6)
        assert one["one"]["f"]["half"] == pytest.approx(first["half"].tolist(), rel=1e-6)


def test_seeds_are_shown_where_there_are_several(seeded: Path, several: Path) -> None:
    told = storage.load_json(seeded / "backtest.json")["seeds"]
    rows = charts_of(seeded)["seeds"]["rows"]["gru"]
    assert [(row["seed"], row["error"]) for row in rows] == [(row["seed"], row["mae"]) for row in told]
    assert 'id="seeds"' in (seeded / "report.html").read_text("utf-8")
    assert charts_of(several)["seeds"] == {} and 'id="seeds"' not in (several / "report.html").read_text("utf-8")


def test_the_tables_hold_the_scores(seeded: Path) -> None:
    page = report_data.read_page(seeded)
    parts = {part.name: part for part in report_text.sections(page, storage.plain(report_charts.chart_data(page)))}
    rows = {row[0].text: row for row in parts["scores"].tables[0].rows}
    assert set(rows) == {"gru", "naive", "drift", "seasonal naive", "mean"}
    for name, row in rows.items():
        assert row[1].value == report_data.score_of(page.scores, name, "mae")
        assert float(row[1].text.replace(",", "")) == pytest.approx(row[1].value, rel=1e-3)
    tests = parts["scores"].tables[1].rows
    assert tests[0][2].value == page.significance["models"]["gru"]["pvalue"]
    assert parts["shift"].lead == [page.significance["models"]["gru"]["shift"]["text"]]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1.0000"), (12345.678, "12,346"), (0.00123456, "0.0012346"), (1e-9, "1e-09"), (-2.5, "-2.5000"),
     (float("nan"), "-"), (float("inf"), "infinite")],
)  # fmt: skip
def test_numbers_are_short(value: float, text: str) -> None:
    assert report_cells.number(value) == text


# -- what does not fit, what is missing --------------------------------------------------------
def test_many_series_stay_small_and_say_so(several: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_charts, "NUMBERS", 1500)
    page = report_data.read_page(several)
    charts = storage.plain(report_charts.chart_data(page))
    order = report_charts.worst_first(page)["unique_id"].tolist()
    assert 0 < len(charts["series"]) < 3
    assert charts["series"][0]["id"] == order[0]
    assert any("of 3 series" in line for line in charts["left_out"])
    [truth] = [part for part in report_text.sections(page, charts) if part.name == "truth"]
    assert list(truth.notes) == charts["left_out"]
    [table] = [part.tables[0] for part in report_text.sections(page, charts) if part.name == "series"]
    assert len(table.rows) == 3


@pytest.mark.slow
def test_a_panel_of_500(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2024-01-01", periods=60)
    parts = [
        pd.DataFrame({"unique_id": f"s{i}", "ds": stamps, "y": np.cumsum(rng.normal(size=60))}) for i in range(500)
    ]
    panel = Panel(pd.concat(parts, ignore_index=True), Grid("D"))
    backtest(panel, [Momentum("m", 0.1)], horizon=2, test=10).save(tmp_path / "run")
    page = report.report(tmp_path / "run")[0]
    assert page.stat().st_size < 10_000_000
    text = page.read_text("utf-8")
    body = text[text.index('<section id="series">') :]
    rows = re.findall(r"<tr><th scope=row data-v=\"(s\d+)\">.*?</th><td class=n data-v=\"([^\"]+)\">", body)
    assert len({name for name, _ in rows}) == 500
    ratios = [float(ratio) for _, ratio in rows]
    assert ratios == sorted(ratios, reverse=True)


def test_a_long_series_shows_its_newest_origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_charts, "ROWS", 50)
    monkeypatch.setattr(report_charts, "ORIGINS", 7)
    backtest(walks(300), [Momentum("m", 0.3)], horizon=4, test=100).save(tmp_path / "run")
    page = report_data.read_page(tmp_path / "run")
    [one] = report_charts.chart_data(page)["series"]
    assert len(one["one"]["at"]) == 50 and len(one["fans"]) == 7
    assert one["one"]["at"][-1] == one["fans"][-1]["at"][0]
    assert len(one["y"]) < 200


def test_missing_forecasts_and_infinite_intervals_are_told(tmp_path: Path) -> None:
    models = [Momentum("holes", 0.1, holes=9), Momentum("whole", 0.1)]
    # 90 % from 5 scores: there is no such quantile
    backtest(walks(120), models, horizon=1, test=40, intervals="split", calibration=5).save(tmp_path / "run")
    files = report.report(tmp_path / "run")
    text = files[0].read_text("utf-8")
    assert "holes left 5 forecasts out" in text
    assert "whole: intervals without bound: 100.0 % at 90 %." in text
    charts = charts_of(tmp_path / "run")
    fan = charts["series"][0]["fans"][-1]
    assert fan["bounds"]["whole"][0][0] == [None]
    assert None in charts["series"][0]["one"]["f"]["holes"]
    assert charts["skill"]["skill"]["holes"][-1] is None


def test_audit_findings_are_shown(several: Path, seeded: Path) -> None:
    text = (several / "report.html").read_text("utf-8")
    evil = EVIL.replace("<", "&lt;").replace(">", "&gt;")
    assert f"LEAK in {evil}" in text and f"moved {evil}" in text
    notice = text.index("The leak check found 1 thing that moved")
    assert text.index('id="verdict"') < notice < text.index("<nav")
    assert "these scores cannot be trusted" in (several / "report.md").read_text("utf-8")
    assert "cannot be trusted" not in (seeded / "report.html").read_text("utf-8")
    assert "The leak check was not run on this folder" in (seeded / "report.html").read_text("utf-8")


# -- a fit -------------------------------------------------------------------------------------
def test_a_fit_writes_its_page_under_its_manifest(fitted: Path) -> None:
    assert "report.html" in storage.check_folder(fitted)["files"]
    charts, ahead = charts_of(fitted), pd.read_csv(fitted / "forecast.csv", keep_default_na=False)
    [one] = charts["series"]
    assert one["id"] == "NA"
    assert [charts["stamps"][i] for i in one["ahead"]["at"]] == ahead["ds"].tolist()
    assert one["ahead"]["f"]["gru"] == pytest.approx(ahead["gru"].tolist(), rel=1e-6)
    verdict = storage.load_json(fitted / "verdict.json")["verdict"]
    assert charts["baseline"] == verdict["baseline"] == report_data.read_page(fitted).significance["baseline"]


def test_a_fit_without_holdout_claims_nothing(tmp_path: Path) -> None:
    run_fit(walks(200), small(**{"data.holdout": 0}), out=tmp_path / "run")
    files = report.report(tmp_path / "run")
    text = files[0].read_text("utf-8")
    assert report_data.NOT_SCORED in text and '<span class="badge">' not in text
    assert {file.name for file in files} == {"report.html", "report.md", "report-next.png"}


def test_rebuilding_changes_nothing_and_seals_all(fitted: Path) -> None:
    report.report(fitted)
    first = {file.name: file.read_bytes() for file in fitted.iterdir()}
    files = report.report(fitted)
    assert {file.name: file.read_bytes() for file in fitted.iterdir()} == first
    sums = storage.check_folder(fitted)["files"]
    assert {file.name for file in files} <= set(sums)
    assert {"report.md", "report-truth.png", "report-shift.png", "report-next.png"} <= set(sums)
    assert Model.load(fitted).predict()["gru"].notna().all()


def test_an_edited_page_is_noticed(fitted: Path) -> None:
    page = fitted / "report.html"
    whole = page.read_bytes()
    page.write_bytes(whole + b" ")
    with pytest.raises(ArtifactError, match="not as it was written"):
        report.report(fitted)
    page.write_bytes(whole)
    storage.check_folder(fitted)


def test_a_kill_at_any_moment_leaves_a_sound_folder(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report.report(fitted)
    replace, steps = os.replace, 0

    def count(old: Path, new: Path) -> None:
        nonlocal steps
        steps += 1
        replace(old, new)

    files = {"report.html": b"new page", "report.md": b"new text"}
    before = {name: (fitted / name).read_bytes() for name in files}
    monkeypatch.setattr(os, "replace", count)
    storage.add_files(fitted, before)
    assert steps == 4
    for last in range(steps):
        left = last

        def killed(old: Path, new: Path) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            replace(old, new)

        monkeypatch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            storage.add_files(fitted, files)
        monkeypatch.setattr(os, "replace", replace)
        storage.check_folder(fitted)
        storage.add_files(fitted, before)
    assert not [file.name for file in fitted.iterdir() if file.name.endswith(".part")]


@pytest.mark.slow
def test_pictures_that_no_longer_apply_leave(fitted: Path) -> None:
    report.report(fitted)
    storage.add_files(fitted, {"report-old.png": b"x"})
    report.report(fitted)
    assert not (fitted / "report-old.png").exists()
    assert "report-old.png" not in storage.check_folder(fitted)["files"]


# -- Markdown and command line -----------------------------------------------------------------
def test_markdown_names_its_pictures_and_escapes(several: Path) -> None:
    text = (several / "report.md").read_text("utf-8")
    for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
        assert (several / name).read_bytes().startswith(b"\x89PNG")
    assert text.count("![") == 5
    assert not re.search(r"(?<!&lt)<", text) and "onerror=alert" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert tables and all(len(re.findall(r"(?<!\\)\|", line)) >= 3 for line in tables)


@pytest.mark.parametrize(
    ("given", "shown"),
    [("a|b", r"a\|b"), ("<b>&", "&lt;b&gt;&amp;"), ("[x](y)", r"\[x\](y)"), ("two\nlines", "two lines"),
     ("1. not a list", r"1\. not a list"), ("- nor this", r"\- nor this"), ("p < 0.1", "p &lt; 0.1")],
)  # fmt: skip
def test_markdown_text(given: str, shown: str) -> None:
    assert report_markdown.text(given) == shown


def test_the_command_prints_paths_or_one_document(seeded: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(cli.app, ["report", str(seeded), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["schema"] == 1 and document["report"] == str(seeded / "report.html")
    assert set(document["files"]) >= {"report.html", "report.md", "report-seeds.png"}
    shown = runner.invoke(cli.app, ["report", str(seeded)])
    assert str(seeded / "report.html") in shown.stdout


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not a run folder"):
        report.report(tmp_path)
    storage.write_folder(tmp_path / "other", lambda folder: None, {})
    with pytest.raises(ArtifactError, match="neither a fit nor a backtest"):
        report.report(tmp_path / "other")


def test_a_scorecard_is_shown_after_costs(tmp_path: Path) -> None:
    models = [Momentum("m", 0.2)]
    panel = walks(200, positive=True)
    backtest(panel, models, horizon=1, test=60, trade=True, kind="price").save(tmp_path / "run")
    page = report_data.read_page(tmp_path / "run")
    parts = {part.name: part for part in report_text.sections(page, storage.plain(report_charts.chart_data(page)))}
    assert page.trade is not None
    told, [table] = page.trade["m"], parts["trade"].tables
    assert list(parts["trade"].lead) == [told["text"]]
    assert list(parts["trade"].notes) == told["notes"] and not any("survivorship" in note for note in told["notes"])
    names = [name for name, _ in table.head]
    for row, cells in zip(told["rows"], table.rows, strict=True):
        shown = dict(zip(names, cells, strict=True))
        assert shown["strategy"].text == row["strategy"]
        assert shown["annual"].text == f"{100 * row['annual']:.1f} %"
        assert shown["sharpe"].value == row["sharpe"]
