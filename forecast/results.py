"""Backtest: what a backtest found, for people, programs and the disk.

Result frames have the Nixtla layout with two columns more, ``step`` and ``last``. Every row of the scores says
what it came from: data fingerprint, hash of the configuration, versions, seeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from forecast import storage
from forecast.folder import read_panel, versions, write_panel
from pipelines.errors import ArtifactError
from pipelines.panel import Panel

SCHEMA = 1
TABLES = ("scores", "by_step", "by_series", "seeds")
SEED_COLUMNS = ("model", "seed", "n", "missing", "mae", "rmse", "mase", "rmsse", "smape", "direction")


@dataclass(repr=False)
class Backtest:
    """Outcome of :func:`forecast.backtest.backtest`.

    Args:
        panel: the data.
        frame: one row per series, origin and step: ``unique_id, ds, cutoff, step, last, y``, every model and its
            intervals. With several seeds a model's column is the mean of its seeds' forecasts. Where a model tells the
            probability of going up: ``<model>-up``, and ``usual``, the base rate known at the origin.
        scores, by_step, by_series: see :func:`forecast.metrics.score`, with provenance.
        seeds: scores of each seed on its own, for models with several.
        calibration: per model, how often the truth fell at or below each quantile held (PIT).
        significance: see :func:`forecast.evidence.gather`.
        verdict: ``{"label", "text", "model", "baseline"}``.
        folds: every cut and what each model did in it.
        timing: seconds, and how many folds were run or taken from the store.
        settings: what was asked for, the models' configurations among it.
        trade: net-of-cost scorecards by model, if asked for.
        notes: what a reader should know, one sentence each.
    """

    panel: Panel
    frame: pd.DataFrame
    scores: pd.DataFrame
    by_step: pd.DataFrame
    by_series: pd.DataFrame
    seeds: pd.DataFrame
    calibration: dict[str, list[dict[str, Any]]]
    significance: dict[str, Any]
    verdict: dict[str, Any]
    folds: list[dict[str, Any]]
    timing: dict[str, Any]
    settings: dict[str, Any]
    trade: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    path: Path | None = field(default=None)

    @property
    def models(self) -> list[str]:
        """The models on trial, in the order asked for."""
        return [str(name) for name in self.settings["models"]]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: ``verdict, scores, significance, folds, timing, schema`` and what else there is but forecasts."""
        document: dict[str, Any] = storage.plain({
            "schema": SCHEMA,
            "run": None if self.path is None else str(self.path),
            "verdict": self.verdict,
            **{name: getattr(self, name).astype(object).to_dict("records") for name in TABLES},
            "calibration": self.calibration,
            "significance": self.significance,
            "trade": self.trade,
            "folds": self.folds,
            "timing": self.timing,
            "settings": self.settings,
            "series": {**self.panel.describe(), "notes": list(self.panel.notes)},
            "notes": list(self.notes),
        })  # fmt: skip
        return document

    def save(
        self, path: Path | str, *, overwrite: bool = False, numbered: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> Path:  # fmt: skip
        """Write a run folder: ``backtest.json``, ``forecasts.parquet``, the data, ``manifest.json``.

        Args:
            numbered: where ``path`` is taken, a number behind it makes another.
            extra: further text files by name, covered by the manifest.

        Raises:
            UsageError: the folder exists.
        """

        def write(folder: Path) -> None:
            storage.dump_json(folder / "backtest.json", {**self.to_json(), "run": None})
            self.frame.astype({"unique_id": str}).to_parquet(folder / "forecasts.parquet", index=False)
            self.scores.to_csv(folder / "scores.csv", index=False)
            self.by_step.to_csv(folder / "scores_by_step.csv", index=False)
            write_panel(self.panel, folder)
            for name, text in (extra or {}).items():
                (folder / name).write_text(text, "utf-8")

        facts = {
            "kind": "backtest",
            "versions": versions(),
            "seed": self.settings["seeds"],
            "threads": self.settings["threads"],
            "data": {**self.panel.describe(), "fingerprint": self.settings["data"], "meta": dict(self.panel.meta)},
        }
        self.path = storage.write_folder(Path(path), write, facts, overwrite=overwrite, numbered=numbered)
        return self.path

    @classmethod
    def load(cls, path: Path | str) -> Backtest:
        """Read what :meth:`save` wrote.

        Raises:
            ArtifactError: the folder is damaged, edited, or not a backtest's.
        """
        folder = Path(path)
        if storage.check_folder(folder).get("kind") != "backtest":
            raise ArtifactError(f"{folder} holds no backtest.", hint="Give a folder that `forecast backtest` wrote.")
        document = storage.load_json(folder / "backtest.json")
        panel = read_panel(folder)
        frame = pd.read_parquet(folder / "forecasts.parquet")
        frame["unique_id"] = pd.Categorical(frame["unique_id"], categories=list(panel.ids))
        tables = {name: _table(document[name]) for name in TABLES}
        if tables["seeds"].empty:
            tables["seeds"] = pd.DataFrame(columns=list(SEED_COLUMNS))
        parts = {
            name: document[name]
            for name in ("calibration", "significance", "verdict", "folds", "timing", "settings", "trade")
        }
        return cls(panel=panel, frame=frame, **tables, **parts, notes=tuple(document["notes"]), path=folder)

    def __repr__(self) -> str:
        shown = self.scores.set_index("model")[["mae", "rmse", "mase", "direction", "missing"]]
        first, last = self.frame["cutoff"].min(), self.frame["cutoff"].max()
        lines = [
            f"Backtest: {self.frame['cutoff'].nunique():,} origins from {first} to {last}, "
            f"horizon {self.settings['horizon']}, refit {self.settings['refit']}",
            shown.to_string(float_format=lambda value: f"{value:.4g}"),
            f"Verdict: {self.verdict['text']}",
            *[part["text"] for part in self.significance.get("up", {}).values()],
            *self.notes,
        ]
        return "\n".join(lines)


def _table(records: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame.from_records(records)
    for name in table.columns:
        if name not in ("model", "unique_id", "data", "config", "versions", "seeds"):
            table[name] = pd.to_numeric(table[name]).astype("float64" if table[name].isna().any() else None)
    return table


def short_hash(document: Any) -> str:
    """Twelve characters that change when ``document`` does."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]


def stamp(table: pd.DataFrame, hashes: Mapping[str, str], data: str, seeds: Mapping[str, str]) -> pd.DataFrame:
    """``table`` with the provenance of every row: ``data, config, versions, seeds``."""
    known = versions()
    text = ", ".join(f"{name} {known[name]}" for name in ("forecast-toolkit", "torch", "numpy", "python"))
    return table.assign(
        data=data[:12],
        config=table["model"].map(hashes),
        versions=text,
        seeds=table["model"].map(lambda name: seeds.get(name, "none")),
    )
