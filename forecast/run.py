"""One fit from source to run folder: load, train, forecast, score on the holdout, save, describe.

Nothing here prints; :mod:`forecast.commands` shows what :class:`Run` holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from forecast import baselines, evidence, frames, metrics, plot, report, storage
from forecast.config import Config
from forecast.model import Model
from forecast.request import check_ahead, check_free, last_values
from forecast.spans import Spans, spans_behind
from pipelines.errors import UsageError
from pipelines.grid import Grid
from pipelines.panel import Panel
from pipelines.where import shown

if TYPE_CHECKING:
    from forecast.train import Progress

SCHEMA = 1


@dataclass
class Run:
    """What one fit gave. ``validation``: scores of the holdout span, ``None`` where none was held out."""

    panel: Panel
    model: Model
    forecast: pd.DataFrame
    validation: Validation | None
    path: Path | None
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = storage.plain({
            "schema": SCHEMA,
            "run": None if self.path is None else str(self.path),
            "series": self.panel.describe() | {"last": last_values(self.panel), "notes": list(self.panel.notes)},
            "forecast": storage.records(self.forecast),
            "validation": None if self.validation is None else self.validation.to_json(),
            "notes": list(self.model.notes),
            "timing": self.seconds | {"training": self.model.facts["training"]},
            "config": self.model.config.to_json(),
        })  # fmt: skip
        return document


@dataclass(frozen=True)
class Validation:
    """How the model did beside the baselines on rows that neither training nor early stopping saw."""

    frame: pd.DataFrame  # every scored forecast
    scores: pd.DataFrame  # pooled
    by_step: pd.DataFrame
    verdict: dict[str, Any]
    spans: dict[str, str]
    notes: tuple[str, ...]  # what a reader should know of the scores, one sentence each

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "spans": self.spans,
            "notes": list(self.notes),
            "scores": storage.records(self.scores),
            "by_step": storage.records(self.by_step),
        }


def run_fit(
    panel: Panel, config: Config, *, out: Path | None = None, save: bool = True,
    progress: Callable[[Progress], None] | None = None, stage: Callable[[str], None] = lambda text: None,
) -> Run:  # fmt: skip
    """Train on ``panel``, forecast what comes next, score on the holdout, save a run folder.

    Args:
        out: the run folder; by default ``runs/<series>-<model>-<time>``.
        save: write the folder.
        progress: see :func:`forecast.train.fit`.
        stage: told what begins: training, scoring, saving.

    Raises:
        UsageError: ``out`` exists.
    """
    from forecast.train import fit

    check_free(out)
    check_ahead(panel, config.data.horizon)
    stage("training")
    clock = time.perf_counter()
    model = fit(panel, config, progress=progress)
    seconds = {"train": time.perf_counter() - clock}
    forecast = model.predict()
    stage("scoring the holdout")
    clock = time.perf_counter()
    validation = validate(model, panel) if model.config.data.holdout else None
    seconds["validate"] = time.perf_counter() - clock
    run = Run(panel, model, forecast, validation, None, seconds)
    if save:
        stage("saving")
        clock = time.perf_counter()
        run.path = save_run(run, out)
        seconds["save"] = time.perf_counter() - clock
    return run


def validate(model: Model, panel: Panel) -> Validation:
    """Score ``model`` and the baselines at every origin of ``panel`` whose targets lie behind the model's stop span.

    On the panel of the fit that is the span held out; on one with newer rows, those too. The strongest baseline is
    chosen on the stop span, before anything behind it is looked at.

    Raises:
        UsageError: a series was not there at the fit, or the model does not know which rows it was trained on.
        TooShortError: ``panel`` has no whole horizon behind the model's stop span, or no rows before its end.
    """
    if not isinstance(panel, Panel):
        raise UsageError(f"validate got {type(panel).__name__}, expected a Panel.", hint="Give the panel to score on.")
    known = model.facts.get("spans")
    if known is None:
        raise UsageError(
            "the model does not say which rows it was trained on, so none can be called unseen.",
            hint="Score a model made by forecast.fit, or use forecast.backtest.",
        )
    model.pipeline.positions(panel.ids)
    spans = spans_behind(panel, known, model.horizon)
    season = panel.grid.season if model.config.data.season is None else model.config.data.season
    train = panel.up_to(spans.stop_end)
    opponents = [baselines.make(name, season).fit(train) for name in ("naive", "drift", "seasonal_naive", "mean")]
    before = frames.origins_between(panel, spans.train - 1, spans.stop - 1)
    after = panel.grid.after(spans.stop_end, 1)[0]
    earlier = frames.result_frame(
        panel, before, {one.name: one.predict(panel, before, model.horizon) for one in opponents}
    )
    scale = metrics.naive_scale(train, season)
    unit = scale if len(panel.ids) > 1 else None
    strongest = evidence.choose_baseline(earlier, [one.name for one in opponents], after, unit)
    # whole horizons only: every origin counts as many steps, in the table and in the verdict
    rows = frames.origins_between(panel, spans.stop - 1, panel.lengths - model.horizon)
    columns = model.forecast_rows(panel, rows).columns(model.name)
    columns |= {one.name: one.predict(panel, rows, model.horizon) for one in opponents}
    frame = frames.result_frame(panel, rows, columns)
    _, outcome = evidence.gather(frame, [model.name], strongest, stride=1, scale=unit, confidence=False)
    return Validation(
        frame=frame,
        scores=metrics.score(frame, scale=scale),
        by_step=metrics.score(frame, by=["step"], scale=scale),
        verdict=outcome,
        spans=span_texts(panel.grid, spans, known.get("start")),
        notes=tuple(evidence.notes_on_series(frame, panel.ids, scale)),
    )


def span_texts(grid: Grid, spans: Spans, start: str | None) -> dict[str, str]:
    """Which rows were used for what, as sentences; ``start`` of the training rows, where the model knows it."""
    after_train, after_stop = (shown(grid.after(stamp, 1)[0]) for stamp in (spans.train_end, spans.stop_end))
    train_end, stop_end, end = (shown(stamp) for stamp in (spans.train_end, spans.stop_end, spans.end))
    return {
        "train": f"{'up' if start is None else shown(start)} to {train_end}: the weights learned from these rows",
        "stop": f"{after_train} to {stop_end}: early stopping and interval widths used these rows",
        "holdout": f"{after_stop} to {end}: scored once; training and early stopping never saw these rows",
    }


def default_folder(panel: Panel, model: Model) -> Path:
    """``runs/<series>-<model>-<time>``, made of harmless characters, not there yet."""
    return free_folder(panel, model.name)


def free_folder(panel: Panel, what: str) -> Path:
    """``runs/<series>-<what>-<time>``, made of harmless characters, not there yet."""
    import re

    name = panel.ids[0] if len(panel.ids) == 1 else f"{len(panel.ids)}-series"
    slug = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40] or "series"
    return storage.unused(Path("runs") / f"{slug}-{what}-{time.strftime('%Y%m%d-%H%M%S')}")


def save_run(run: Run, path: Path | None = None) -> Path:
    """Write the run folder: the model's files, forecast, scores, a plot and the page, all under one manifest.

    Args:
        path: the folder; by default ``runs/<series>-<model>-<time>``, with a number where that is taken.
    """
    facts = {**run.model.manifest(), "created": time.strftime("%Y-%m-%dT%H:%M:%S%z")}

    def write(folder: Path) -> None:
        run.model.write(folder)
        run.forecast.to_csv(folder / "forecast.csv", index=False)
        if run.validation is not None:
            run.validation.scores.to_csv(folder / "scores.csv", index=False)
            run.validation.by_step.to_csv(folder / "scores_by_step.csv", index=False)
            run.validation.frame.astype({"unique_id": str}).to_parquet(folder / "validation.parquet", index=False)
            storage.dump_json(folder / "verdict.json", {"schema": SCHEMA, **run.validation.to_json()})
        plot.save_forecast(
            folder / "forecast.png", run.panel, run.forecast, run.model.name,
            None if run.validation is None else run.validation.frame,
        )  # fmt: skip
        report.write_page(folder, facts)

    asked = path or default_folder(run.panel, run.model)
    return storage.write_folder(asked, write, facts, numbered=path is None)
