"""The HTML page of a report: one file that opens offline, asks nobody for anything and runs nothing from the data.

Three locks, each enough on its own: every text is escaped where it enters the page; data enters scripts only as
JSON without ``<``, ``>``, ``&`` and line separators; and the page's own policy (CSP) forbids the network and
every script but the two whose SHA-256 it names, so an event handler smuggled in would not run either.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib import resources
from typing import Any

from forecast import storage
from forecast.report_cells import Section, Table, cell, percent, pvalue, signed
from forecast.report_charts import main_model
from forecast.report_data import Page, score_of
from forecast.report_text import warning
from forecast.verdict import NO_SKILL, SKILL, TOO_LITTLE, WORSE
from pipelines.where import shown

_TONE = {SKILL: "good", NO_SKILL: "flat", WORSE: "bad", TOO_LITTLE: "flat"}
_CONTROLS = {
    "truth": """<div class="controls">
<label class="pick-series">Series <select id="pick-series"></select></label>
<label class="pick-model">Model <select id="pick-model"></select></label>
<div class="slider"><button type="button" id="back" aria-label="earlier origin">‹</button>
<input type="range" id="origin-slider" min="0" max="0" value="0" aria-label="origin">
<button type="button" id="forth" aria-label="later origin">›</button><output id="origin-label"></output></div></div>"""
}
_TALL = frozenset({"origin"})
_HALF = frozenset({"ratio", "error", "coverage", "pit", "shift-time", "shift-scatter", "importances", "pair"})
_SLICE = "slice-"  # charts of a study, one per setting


def html_page(page: Page, charts: Mapping[str, Any], parts: Sequence[Section]) -> bytes:
    """The whole page, UTF-8.

    Args:
        charts: of :func:`forecast.report_charts.chart_data`.
        parts: of :func:`forecast.report_text.sections`.
    """
    return frame(
        title=page.title, kind="Backtest" if page.kind == "backtest" else "Forecast", subtitle=_subtitle(page),
        top=_verdict(page), parts=parts, charts=charts, foot="Numbers count every scored forecast.",
        nojs="The charts need JavaScript; the tables do not. report.md has pictures of the charts.",
    )  # fmt: skip


def frame(
    *, title: str, kind: str, subtitle: str, top: str, parts: Sequence[Section], charts: Mapping[str, Any], foot: str,
    nojs: str = "The charts need JavaScript; the tables do not.",
) -> bytes:  # fmt: skip
    """A page around ``parts``: head with its policy, contents, scripts; UTF-8.

    Bytes from the start: as text, the five million letters of Plotly take two to four bytes each, several times over.

    Args:
        top: HTML between the heading and the contents, of :func:`verdict_box` and :func:`tile_row`.
        charts: what the script draws from; keys are those of :func:`forecast.report_charts.chart_data`, or ``study``.
    """
    plotly, script, style = _plotly(), _asset("report.js"), _asset("report.css").decode()
    policy = (
        "default-src 'none'; "
        f"script-src {_hash(plotly)} {_hash(script)}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    links = "".join(f'<a href="#{part.name}">{escape(part.heading)}</a>' for part in parts)
    head = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>{escape(title)} · {escape(kind)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header>
<p class="kind">{escape(kind)} report</p>
<h1>{escape(title)}</h1>
<p class="sub">{escape(subtitle)}</p>
</header>
<main>
{top}
<noscript><p class="notice">{escape(nojs)}</p>
</noscript>
<nav aria-label="contents">{links}</nav>
{"".join(_section(part) for part in parts)}
</main>
<footer>{escape(foot)} This page holds all it needs and contacts nobody.</footer>
<script type="application/json" id="page-data">{json_text(charts)}</script>
"""
    scripts = (b"<script>", plotly, b"</script>\n<script>", script, b"</script>\n</body>\n</html>\n")
    return b"".join((head.encode(), *scripts))


