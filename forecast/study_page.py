"""Study page: what a search learned, as one HTML page and as Markdown, made of the content of study.json alone.

The machinery is that of the other reports (:mod:`forecast.report_page`): every text is escaped, the page asks nobody.
Assumption, named: a pruned trial is drawn at the mean error of the folds it finished, which is not what scored ones
are drawn at, so it has a mark of its own; one pruned within its first fold is not drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from forecast import storage
from forecast.report_cells import Cell, Section, Table, as_float, cell, count, number, percent, signed
from forecast.report_markdown import render
from forecast.report_page import frame, tile_row, verdict_box
from forecast.space import Space, setting
from forecast.study_report import SCHEMA
from pipelines.errors import ArtifactError
from pipelines.where import shown

TONES = {"better": "good", "worse": "bad"}
MOST_SLICES = 12
MOST_TRIALS = 1000
GOOD = 0.25  # of the scored trials: the good ones
UNOPENED = "The sealed span has not been opened: no winner has been scored on it yet."
OPENED = (
    "The sealed span has been opened, but the study was stopped before it was written down what it said: go on with it "
    "by forecast tune --resume."
)
Found = Mapping[str, Any]


def report(folder: Path) -> list[Path]:
    """Write the page of the study in ``folder`` again; the files written, the page first.

    Raises:
        ArtifactError: ``folder`` holds no study that has been written down, or one of another version.
    """
    if not (folder / "study.json").is_file():
        raise ArtifactError(
            f"{folder} holds no study.json.", hint="Go on with it by forecast tune --resume, which writes it."
        )
    found = storage.load_json(folder / "study.json")
    if found.get("schema") != SCHEMA or "history" not in found:
        raise ArtifactError(f"{folder}/study.json is of another version.", hint="Use the version that wrote it.")
    made = pages(found)
    for name, content in made.items():
        storage.replace_file(folder / name, content)
    return [folder / name for name in made]


def pages(found: Found) -> dict[str, bytes]:
    """``report.html`` and ``report.md``.

    Args:
        found: content of study.json, see :mod:`forecast.study_report`.
    """
    sealed = found.get("sealed") or {}
    label, said = str(sealed.get("label", "")), _headline(found)
    series = found["development"].get("series") or {}
    title = str(series.get("title") or found["study"])
    charts = {"study": chart_data(found)}
    parts = list(sections(found, charts["study"]))
    top = verdict_box(label, TONES.get(label, "flat"), said) + tile_row(_tiles(found))
    html = frame(
        title=title, kind="Tuning", subtitle=_subtitle(found), top=top, parts=parts, charts=charts,
        foot="Errors are means over walk-forward folds before the sealed span, relative to naive's.",
    )  # fmt: skip
    text = render(f"Tuning report: {title}", label, said, "", parts, ())
    return {"report.html": html, "report.md": text.encode()}


def _headline(found: Found) -> str:
    """What the sealed span said, and what has happened since."""
    sealed, openings, best = found.get("sealed") or {}, len(found["openings"]), found["best"]
    if not sealed:
        return OPENED if openings else UNOPENED
    said = str(sealed["text"])
    if best and sealed.get("trial", best["number"]) != best["number"]:
        said += f" That was trial {sealed['trial']}; the best is trial {best['number']} now, not yet scored there."
    if openings > sealed.get("openings", openings):
        said += " The sealed span has been opened again since, and what it said was not written down."
    return said


# -- numbers -----------------------------------------------------------------------------------
def chart_data(found: Found) -> dict[str, Any]:
    """What the script draws from."""
    space, best = Space.from_json(found["space"]), found["best"]
    names = by_importance(found)
    rows = [
        {k: row.get(k) for k in ("number", "state", "value", "also", "reached", "best")} for row in found["history"]
    ]
    drawn = [_slice(found, name, space) for name in names[:MOST_SLICES]]
    return {
        "metric": f"{metric_name(found)} / naive's", "trials": rows, "best": best["number"] if best else None,
        "start": score_of_start(found), "importances": found["importances"], "slices": drawn,
        "pair": [0, 1] if len(found["importances"]) > 1 and len(drawn) > 1 else None,
        "also": second(found), "front": [one["number"] for one in found["front"]],
    }  # fmt: skip


def by_importance(found: Found) -> list[str]:
    """Names of the settings searched, those that matter most first."""
    shares = found["importances"]
    order = list(found["space"]["ranges"])
    return sorted(order, key=lambda name: (-shares.get(name, -1.0), order.index(name)))


def _slice(found: Found, name: str, space: Space) -> dict[str, Any]:
    raw = found["space"]["ranges"][name]
    rows = [row for row in found["history"] if row["value"] is not None and name in row["params"]]
    values = [row["params"][name] for row in rows]
    choice = raw["kind"] == "choice"
    return {
        "name": name, "log": bool(raw.get("log")), "choice": choice,
        "whole": not choice and all(isinstance(raw[end], int) for end in ("low", "high")),
        "known": [str(value) for value in raw["values"]] if choice else [raw["low"], raw["high"]],
        "values": [str(value) for value in values] if choice else values,
        "errors": [row["value"] for row in rows], "numbers": [row["number"] for row in rows],
    }  # fmt: skip


def score_of_start(found: Found) -> float | None:
    """The error of the default configuration, where a trial tried it."""
    whole = Space.from_json(found["space"]).start() or {}
    for row in found["history"]:
        # conditions may have left settings out
        asked = row["params"] and all(name in whole and whole[name] == value for name, value in row["params"].items())
        if asked and row["value"] is not None:
            return float(row["value"])
    return None


def metric_name(found: Found) -> str:
    return {"mae": "MAE", "pinball": "pinball loss"}[found["metric"]]


def second(found: Found) -> str | None:
    """The second objective in words."""
    names = {"seconds": "seconds of training", "coverage": "distance of coverage from what it should be"}
    return names[found["objectives"][1]] if len(found["objectives"]) > 1 else None


def good_rows(found: Found) -> list[Mapping[str, Any]]:
    """The best quarter of the scored trials, at least three."""
    scored = sorted((row for row in found["history"] if row["value"] is not None), key=lambda row: float(row["value"]))
    return scored[: max(3, math.ceil(GOOD * len(scored)))]


# -- words -------------------------------------------------------------------------------------
def _subtitle(found: Found) -> str:
    span, series = found["development"], found["development"].get("series") or {}
    parts = [str(series.get("target", ""))] if series else []
    parts += [
        f"study {found['study']}",
        f"{span['rows']:,} rows up to {shown(span['end'])}",
        f"sampler {found['sampler']}",
    ]
    return " · ".join(part for part in parts if part)


def _tiles(found: Found) -> list[tuple[str, str, str]]:
    best, start, counts, saved = found["best"], score_of_start(found), found["trials"], found["saved"]
    name = metric_name(found)
    out = [("trials", f"{counts['spent']:,}", f"{counts['pruned']} pruned, {counts['failed']} failed")]
    if best:
        out.append(("winner", number(best["values"][0]), f"{name} relative to naive, trial {best['number']}"))
    if start is not None:
        change = signed(best["values"][0] / start - 1).text if best and start else ""
        out.append(
            ("default", number(start), f"the winner's error is {change}" if change else "the default configuration")
        )
    out.append(("pruning saved", f"{saved['seconds']:,.0f} s", f"in {saved['trials']} trials cut short"))
    return out


def sections(found: Found, charts: Mapping[str, Any]) -> Iterator[Section]:
    """All that there is something to say about, in the order of the page."""
    yield _history(found)
    if found["best"]:
        yield _space(found, charts)
        yield Section(
            "slices", "Error by setting",
            ["Every dot is a scored trial, the later the darker; the ring is the winner."],
            [(f"slice-{k}", _caption(one)) for k, one in enumerate(charts["slices"])],
            notes=_unshown(found, charts),
        )  # fmt: skip
    if len(found["objectives"]) > 1:
        yield _front(found)
    if found["best"]:
        yield _winner(found)
    yield _trials(found)
    yield _settings(found)


def _history(found: Found) -> Section:
    counts, best = found["trials"], found["best"]
    lead = [f"{counts['complete']} trials were scored, {counts['pruned']} pruned, {counts['failed']} failed"
            + (f"; {counts['repeated']} were begun again after a stop." if counts["repeated"] else ".")]  # fmt: skip
    if best:
        lead.append(f"Trial {best['number']} was the best: {number(best['values'][0])} x naive's error.")
    else:
        lead.append("No trial could be scored.")
    if found["saved"]["trials"]:
        lead.append(f"Pruning saved about {found['saved']['seconds']:,.0f} s.")
    what = "Error of every trial in units of naive's (below 1 is better), and the best so far."
    return Section("history", "Search history", lead, [("history", what)] if best else [])


def _space(found: Found, charts: Mapping[str, Any]) -> Section:
    """Shares, and for every setting where the good trials lie: the space that matters."""
    shares, space, best = found["importances"], Space.from_json(found["space"]), found["best"]
    good, names = good_rows(found), by_importance(found)
    head = [("setting", False), ("importance", True), ("searched", False), (f"best {len(good)} trials", False),
            ("winner", False), ("default", False)]  # fmt: skip
    rows = []
    for name in names:
        values = [row["params"][name] for row in good if name in row["params"]]
        rows.append([
            Cell(name, name), percent(shares.get(name), 0), Cell(_searched(found["space"]["ranges"][name])),
            Cell(_span(values, found["space"]["ranges"][name]["kind"] == "choice")),
            Cell(_text(best["params"].get(name, "-"))), Cell(_text(setting(space.base, name))),
        ])  # fmt: skip
    lead = ["Too few trials were scored to say which setting mattered."]
    figures = []
    if shares:
        most = percent(shares[names[0]], 0).text
        lead = [f"{names[0]} told good trials from the others most: {most} of the importance."]
        figures.append(("importances", "Importance of every setting (PED-ANOVA); the shares sum to 1."))
    if charts["pair"]:
        a, b = (charts["slices"][k]["name"] for k in charts["pair"])
        figures.append(("pair", f"The two that matter most, {a} and {b}: the darker, the smaller the error."))
    notes = ["Importances are estimates from few trials. The range of the best trials is where a next study may look."]
    return Section(
        "space", "The space that matters", lead, figures, [Table(head, rows, sortable=True)], notes
    )  # fmt: skip


def _caption(one: Mapping[str, Any]) -> str:
    return f"{one['name']}{' (logarithmic)' if one['log'] else ''}."


def _unshown(found: Found, charts: Mapping[str, Any]) -> list[str]:
    left = len(found["space"]["ranges"]) - len(charts["slices"])
    return [f"{left} settings of the least importance are not drawn."] if left else []


def _front(found: Found) -> Section:
    what = second(found)
    head = [("trial", True), ("error / naive's", True), (str(what), True)]
    rows = [[count(one["number"]), cell(one["values"][0]), cell(one["values"][1])] for one in found["front"]]
    return Section(
        "front", "Two objectives", [f"{len(found['front'])} trials are on the Pareto front: none is better in both."],
        [("front", f"Error and {what} of every scored trial; the line joins the Pareto front.")], [Table(head, rows)],
    )  # fmt: skip


def _winner(found: Found) -> Section:
    best, space, sealed = found["best"], Space.from_json(found["space"]), found.get("sealed") or {}
    differs = {name: value for name, value in best["params"].items() if value != setting(space.base, name)}
    rows = [[Cell(name), Cell(_text(value)), Cell(_text(setting(space.base, name)))] for name, value in differs.items()]
    lead = [
        f"Trial {best['number']} differs from the default in {len(rows)} of {len(best['params'])} settings searched."
    ]
    tables = [Table([("setting", False), ("winner", False), ("default", False)], rows)] if rows else []
    folds = [[Cell(shown(fold["cutoff"])), cell(fold["error"]), cell(fold["seconds"])] for fold in best["folds"]]
    tables.append(Table([("fold: trained up to", False), ("error / naive's", True), ("seconds", True)], folds))
    if sealed and sealed.get("trial", best["number"]) == best["number"]:
        own, other = (number(as_float(sealed[name])) for name in ("tuned", "default"))
        lead.append(f"On the sealed span: {sealed.get('unit', 'MAE')} {own}, the default {other}.")
        page = f"{Path(sealed['backtest']).name}/report.html" if "backtest" in sealed else "backtest/report.html"
        lead.append(f"The page of the backtest has the forecasts and the tests: {page}.")
    return Section("winner", "The winner", lead, tables=tables)


def _trials(found: Found) -> Section:
    names, listed = by_importance(found), found["history"][:MOST_TRIALS]
    more = [str(second(found))] if len(found["objectives"]) > 1 else []
    head = [("trial", True), ("state", False), ("error / naive's", True), *((name, True) for name in more),
            ("seconds", True), *((name, _numeric(found, name)) for name in names), ("reason", False)]  # fmt: skip
    rows = []
    for row in listed:
        state = (
            "failed"
            if row["state"] == "fail" and row["failure"]
            else {"fail": "stopped"}.get(row["state"], row["state"])
        )
        cells = [count(row["number"]), Cell(state, state), cell(row["value"])]
        cells += [cell(row["also"])] if more else []
        cells += [cell(row["seconds"])]
        cells += [_value(row["params"].get(name)) for name in names]
        rows.append([*cells, Cell(str(row["failure"] or ""))])
    best = found["best"]["number"] if found["best"] else None
    marked = frozenset(k for k, row in enumerate(listed) if row["number"] == best)
    left = len(found["history"]) - len(listed)
    notes = [f"{left:,} more are in trials.csv."] if left else []
    return Section("trials", "All trials", tables=[Table(head, rows, marked, True)], notes=notes)


def _settings(found: Found) -> Section:
    span, budget = found["development"], found["budget"]
    told = [("metric", f"{metric_name(found)}, relative to naive's"), ("sampler", found["sampler"]),
            ("pruner", found["pruner"]), ("seed", str(found["seed"])),
            ("budget", "-" if budget is None else f"{budget} trials"),
            ("development span", f"{span['rows']:,} rows up to {shown(span['end'])}"),
            ("data fingerprint", str(span["data"])[:12])]  # fmt: skip
    told += [("seal opened", f"{one['time']}, after {one['trials']} trials") for one in found["openings"]]
    told += [] if found["openings"] else [("seal opened", "never")]
    pairs = Table([("", False), ("", False)], [[Cell(name), Cell(str(value))] for name, value in told])
    return Section("settings", "How it was searched", tables=[pairs])


def _numeric(found: Found, name: str) -> bool:
    return bool(found["space"]["ranges"][name]["kind"] == "range")


def _searched(raw: Mapping[str, Any]) -> str:
    if raw["kind"] == "choice":
        return ", ".join(map(_text, raw["values"]))
    return f"{_text(raw['low'])} to {_text(raw['high'])}{', by factors' if raw['log'] else ''}"


def _span(values: Sequence[Any], choice: bool) -> str:
    """Where values lie; of choices how often each was among them."""
    if not values:
        return "-"
    if choice:
        counts = {_text(value): values.count(value) for value in values}
        return ", ".join(f"{name} ({n})" for name, n in sorted(counts.items(), key=lambda item: -item[1]))
    low, high = _text(min(values)), _text(max(values))
    return low if low == high else f"{low} to {high}"


def _value(value: Any) -> Cell:
    if value is None:
        return Cell("")
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(_text(value), as_float(value) if plain else str(value))


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
