"""Page data: what a report shows, read from the folder of a fit or of a backtest into one shape.

Nothing is scored here in a way of its own: numbers come from the folder, or from :mod:`forecast.metrics`,
:mod:`forecast.evidence` and :mod:`forecast.verdict`. Only this module knows where a folder keeps what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from forecast import evidence, metrics, storage
from forecast.config import Config
from forecast.folder import read_panel
from forecast.results import Backtest
from forecast.spans import cut_spans
from pipelines.errors import ArtifactError
from pipelines.panel import Panel
from pipelines.where import plural, shown

AUDIT = "audit.json"
NOT_SCORED = "Nothing was held out for scoring, so nothing can be said about skill."


@dataclass(frozen=True, eq=False)
class Page:
    """Everything a report shows.

    Args:
        kind: ``"fit"`` or ``"backtest"``.
        name: of the folder.
        panel: the data.
        frame: scored forecasts (result frame with ``step`` and ``last``); no rows if nothing was held out.
        models, baselines: columns of ``frame``; ``baseline`` is the strongest, chosen before the test span.
        verdict: ``{"label", "text"}``; ``label`` is empty if nothing was scored.
        scores, by_step, by_series: see :func:`forecast.metrics.score`.
        calibration: per model with intervals, :func:`forecast.metrics.calibration` pooled.
        significance: document of :func:`forecast.evidence.gather`; empty if nothing was scored.
        seeds: scores of each seed; no rows for one seed.
        scale: naive error of every series before the test span, see :func:`forecast.metrics.naive_scale`.
        ahead: forecast of what comes after the data (of a fit), else no rows.
        spans: which rows were used for what, by name.
        audit: outcome of the leak check if there is one in the folder.
        trade: net-of-cost scorecards by model, if the backtest has them.
        remarks: what a reader should know of the scores, one sentence each.
        config, facts: settings; versions, seed, threads and fingerprint of the manifest.
        created: when the run was made, as text.
    """

    kind: str
    name: str
    panel: Panel
    frame: pd.DataFrame
    models: list[str]
    baselines: list[str]
    baseline: str
    verdict: dict[str, Any]
    scores: pd.DataFrame
    by_step: pd.DataFrame
    by_series: pd.DataFrame
    calibration: dict[str, pd.DataFrame]
    significance: dict[str, Any]
    seeds: pd.DataFrame
    scale: pd.DataFrame | None
    ahead: pd.DataFrame
    spans: dict[str, str]
    audit: dict[str, Any] | None
    trade: dict[str, Any] | None
    remarks: tuple[str, ...]
    config: dict[str, Any]
    facts: dict[str, Any]
    created: str

    @property
    def scored(self) -> bool:
        return bool(len(self.frame))

    @property
    def several(self) -> bool:
        return len(self.panel.ids) > 1

    @property
    def title(self) -> str:
        """The series, or how many there are."""
        return f"{len(self.panel.ids):,} series" if self.several else self.panel.ids[0]

    @property
    def horizon(self) -> int:
        part = self.frame if self.scored else self.ahead
        return int(metrics.steps(part).max())


def read_page(folder: Path, facts: Mapping[str, Any] | None = None) -> Page:
    """The page data of a run folder.

    Args:
        facts: what the manifest will say, while there is none yet; by default the manifest.

    Raises:
        ArtifactError: ``folder`` holds neither a fit nor a backtest, or is damaged.
    """
    manifest = dict(storage.load_json(folder / storage.MANIFEST) if facts is None else facts)
    manifest.pop("files", None)
    if (folder / "backtest.json").is_file():
        page = _backtest(folder, manifest)
    elif (folder / "config.json").is_file() and (folder / "forecast.csv").is_file():
        page = _fit(folder, manifest)
    else:
        raise ArtifactError(
            f"{folder} holds neither a fit nor a backtest.", hint="Give a folder that `fit` or `backtest` wrote."
        )
    audit = storage.load_json(folder / AUDIT) if (folder / AUDIT).is_file() else None
    return replace(page, audit=audit, created=str(manifest.get("created", "")))


def _backtest(folder: Path, manifest: dict[str, Any]) -> Page:
    run = Backtest.load(folder)
    first = run.folds[0]
    train = run.panel.up_to(first["cutoff"])
    rows = train.frame[train.frame["ds"] >= pd.Timestamp(first["train_start"])]
    asked = run.settings
    models = run.models
    stride, refit = asked.get("stride", 1), asked["refit"]
    spans = {
        "train": f"{shown(first['train_start'])} to {shown(first['cutoff'])}: rows the first fold was fitted on",
        "test": f"{shown(first['test_start'])} to {shown(run.folds[-1]['test_end'])}: forecast and scored",
        "folds": f"{len(run.folds)}, refit {refit}, an origin every {_step(stride)}, gap {asked.get('gap', 0)}",
    }
    return Page(
        kind="backtest", name=folder.name, panel=run.panel, frame=run.frame, models=models,
        baselines=[name for name in metrics.models_of(run.frame) if name not in models],
        baseline=run.verdict["baseline"], verdict=run.verdict, scores=run.scores, by_step=run.by_step,
        by_series=run.by_series, calibration={name: pd.DataFrame(rows) for name, rows in run.calibration.items()},
        significance=run.significance, seeds=run.seeds,
        scale=metrics.naive_scale(replace(train, frame=rows), int(asked["season"])),
        ahead=_no_rows(run.frame), spans=spans, audit=None, trade=run.trade, remarks=run.notes,
        config={name: value for name, value in asked.items() if name != "data"}, facts=manifest, created="",
    )  # fmt: skip


def _fit(folder: Path, manifest: dict[str, Any]) -> Page:
    settings = storage.load_json(folder / "config.json")
    settings.pop("schema", None)
    panel, config = read_panel(folder), Config.make(settings)
    remarks = tuple(storage.load_json(folder / "pipeline.json")["facts"].get("notes", ()))
    model, ahead = config.model.core, _read_forecast(folder / "forecast.csv")
    empty = pd.DataFrame()
    page = Page(
        kind="fit", name=folder.name, panel=panel, frame=_no_rows(ahead), models=[model], baselines=[],
        baseline="naive", verdict={"label": "", "text": NOT_SCORED}, scores=empty, by_step=empty, by_series=empty,
        calibration={}, significance={}, seeds=empty, scale=None, ahead=ahead, spans={}, audit=None, trade=None,
        remarks=remarks, config=settings, facts=manifest, created="",
    )  # fmt: skip
    if not (folder / "validation.parquet").is_file():
        return page
    frame = pd.read_parquet(folder / "validation.parquet")
    frame["unique_id"] = pd.Categorical(frame["unique_id"], categories=list(panel.ids))
    told = storage.load_json(folder / "verdict.json")
    season = config.data.season or panel.grid.season
    scale = metrics.naive_scale(panel.up_to(cut_spans(panel, config).stop_end), season)
    baselines = [name for name in metrics.models_of(frame) if name != model]
    baseline = told["verdict"].get("baseline", "naive")
    found, _ = evidence.gather(frame, [model], baseline, stride=1, scale=scale, confidence=False)
    pooled = _table(told["scores"])
    by_series = metrics.score(frame, by=["unique_id"], scale=scale) if len(panel.ids) > 1 else pooled
    return replace(
        page, frame=frame, baselines=baselines, baseline=baseline, verdict=told["verdict"], spans=told["spans"],
        scores=pooled, by_step=_table(told["by_step"]), by_series=by_series,
        calibration={model: metrics.calibration(frame, model)} if metrics.levels(frame, model) else {},
        significance=storage.plain(found), scale=scale, remarks=(*remarks, *told.get("notes", ())),
    )  # fmt: skip


def _table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """A table of scores from JSON, in which a missing number is null."""
    table = pd.DataFrame.from_records(records)
    return table.apply(lambda column: column if column.name == "model" else pd.to_numeric(column))


def _read_forecast(file: Path) -> pd.DataFrame:
    """forecast.csv, in which a series may be called NA or 007."""
    with file.open(encoding="utf-8", newline="") as stream:
        columns = pd.read_csv(stream, nrows=0).columns
    return pd.read_csv(
        file, dtype={"unique_id": str}, keep_default_na=False, parse_dates=["ds", "cutoff"],
        na_values={name: [""] for name in columns if name != "unique_id"},
    )  # fmt: skip


def _no_rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[:0]


def _step(stride: int) -> str:
    return "row" if stride == 1 else plural(stride, "row")


def score_of(table: pd.DataFrame, model: str, column: str) -> float:
    """One score of a pooled table; NaN where it is not there."""
    found = table.loc[table["model"] == model, column].tolist() if column in table else []
    return float(found[0]) if found else float("nan")


def levels_of(page: Page, models: Sequence[str]) -> dict[str, list[float]]:
    """Interval levels of every model, in scores or in the forecast ahead."""
    part = page.frame if page.scored else page.ahead
    return {name: list(metrics.levels(part, name)) for name in models}