def json_text(document: Any) -> str:
    """JSON that cannot end a script element, nor break a script where JSON and JavaScript differ."""
    text = json.dumps(storage.plain(document), separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":  # ensure_ascii has escaped the last two already; this does not rely on it
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _subtitle(page: Page) -> str:
    facts = page.panel.describe()
    span = f"{shown(facts['start'])} to {shown(facts['end'])}"
    return f"{facts['target']} · {facts['rows']:,} rows, {span} · {facts['frequency']} · {facts['source']}"


def _verdict(page: Page) -> str:
    label = str(page.verdict.get("label", ""))
    notice = f'<p class="notice bad">{escape(warning(page))}</p>' if warning(page) else ""
    box = verdict_box(label, _TONE.get(label, "flat"), str(page.verdict["text"]))
    return f"{box}{notice}\n{tile_row(_tiles(page))}\n"


def verdict_box(label: str, tone: str, text: str) -> str:
    """The sentence a page begins with; ``tone``: good, bad or flat."""
    badge = f'<span class="badge">{escape(label)}</span>' if label else ""
    return f"""<section class="verdict {tone}" id="verdict" aria-label="verdict">
{badge}<p class="claim">{escape(text)}</p>
</section>
"""


def tile_row(tiles: Sequence[tuple[str, str, str]]) -> str:
    """Figures as ``(name, value, what it is)``."""
    cells = "".join(
        f'<div class="tile"><dt>{escape(name)}</dt><dd>{escape(value)}</dd><p>{escape(about)}</p></div>'
        for name, value, about in tiles
    )
    return f'<dl class="tiles">{cells}</dl>'


def _tiles(page: Page) -> list[tuple[str, str, str]]:
    """The figures behind the verdict."""
    if not page.scored:
        return []
    name = main_model(page)
    part = page.significance["models"][name]
    loss, base = part["loss"], part["baseline_loss"]
    change = signed(loss / base - 1).text if loss is not None and base else "-"
    mase = " in units of naive's" if page.several else ""
    test, p = "Diebold-Mariano, adjusted" if len(page.models) > 1 else "Diebold-Mariano", pvalue(part["pvalue"]).text
    if page.verdict["label"] == TOO_LITTLE:
        test, p = "too few origins for a test", "-"
    out = [
        ("error against " + page.baseline, change, f"{name}, mean absolute error{mase}"),
        ("p-value", p, test),
        ("origins", f"{part['origins']:,}", f"{page.horizon} {'step' if page.horizon == 1 else 'steps'} ahead each"),
    ]  # fmt: skip
    covers = [column for column in page.scores.columns if column.startswith("coverage_")]
    if name in (told := page.significance.get("up", {})):
        out.append(("chance of going up", percent(told[name]["mean"], 0).text, f"{told[name]['label']} in direction"))
    elif name in page.calibration and covers:
        level = covers[-1].removeprefix("coverage_")
        share = score_of(page.scores, name, covers[-1])
        out.append(("interval coverage", percent(share).text, f"{name}, should be {level} %"))
    else:
        out.append(("MAE", cell(score_of(page.scores, name, "mae")).text, name))
    return out


def _section(part: Section) -> str:
    lead = "".join(f"<p>{escape(line)}</p>" for line in part.lead)
    notes = "".join(f"<li>{escape(line)}</li>" for line in part.notes)
    return f"""<section id="{part.name}">
<h2>{escape(part.heading)}</h2>
<div class="lead">{lead}</div>
{_CONTROLS.get(part.name, "")}
<div class="charts">{"".join(_chart(*chart) for chart in part.charts)}</div>
{"".join(_table(table) for table in part.tables)}
{f'<ul class="notes">{notes}</ul>' if notes else ""}
</section>
"""


def _chart(name: str, caption: str) -> str:
    size = ("tall " if name in _TALL else "") + ("half" if name in _HALF or name.startswith(_SLICE) else "full")
    return (
        f'<figure class="{size}"><div class="chart" id="chart-{name}" role="img" aria-label="{escape(caption)}"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col"{" class=n" if numeric else ""}>'
        + (f'<button type="button">{escape(name)}</button>' if table.sortable else escape(name))
        + "</th>"
        for name, numeric in table.head
    )
    rows = []
    for i, row in enumerate(table.rows):
        cells = []
        for j, (one, (_, numeric)) in enumerate(zip(row, table.head, strict=True)):
            value = "" if one.value is None or not table.sortable else f' data-v="{escape(str(one.value))}"'
            tag = "th scope=row" if j == 0 else "td"
            cells.append(f"<{tag}{' class=n' if numeric else ''}{value}>{escape(one.text)}</{tag.split()[0]}>")
        rows.append(f"<tr{' class=marked' if i in table.marked else ''}>{''.join(cells)}</tr>")
    bare = all(not name for name, _ in table.head)
    top = "" if bare else f"<thead><tr>{head}</tr></thead>"
    kind = " ".join(["pairs"] * bare + ["sortable"] * table.sortable)
    return f'<div class="scroll"><table class="{kind}">{top}<tbody>{"".join(rows)}</tbody></table></div>\n'


@cache
def _plotly() -> bytes:
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes().replace(b"\r", b"")


@cache
def _asset(name: str) -> bytes:
    return (resources.files("forecast") / "assets" / name).read_bytes().replace(b"\r", b"")


@cache
def _hash(script: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
