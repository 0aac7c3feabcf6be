"""One fit from source to run folder: load, train, forecast, score on the holdout, save, describe.

Nothing here prints; :mod:`forecast.commands` shows what :class:`Run` holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecast import baselines, frames, metrics, plot, report, storage, verdict
from forecast.config import Config, read_config
from forecast.model import Model
from forecast.spans import Spans, cut_spans
from pipelines.errors import UsageError
from pipelines.panel import Panel

if TYPE_CHECKING:
    from forecast.train import Progress

SCHEMA = 1


@dataclass(frozen=True)
class DataRequest:
    """Which data, in the words of the command line."""

    ticker: tuple[str, ...] = ()
    csv: Path | None = None
    source: str = "yahoo"
    offline: bool = False
    start: str | None = None
    end: str | None = None
    interval: str = "1d"
    time: str | None = None
    target: tuple[str, ...] = ()
    id: str | None = None
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    options: dict[str, Any] = field(
        default_factory=dict
    )  # how to read: freq, gaps, tz, sep, ... as read_file names them

    def load(self) -> Panel:
        """Read the data.

        Raises:
            UsageError: neither or both of a ticker and a file were given, or an option of the other kind.
        """
        if bool(self.ticker) == (self.csv is not None):
            got = "both a ticker and a file" if self.ticker else "neither a ticker nor a file"
            raise UsageError(
                f"{got} given; one of them is the data.",
                hint="Use --ticker AAPL, or --csv FILE --time COLUMN --target COLUMN.",
            )
        return self._load_ticker() if self.ticker else self._load_file()

    def _load_ticker(self) -> Panel:
        from pipelines.tickers import load

        files_only = {"--time": self.time, "--id": self.id, "--future": self.future, "--static": self.static}
        files_only |= {f"--{name}": value for name, value in self.options.items() if name != "calendar"}
        self._refuse(files_only, "--ticker", "--csv")
        if len(self.target) > 1:
            raise UsageError(f"{len(self.target)} targets for a ticker.", hint="Give one --target, such as open.")
        return load(
            self.ticker, source=self.source, start=self.start, end=self.end, interval=self.interval,
            target=self.target[0] if self.target else None, past=self.past, offline=self.offline,
            calendar=self.options.get("calendar"),
        )  # fmt: skip

    def _load_file(self) -> Panel:
        from dataclasses import replace

        from pipelines.sources.files import read_file

        tickers_only = {"--offline": self.offline, "--interval": None if self.interval == "1d" else self.interval}
        self._refuse(tickers_only, "--csv", "--ticker")
        if self.csv is None:
            raise UsageError("no file given.", hint="Use --csv FILE.")
        target: Any = list(self.target) if len(self.target) > 1 else self.target[0] if self.target else None
        panel = read_file(
            self.csv, time=self.time, target=target, id=self.id, future=self.future,
            past=("*",) if self.past == ("all",) else self.past,
            static=self.static, **self.options,
        )  # fmt: skip
        if self.end is not None:
            panel = panel.up_to(self.end)
        if self.start is not None:
            panel = replace(panel, frame=panel.frame[panel.frame["ds"] >= pd.Timestamp(self.start)])
        return panel

    @staticmethod
    def _refuse(given: dict[str, Any], here: str, there: str) -> None:
        for flag, value in given.items():
            if value:
                raise UsageError(f"{flag} goes with {there}, not with {here}.", hint=f"Leave {flag} out.")


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
            "forecast": records(self.forecast),
            "validation": None if self.validation is None else self.validation.to_json(),
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
    verdict: dict[str, str]
    spans: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "spans": self.spans,
            "scores": records(self.scores),
            "by_step": records(self.by_step),
        }


def data_request(flags: Mapping[str, Any]) -> DataRequest:
    """A request from the data flags of a command (``forecast.commands.options.DATA_FLAGS``)."""
    several: dict[str, Any] = {
        name: tuple(flags[name] or ()) for name in ("ticker", "target", "past", "future", "static")
    }
    single = {name: flags[name] for name in ("csv", "source", "offline", "start", "end", "interval", "time", "id")}
    rest = {name: value for name, value in flags.items() if name not in {**several, **single} and value is not None}
    return DataRequest(**several, **single, options=rest)


def config_of(flags: Mapping[str, Any], **more: Any) -> Config:
    """A configuration from the setting flags of a command (``forecast.commands.options.SETTING_FLAGS``)."""
    rest = {name: value for name, value in flags.items() if name not in ("config", "preset", "set_")}
    return make_config(flags["config"], flags["preset"], flags["set_"] or [], **rest, **more)


def make_config(file: Path | None, preset: str | None, settings: Sequence[str], **flags: Any) -> Config:
    """A configuration from a preset, then a file, then ``section.name=value`` texts, then flags that were given."""
    from forecast.presets import preset_values

    config = Config.make(preset_values(preset))
    if file is not None:
        config = config.override(**_flat(read_config(file)))
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set got {text!r}, expected name=value.", hint="For instance --set model.hidden=32.")
        config = config.override(**{name.strip(): _parse(value.strip())})
    return config.override(**{name: value for name, value in flags.items() if value is not None})


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for section, inner in values.items():
        flat.update(
            {f"{section}.{name}": value for name, value in inner.items()}
            if isinstance(inner, dict)
            else {section: inner}
        )
    return flat


def _parse(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


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
        run.path = save_run(run, out or default_folder(panel, model))
        seconds["save"] = time.perf_counter() - clock
    return run


def check_free(out: Path | None) -> None:
    """Refuse a folder that is there, before any work is done.

    Raises:
        UsageError: ``out`` exists.
    """
    if out is not None and out.exists():
        raise UsageError(f"{out} exists already.", hint="Choose another --out, or remove it.")


def validate(model: Model, panel: Panel) -> Validation:
    """Score ``model`` and the baselines at every origin whose targets lie in the holdout span.

    The strongest baseline is chosen on the stop span, before the holdout is looked at.
    """
    spans = cut_spans(panel, model.config)
    season = panel.grid.season if model.config.data.season is None else model.config.data.season
    train = panel.up_to(spans.stop_end)
    opponents = [baselines.make(name, season).fit(train) for name in ("naive", "drift", "seasonal_naive", "mean")]
    before = frames.origins_between(panel, spans.train - 1, spans.stop - 1)
    after = panel.grid.after(spans.stop_end, 1)[0]
    earlier = frames.result_frame(
        panel, before, {one.name: one.predict(panel, before, model.horizon) for one in opponents}
    )
    strongest = verdict.strongest_baseline(earlier, [one.name for one in opponents], before=after)
    rows = frames.origins_between(panel, spans.stop - 1, panel.lengths - 1)
    found = model.forecast_rows(panel, rows)
    columns = {model.name: found.point}
    for level, (low, high) in found.bounds.items():
        columns[f"{model.name}-lo-{level}"], columns[f"{model.name}-hi-{level}"] = low, high
    columns |= {one.name: one.predict(panel, rows, model.horizon) for one in opponents}
    frame = frames.result_frame(panel, rows, columns)
    scale = metrics.naive_scale(train, season)
    [outcome] = verdict.compare(frame, [model.name], strongest, scale=scale if len(panel.ids) > 1 else None)
    return Validation(
        frame=frame,
        scores=metrics.score(frame, scale=scale),
        by_step=metrics.score(frame, by=["step"], scale=scale),
        verdict={**outcome.verdict, "model": model.name, "baseline": strongest},
        spans=span_texts(panel, spans),
    )


def span_texts(panel: Panel, spans: Spans) -> dict[str, str]:
    """Which rows were used for what, as sentences."""
    stamps = [panel.start, spans.train_end, panel.grid.after(spans.train_end, 1)[0], spans.stop_end]
    stamps += [panel.grid.after(spans.stop_end, 1)[0], spans.end]
    start, train_end, after_train, stop_end, after_stop, end = (
        str(stamp).removesuffix(" 00:00:00") for stamp in stamps
    )
    return {
        "train": f"{start} to {train_end}: the weights learned from these rows",
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
    base = Path("runs") / f"{slug}-{what}-{time.strftime('%Y%m%d-%H%M%S')}"
    candidate, count = base, 1
    while candidate.exists():
        count += 1
        candidate = base.with_name(f"{base.name}-{count}")
    return candidate


def save_run(run: Run, path: Path) -> Path:
    """Write the run folder: the model's files, forecast, scores, a plot and the page, all under one manifest."""
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

    storage.write_folder(path, write, facts)
    return path


def last_values(panel: Panel) -> dict[str, float | None]:
    """Last observed value of every series (of the first hundred)."""
    seen = baselines.last_seen(panel)[panel.offsets[1:] - 1][:100]
    y = panel.column("y")
    return {name: float(y[at]) if at >= 0 else None for name, at in zip(panel.ids, seen, strict=False)}


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON objects; stamps as ISO text."""
    out: list[dict[str, Any]] = storage.plain(frame.astype(object).to_dict("records"))
    return out


def horizon_note(model: Model) -> str:
    """What the point forecast and its intervals are."""
    levels = " and ".join(f"{level} %" for level in model.levels)
    point = "median" if model.config.model.head == "quantile" or model.config.data.log else "point forecast"
    return f"{point}; {levels} intervals, calibrated on the stop span" if np.size(model.levels) else point
