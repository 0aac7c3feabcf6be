"""Sections of a report as plain text and tables: what the HTML page and report.md both say, escaped by neither.

Every section has sentences computed from the scores, the names of its charts, and tables whose cells carry a
number to sort by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from forecast import metrics
from forecast.report_cells import Cell, Section, Table, as_float, cell, count, number, percent, pvalue, signed
from forecast.report_charts import main_model, worst_first
from forecast.report_data import Page, score_of
from pipelines.where import shown

MOST_ROWS = 1000
"""Rows of the table of series."""


def sections(page: Page, charts: Mapping[str, Any]) -> list[Section]:
    """All sections that have something to say, in the order of the page."""
    made: list[Section] = []
    if len(page.ahead):
        made.append(_ahead(page))
    if page.scored:
        made.append(_truth(page, charts))
        made += [_series(page, charts)] if page.several else []
        made += [_scores(page), _steps(page, charts), _calibration(page, charts), _skill(page, charts)]
        made += [_seeds(charts)] if charts["seeds"] else []
        made += [_direction(page)] if page.significance.get("up") else []
        made += [_shift(page)]
        made += [_trade(page.trade)] if page.trade else []
    return [*made, _data(page), _settings(page)]


def warning(page: Page) -> str:
    """What must be read with the verdict: a leak. Empty if there is none, or nobody looked."""
    if page.audit is None or page.audit.get("clean", True):
        return ""
    found = len(page.audit.get("findings") or ())
    things = "thing" if found == 1 else "things"
    return f"The leak check found {found:,} {things} that moved with the future: these scores cannot be trusted."


# -- forecasts ---------------------------------------------------------------------------------
def _ahead(page: Page) -> Section:
    model, table = page.models[0], page.ahead
    listed = table if not page.several else table.groupby("unique_id", sort=False).head(1)
    levels = metrics.levels(table, model)
    head = [("series", False)] if page.several else []
    head += [("date", False), (f"{model}", True)]
    head += [(f"{level:g} %, {side}", True) for level in levels for side in ("low", "high")]
    chance = [metrics.chance(model)] if metrics.chance(model) in table else []
    head += [("up", True)] * len(chance)
    rows = []
    for row in listed.head(30).to_dict("records"):
        cells = [Cell(str(row["unique_id"]))] if page.several else []
        cells += [Cell(shown(row["ds"])), cell(row[model])]
        cells += [cell(row[name]) for level in levels for name in metrics.interval(model, level)]
        rows.append(cells + [percent(row[name]) for name in chance])
    last = table.groupby("unique_id", sort=False).tail(1)["ds"]
    what = f"the first of {page.horizon} steps of {len(page.panel.ids):,} series" if page.several else "every step"
    return Section(
        "next", "What comes next", [f"{model} forecasts {page.horizon} steps, up to {shown(last.max())}."],
        [("ahead", "History, forecast and intervals.")], [Table(head, rows)],
        [f"The table shows {what}{' (30 at most)' if len(listed) > 30 else ''}; forecast.csv holds all of them."],
        "report-next.png",
    )  # fmt: skip


def _truth(page: Page, charts: Mapping[str, Any]) -> Section:
    frame = page.frame
    cutoffs = frame["cutoff"]
    lead = (
        f"{cutoffs.nunique():,} origins from {shown(cutoffs.min())} to {shown(cutoffs.max())}, "
        f"{page.horizon} {'step' if page.horizon == 1 else 'steps'} ahead from each."
    )
    return Section(
        "truth", "Forecasts over truth", [lead],
        [("overview", "Truth and the forecasts one step ahead. Click to move the origin."),
         ("origin", "What was forecast at the origin chosen above, and what happened. Shaded: intervals.")],
        notes=charts["left_out"], png="report-truth.png",
    )  # fmt: skip


def _series(page: Page, charts: Mapping[str, Any]) -> Section:
    table, model = worst_first(page), main_model(page)
    numbers = [
        f"{model} / {page.baseline}",
        f"MAE {model}",
        f"MAE {page.baseline}",
        "MASE",
        "coverage",
        "scored",
        "missing",
    ]
    head = [("series", False), *((name, True) for name in numbers)]
    rows = []
    for row in table.head(MOST_ROWS).to_dict("records"):
        cells = [cell(str(row["unique_id"])), *(cell(row[name]) for name in ("ratio", "mae", "baseline", "mase"))]
        rows.append([*cells, percent(row["coverage"]), count(row["n"]), count(row["missing"])])
    known = table["ratio"].dropna()
    lead = f"{model} has a lower MAE than {page.baseline} in {int((known < 1).sum()):,} of {len(table):,} series."
    notes = ["Click a heading to sort. A series whose name can be clicked is drawn in the charts."]
    if len(table) > MOST_ROWS:
        notes.append(f"The {MOST_ROWS:,} worst of {len(table):,} series are listed.")
    return Section("series", "Series, worst first", [lead], tables=[Table(head, rows, sortable=True)], notes=notes)


# -- scores ------------------------------------------------------------------------------------
def _scores(page: Page) -> Section:
    table = page.scores
    covers = [f"{level:g}" for level in sorted({lv for m in page.models for lv in metrics.levels(page.frame, m)})]
    head = [("model", False)] + [(name, True) for name in ("MAE", "RMSE", "MASE", "sMAPE", "CRPS", "direction")]
    head += [(f"inside {level} %", True) for level in covers] + [("scored", True), ("missing", True)]
    rows = []
    for row in table.to_dict("records"):
        cells = [Cell(row["model"], row["model"]), cell(row["mae"]), cell(row["rmse"]), cell(row["mase"])]
        cells += [percent(row["smape"], 2), cell(row["crps"]), percent(row["direction"])]
        cells += [percent(row.get(f"coverage_{level}", math.nan)) for level in covers]
        rows.append([*cells, count(row["n"]), count(row["missing"])])
    marked = frozenset(i for i, name in enumerate(table["model"]) if name in page.models)
    parts = page.significance["models"]
    lead = [str(part["verdict"]["text"]) for part in parts.values()] if len(parts) > 1 else []
    return Section(
        "scores", "Scores and tests", lead, tables=[Table(head, rows, marked, True), _tests(page)],
        notes=[*page.remarks, *_test_notes(page)],
    )  # fmt: skip


def _tests(page: Page) -> Table:
    chosen = page.significance.get("confidence_set", {}).get("included")
    head = [("model", False), (f"error against {page.baseline}", True), ("p (Diebold-Mariano)", True),
            ("p of direction, step 1", True)]  # fmt: skip
    head += [] if chosen is None else [("among the best", False)]
    rows = []
    for name, part in page.significance["models"].items():
        mine, theirs = as_float(part["loss"]), as_float(part["baseline_loss"])
        change = mine / theirs - 1 if theirs else math.nan
        way = part["direction"][0]["pvalue"] if part.get("direction") else None
        cells = [Cell(name, name), signed(change), pvalue(part["pvalue"]), pvalue(way)]
        cells += [] if chosen is None else [Cell("yes" if name in chosen else "no")]
        rows.append(cells)
    return Table(head, rows)


def _test_notes(page: Page) -> Iterator[str]:
    models = page.significance["models"]
    adjusted = ", adjusted for the models tried (Holm)" if len(models) > 1 else ""
    yield (
        f"Diebold-Mariano on the {page.significance['loss']}, {page.significance['pooling']}, overlapping forecasts "
        f"allowed for{adjusted}. Direction: Pesaran-Timmermann. The baseline was chosen before the test span."
    )
    if (chosen := page.significance.get("confidence_set")) is not None:
        best = ", ".join(chosen["included"]) or "none"
        yield f"Models that cannot be told from the best (model confidence set, 90 %): {best}."
    infinite = {n: part["infinite"] for n, part in _intervals(page).items() if any(part["infinite"].values())}
    for name, shares in infinite.items():
        parts = ", ".join(f"{100 * share:.1f} % at {level} %" for level, share in shares.items() if share)
        yield f"{name}: intervals without bound: {parts}."


def _intervals(page: Page) -> dict[str, Any]:
    out = {}
    for name in page.calibration:
        levels = [f"{level:g}" for level in metrics.levels(page.frame, name)]
        out[name] = {"infinite": {level: score_of(page.scores, name, f"infinite_{level}") for level in levels}}
    return out


def _steps(page: Page, charts: Mapping[str, Any]) -> Section:
    data = charts["steps"]
    reference, lead = data["reference"], []
    for name in page.models:
        ratio = data["ratio"][name]
        ends = [(data["step"][i], ratio[i]) for i in sorted({0, len(ratio) - 1})]
        said = [f"{_against(share, reference)} {_ahead_of(step)}" for step, share in ends if share is not None]
        lead += [f"{name}: {'; '.join(said)}."] if said else []
    names = [*page.models, *page.baselines]
    pick = np.unique(np.linspace(0, len(data["step"]) - 1, min(12, len(data["step"]))).round().astype(int))
    rows = [[count(data["step"][i]), *(cell(data["error"][name][i]) for name in names)] for i in pick]
    hidden = ", ".join(data["hidden"])
    return Section(
        "steps", "Error by horizon", lead,
        [("ratio", f"{data['measure']} relative to {reference}: below 1 is better than {reference}."),
         ("error", f"{data['measure']} by step ahead.")],
        [Table([("step", True), *((name, True) for name in names)], rows)],
        [f"Hidden until clicked in the legend, being far worse: {hidden}."] if hidden else [], "report-steps.png",
    )  # fmt: skip


def _against(ratio: float, reference: str) -> str:
    change = abs(ratio - 1)
    return f"level with {reference}" if change < 0.0005 else (
        f"{100 * change:.1f} % {'below' if ratio < 1 else 'above'} {reference}"
    )  # fmt: skip


def _ahead_of(step: int) -> str:
    return "one step ahead" if step == 1 else f"{step} steps ahead"


def _calibration(page: Page, charts: Mapping[str, Any]) -> Section:
    lead = []
    for name, part in charts["calibration"].items():
        said = [f"{100 * share:.1f} % inside the {level} % intervals" for level, share in part["pooled"].items()
                if share is not None]  # fmt: skip
        lead += [f"{name}: {', '.join(said)}."] if said else []
    if not charts["calibration"]:
        return Section("calibration", "Calibration", ["No model gave intervals, so there is nothing to calibrate."])
    return Section(
        "calibration", "Calibration", lead,
        [("coverage", "Share of truths inside the interval, by step ahead; dotted: what it should be."),
         ("pit", "Where truths fell among the forecast quantiles (PIT): flat at 1 is calibrated, a hump is too wide, "
                 "a bowl too narrow.")],
        png="report-calibration.png",
    )  # fmt: skip


def _skill(page: Page, charts: Mapping[str, Any]) -> Section:
    data, lead = charts["skill"], []
    for name, values in data["skill"].items():
        known = [value for value in values if value is not None]
        if known:
            share = sum(value > 0 for value in known) / len(known)
            lead.append(f"{name} was ahead of {data['baseline']} in {100 * share:.0f} % of the windows.")
    what = f"Share of {data['baseline']}'s error saved, in a window of {data['window']} origins; above 0 is skill."
    return Section("skill", "Skill over time", lead, [("skill", what)], png="report-skill.png")


def _seeds(charts: Mapping[str, Any]) -> Section:
    data = charts["seeds"]
    lead = []
    for name, rows in data["rows"].items():
        errors = [row["error"] for row in rows]
        lead.append(
            f"{name}: {data['measure']} from {number(min(errors))} to {number(max(errors))} over {len(rows)} seeds."
        )
    head = [("model", False), ("seed", True), (data["measure"], True)]
    cells = [
        [Cell(name), count(row["seed"]), cell(row["error"])] for name, rows in data["rows"].items() for row in rows
    ]
    what = "Every dot is one seed, the bar the mean of their forecasts; lines: baselines."
    return Section("seeds", "Seeds", lead, [("seeds", what)], [Table(head, cells)], png="report-seeds.png")


def _shift(page: Page) -> Section:
    parts = page.significance["models"]
    several = len(parts) > 1
    lead = [f"{name}: {part['shift']['text']}" if several else part["shift"]["text"] for name, part in parts.items()]
    return Section(
        "shift", "Is it the last value?", lead,
        [("shift-time", "The newest forecasts one step ahead beside the truth and the last value known when they were "
                        "made. A forecast that lies on the last value adds nothing."),
         ("shift-scatter", "Change forecast and change that happened. Skill lies along the diagonal.")],
        png="report-shift.png",
    )  # fmt: skip


def _direction(page: Page) -> Section:
    """The probability of going up, beside the base rate."""
    head = [("model", False), ("step", True), ("says up", True), ("went up", True), ("log loss", True),
            ("base rate's", True), ("Brier", True), ("base rate's", True), ("right", True), ("by chance", True),
            ("p of timing", True)]  # fmt: skip
    rows, bins = [], []
    for name, part in page.significance["up"].items():
        for one in part["by_step"]:
            cells = [Cell(name, name), count(one["step"]), percent(one["mean"]), percent(one["share"])]
            cells += [cell(one[key]) for key in ("log_loss", "usual_log_loss", "brier", "usual_brier")]
            rows.append([*cells, percent(one["hits"]), percent(one["expected"]), pvalue(one["pvalue"])])
        bins += [
            [Cell(name), Cell(f"{100 * one['from']:.0f} to {100 * one['to']:.0f} %", one["from"]), percent(one["said"]),
             percent(one["happened"]), count(one["n"])]
            for one in part["reliability"]
        ]  # fmt: skip
    reliable = [("model", False), ("said up with", True), ("on average", True), ("went up", True), ("forecasts", True)]
    return Section(
        "direction", "Is the direction predictable?", [part["text"] for part in page.significance["up"].values()],
        tables=[Table(head, rows), Table(reliable, bins)],
        notes=[
            "Up: above the last value at the origin; a change of zero is not up. Base rate: how often the series had "
            "gone up by then.",
            "Predictable: a lower log loss than the base rate's, significantly (Diebold-Mariano), and more ups than by "
            "chance where the model says more likely than usual (Pesaran-Timmermann).",
        ],
    )  # fmt: skip


def _trade(trade: Mapping[str, Any]) -> Section:
    lead, tables, notes = [], [], []
    for name, part in trade.items():
        rows = part.get("rows") or [] if isinstance(part, Mapping) else []
        if rows:
            head = [(str(key).replace("_", " "), not isinstance(value, str)) for key, value in rows[0].items()]
            tables.append(Table(head, [[_trade_cell(*part) for part in row.items()] for row in rows]))
            lead.append(f"{name}: {part.get('text', '')}" if len(trade) > 1 else str(part.get("text", "")))
            notes += [str(note) for note in part.get("notes", ())]
    return Section("trade", "After costs", lead, tables=tables, notes=list(dict.fromkeys(notes)))


def _trade_cell(name: str, value: Any) -> Cell:
    """Shares in per cent, counts and basis points whole, ratios with two decimals."""
    if isinstance(value, str):
        return cell(value)
    if name in ("total", "annual", "volatility", "deflated", "max_drawdown", "exposure"):
        return percent(value)
    known = as_float(value)
    return Cell("-") if math.isnan(known) else Cell(f"{known:,.2f}".removesuffix(".00"), known)


# -- data and settings -------------------------------------------------------------------------
def _data(page: Page) -> Section:
    panel = page.panel
    facts = panel.describe()
    rows = [("source", facts["source"]), ("target", facts["target"]), ("series", f"{facts['series']:,}"),
            ("rows", f"{facts['rows']:,}, of which {facts['missing']:,} without a value"),
            ("span", f"{shown(facts['start'])} to {shown(facts['end'])}"),
            ("frequency", facts["frequency"])]  # fmt: skip
    rows += [("covariates", ", ".join(f"{k} ({v})" for k, v in facts["covariates"].items()))] if panel.roles else []
    rows += list(page.spans.items())
    lead, tables, audit = [], [], page.audit
    if audit is None:
        lead.append("The leak check was not run on this folder: “forecast audit” does it.")
    else:
        lead.append(str(audit.get("text") or ("no leak found" if audit.get("clean") else "leaks found")))
        found = audit.get("findings") or []
        head = [("check", False), ("series", False), ("origin", False), ("step", True), ("moved by", True), ("", False)]
        cells = [
            [Cell(str(one.get("check", ""))), Cell(str(one.get("series", ""))),
             Cell(shown(one["origin"]) if one.get("origin") else ""),
             count(one.get("step")), cell(one.get("size")), Cell(str(one.get("text", "")))]
            for one in found[:50]
        ]  # fmt: skip
        tables += [Table(head, cells)] if found else []
        lead += [f"50 of {len(found):,} findings are listed."] if len(found) > 50 else []
        lead += [str(note) for note in audit.get("notes") or ()]
    tables.append(Table([("", False), ("", False)], [[Cell(k), Cell(str(v))] for k, v in rows]))
    return Section("data", "Data and leak check", lead, tables=tables, notes=list(panel.notes))


def _settings(page: Page) -> Section:
    flat = [(name.removeprefix("configs."), value) for name, value in _flat(page.config)]
    facts = dict(page.facts)
    versions = facts.get("versions") or {}
    told = [("made", page.created)] if page.created else []
    seed = facts.get("seed")
    told += [
        ("seed", ", ".join(map(str, seed)) if isinstance(seed, list) else str(seed)),
        ("threads", str(facts.get("threads"))),
    ]
    told += [("data fingerprint", str((facts.get("data") or {}).get("fingerprint", ""))[:12])]
    two = [("", False), ("", False)]
    tables = [
        Table(two, [[Cell(k), Cell(v)] for k, v in rows]) for rows in (told, list(map(_pair, versions.items())), flat)
    ]
    return Section("settings", "Configuration and versions", tables=tables)


def _pair(pair: tuple[str, Any]) -> tuple[str, str]:
    return str(pair[0]), str(pair[1])


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif isinstance(value, list):
            yield f"{before}{name}", ", ".join(map(str, value))
        else:
            yield f"{before}{name}", "-" if value is None else str(value)
