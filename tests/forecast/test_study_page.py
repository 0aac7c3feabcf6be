"""The page of a study: what it says is what study.json holds, whatever the names, whatever there is to say."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from forecast import cli, report_page, storage, study_page
from forecast.config import Config
from forecast.space import make_space
from pipelines.errors import ArtifactError
from tests.forecast.browser import Browser, browser, chromium

EVIL = "</script><img src=x onerror=alert(1)>"
CHROMIUM = chromium()
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on the path: apt-get install chromium, or set $CHROMIUM"
)
SPACE: dict[str, Any] = {
    "lr": {"low": 1e-4, "high": 1e-1, "log": True}, "core": ["gru", "rnn"], "train.clip": {"low": 0.1, "high": 10.0},
    "layers": {"low": 1, "high": 2},
}  # fmt: skip


def row(number: int, value: float | None, **more: Any) -> dict[str, Any]:
    params = {"model.core": "gru", "train.lr": 10 ** (-4 + number / 4), "model.layers": 1 + number % 2}
    plain = {"number": number, "state": "complete", "value": value, "also": None, "reached": None, "best": value,
             "seconds": 1.5, "params": params, "failure": None}  # fmt: skip
    return plain | more


@pytest.fixture
def found() -> dict[str, Any]:
    """A study with every kind of trial, and hostile names wherever a name can come from outside."""
    base = Config.make(None, core="gru", horizon=2)
    space = make_space(base, SPACE, only=True)
    start = {"model.core": "gru", "train.lr": 2e-3, "model.layers": 1}
    rnn = {"model.core": "rnn", "train.lr": 0.05, "train.clip": 2.0}
    rows = [
        row(0, 0.9, params=start), row(1, 0.8), row(2, None, state="pruned", reached=1.4),
        row(3, None, state="fail", failure=f"the loss is NaN {EVIL}", params={**start, "train.lr": 0.09}),
        row(4, 0.7, params=rnn), row(5, None, state="fail"), row(6, 55.0),
    ]  # fmt: skip
    best = {"number": 4, "values": [0.7], "params": rnn, "config": base.to_json(), "folds": [
        {"cutoff": "2020-05-01 00:00:00", "error": 0.7, "coverage": 0.1, "seconds": 0.5}]}  # fmt: skip
    document: dict[str, Any] = storage.plain({
        "schema": 1, "study": EVIL, "metric": "mae", "objectives": ["error"], "sampler": "tpe", "pruner": "wilcoxon",
        "seed": 0, "space": space.to_json(), "budget": 6,
        "development": {"end": "2020-06-01 00:00:00", "rows": 240, "data": "ab" * 32,
                        "series": {"title": EVIL, "target": f"<i>{EVIL}", "source": EVIL}},
        "trials": {"spent": 6, "complete": 4, "pruned": 1, "failed": 1, "repeated": 1}, "best": best, "front": [best],
        "importances": {"train.lr": 0.75, "model.core": 0.25}, "history": rows, "slices": {},
        "saved": {"trials": 1, "seconds": 12.0}, "failures": [{"number": 3, "reason": EVIL}],
        "openings": [{"time": "2026-01-01T00:00:00", "reason": "final backtest", "trials": 6}],
        "sealed": {"label": "better", "text": f"Tuning beat the default {EVIL}.", "tuned": 1.25, "default": 1.5},
    })  # fmt: skip
    return document


def charts_of(html: str) -> dict[str, Any]:
    text = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', html, re.DOTALL)
    assert text is not None
    document: dict[str, Any] = json.loads(text[1])["study"]
    return document


def parts_of(found: dict[str, Any]) -> dict[str, Any]:
    return {part.name: part for part in study_page.sections(found, study_page.chart_data(found))}


def test_history_importances_and_slices_are_those_of_the_study(found: dict[str, Any]) -> None:
    charts = charts_of(study_page.pages(found)["report.html"].decode())
    assert [one["value"] for one in charts["trials"]] == [0.9, 0.8, None, None, 0.7, None, 55.0]
    assert charts["trials"][2]["reached"] == 1.4 and charts["best"] == 4 and charts["start"] == 0.9
    assert charts["importances"] == {"train.lr": 0.75, "model.core": 0.25}
    slices = {one["name"]: one for one in charts["slices"]}
    assert list(slices) == ["train.lr", "model.core", "model.layers", "train.clip"]  # what matters most comes first
    assert slices["train.lr"]["log"] and slices["train.lr"]["values"][-2:] == [0.05, pytest.approx(10**-2.5)]
    assert slices["train.clip"]["values"] == [2.0] and slices["train.clip"]["errors"] == [0.7]  # of the rnn alone
    assert slices["model.core"]["choice"] and slices["model.core"]["known"] == ["gru", "rnn"]
    assert [slices["model.layers"]["whole"], slices["train.lr"]["whole"]] == [True, False]


def test_the_space_that_matters_is_where_the_best_trials_lie(found: dict[str, Any]) -> None:
    rows = {row[0].text: [cell.text for cell in row] for row in parts_of(found)["space"].tables[0].rows}
    # the best three of four scored trials: 4, 1 and 0
    assert rows["train.lr"] == ["train.lr", "75 %", "0.0001 to 0.1, by factors", "0.000178 to 0.05", "0.05", "0.002"]
    assert rows["model.core"][3] == "gru (2), rnn (1)"
    assert rows["train.clip"][1:4] == ["-", "0.1 to 10", "2"]


def test_every_trial_is_listed_with_its_settings_and_its_reason(found: dict[str, Any]) -> None:
    table = parts_of(found)["trials"].tables[0]
    head = [name for name, _ in table.head]
    rows = [{name: cell.text for name, cell in zip(head, row, strict=True)} for row in table.rows]
    assert [one["state"] for one in rows] == ["complete"] * 2 + ["pruned", "failed", "complete", "stopped", "complete"]
    assert table.marked == {4} and rows[4]["train.clip"] == "2" and rows[0]["train.clip"] == ""
    assert "NaN" in rows[3]["reason"]


def test_a_hostile_name_runs_nothing(found: dict[str, Any]) -> None:
    made = study_page.pages(found)
    html = made["report.html"].decode()
    assert html.count(EVIL) == 0 and html.count("</script>") == 3
    assert not re.search(r"<(img|i)\b", re.sub(r"(?s)<script>.*?</script>", "", html))  # plotly's own text set aside
    hashes = re.findall(r"&#x27;sha256-[^;]+&#x27;", html)
    assert len(hashes) == 2 and "script-src" in html
    assert b"<img" not in made["report.md"]


def test_a_study_that_was_stopped_says_what_it_has(found: dict[str, Any]) -> None:
    early = {**found, "best": None, "front": [], "importances": {}, "history": [], "openings": [],
             "trials": {"spent": 0, "complete": 0, "pruned": 0, "failed": 0, "repeated": 0},
             "saved": {"trials": 0, "seconds": 0.0}}  # fmt: skip
    del early["sealed"]
    html, text = (part.decode() for part in study_page.pages(early).values())
    assert study_page.UNOPENED in html and study_page.UNOPENED in text
    assert set(parts_of(early)) == {"history", "trials", "settings"}
    few = {**found, "importances": {}}
    assert "Too few trials" in " ".join(parts_of(few)["space"].lead)
    assert charts_of(study_page.pages(few)["report.html"].decode())["pair"] is None


def test_a_winner_that_has_not_been_on_the_sealed_span_is_not_said_to_have_been(found: dict[str, Any]) -> None:
    def texts(**sealed: Any) -> tuple[str, str]:
        one = {**found, "sealed": {**found["sealed"], **sealed}}
        return study_page.pages(one)["report.md"].decode(), " ".join(parts_of(one)["winner"].lead)

    said, lead = texts(trial=4, openings=1, backtest="/x/study/backtest-2", unit="scaled MAE")
    assert "scaled MAE 1.25" in lead and "backtest-2/report.html" in lead and "not yet scored" not in said
    said, lead = texts(trial=1, openings=1)
    assert "the best is trial 4 now, not yet scored there" in said and "sealed" not in lead
    assert "the default -" in texts(tuned=None, default=None)[1], "null in study.json"
    said = study_page.pages({**found, "sealed": None})["report.md"].decode()
    assert study_page.OPENED in " ".join(said.split()) and study_page.UNOPENED not in said


def test_two_objectives_show_their_front(found: dict[str, Any]) -> None:
    assert "front" not in parts_of(found)
    two = copy.deepcopy(found)
    two["objectives"].append("seconds")
    for one in two["history"]:
        one["also"] = None if one["value"] is None else 10.0 - one["number"]
    two["best"]["values"] = two["front"][0]["values"] = [0.7, 6.0]
    part = parts_of(two)["front"]
    assert [[cell.text for cell in row] for row in part.tables[0].rows] == [["4", "0.70000", "6.0000"]]
    charts = charts_of(study_page.pages(two)["report.html"].decode())
    assert charts["also"] == "seconds of training" and charts["front"] == [4] and charts["trials"][4]["also"] == 6.0


def test_the_default_is_named_only_where_it_was_tried(found: dict[str, Any]) -> None:
    assert study_page.score_of_start(found) == 0.9
    found["history"][0]["params"]["train.lr"] = 0.003
    assert study_page.score_of_start(found) is None


def test_the_command_writes_the_page_of_a_study_again(found: dict[str, Any], tmp_path: Path) -> None:
    storage.dump_json(tmp_path / "study.json", found)
    (tmp_path / "request.json").write_text("{}")
    done = CliRunner().invoke(cli.app, ["report", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["files"] == ["report.html", "report.md"]
    first = (tmp_path / "report.html").read_bytes()
    study_page.report(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == first == study_page.pages(found)["report.html"]
    storage.dump_json(tmp_path / "study.json", {"schema": 99})
    with pytest.raises(ArtifactError, match="another version"):
        study_page.report(tmp_path)
    (tmp_path / "study.json").unlink()
    with pytest.raises(ArtifactError, match=r"holds no study\.json"):
        study_page.report(tmp_path)


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with browser(CHROMIUM) as started:
        yield started


@needs_chromium
@pytest.mark.parametrize("width", [1400, pytest.param(420, marks=pytest.mark.slow)])
def test_chromium_draws_every_chart_and_asks_nobody(
    found: dict[str, Any], tmp_path: Path, opened: Browser, width: int
) -> None:
    page = tmp_path / "report.html"
    page.write_bytes(study_page.pages(found)["report.html"])
    tab = opened.tab().open(page.as_uri(), width=width)
    assert tab.js("document.documentElement.dataset.ready") == "yes"
    assert tab.logged == [] and tab.dialogs == []
    assert {request.split(":")[0] for request in tab.requests} <= {"file", "data", "blob"}
    drawn = tab.js("[...document.querySelectorAll('.chart')].filter(n => n.querySelector('.main-svg')).map(n => n.id)")
    assert drawn == ["chart-history", "chart-importances", "chart-pair", *(f"chart-slice-{k}" for k in range(4))]
    assert tab.js("document.documentElement.scrollWidth") <= width
    dots = "document.querySelectorAll('#chart-slice-0 .trace.scatter:first-child .point').length"
    assert tab.js(dots) == 4
    assert tab.js("document.querySelectorAll('#chart-history .trace').length") == 5
    assert report_page.json_text({"x": EVIL}).count("<") == 0
