"""Model: a trained net with its pipeline and where it stands; natural units in, natural units out.

Prediction is streaming: one pass over a history gives a forecast at every origin (:meth:`Model.forecast_rows`),
and the state left behind makes the next row cost O(1) (:meth:`Model.update`). Needs torch, not Lightning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from forecast import reader, recursion, storage
from forecast.baselines import checked_rows
from forecast.config import Config
from forecast.elsewhere import notes_on_level
from forecast.folder import pack, read_panel, unpack, versions, write_panel
from forecast.forecasts import Forecasts, central
from forecast.nn.network import Network, filled
from forecast.onward import continuation
from forecast.reader import Standing
from forecast.threads import at_most, threads
from pipelines.errors import ArtifactError, DataError, TooShortError, UsageError
from pipelines.panel import Panel
from pipelines.pipeline import Pipeline, require_future
from pipelines.where import plural, some

Array = NDArray[np.float64]
Index = NDArray[np.int64]


class Model:
    """A fitted forecaster.

    Args:
        config: settled configuration (no ``"auto"`` left).
        pipeline: fitted pipeline.
        network: trained net; kept on the CPU in evaluation mode.
        calibration: ``{level: [H]}`` how far to push out the bounds of each central interval, in the net's
            units, measured on the span early stopping used: conformalised quantile regression (Romano,
            Patterson and Candes 2019, arXiv 1905.03222).
        facts: what the training run wants remembered; JSON only.
    """

    def __init__(
        self,
        config: Config,
        pipeline: Pipeline,
        network: Network,
        calibration: Mapping[int, Array] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.pipeline = config, pipeline
        self.network = network.to("cpu").eval()
        self.calibration = {int(level): np.asarray(push, np.float64) for level, push in (calibration or {}).items()}
        self.facts: dict[str, Any] = dict(facts or {})
        self._panel: Panel | None = None
        self._pending: list[pd.DataFrame] = []  # rows read by update and not yet part of _panel
        self._last: dict[str, pd.Timestamp] = {}
        self._standing: Standing | None = None

    def __repr__(self) -> str:
        model = self.config.model
        ends = f"stands at {max(self._last.values())}" if self._last else "has read nothing"
        return (
            f"Model: {self.name} ({model.layers} x {model.hidden}) for {self.config.data.kind} data, "
            f"horizon {self.horizon}, {len(self.pipeline.fitted.ids)} series, {ends}"
        )

    # -- facts ---------------------------------------------------------------------------------
    @property
    def horizon(self) -> int:
        return self.config.data.horizon

    @property
    def name(self) -> str:
        """The name of the forecast's column."""
        return self.config.model.core

    @property
    def levels(self) -> list[int]:
        """Central intervals the model gives, in per cent, narrow to wide."""
        return [round(100 * (1 - 2 * q)) for q in sorted(self.config.model.quantiles, reverse=True) if q < 0.5]

    @property
    def lookback(self) -> int | None:
        """Rows a window reads; ``None`` for a stream."""
        return self.config.data.lookback if self.config.data.mode == "window" else None

    @property
    def panel(self) -> Panel | None:
        """All rows read so far; ``None`` before the first."""
        if self._panel is not None and self._pending:
            future = self._panel.future
            self._panel = replace(self._panel.append(pd.concat(self._pending, ignore_index=True)), future=future)
            self._pending = []
        return self._panel

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of :meth:`predict`, a sentence each.

        Series without a scale, too short for a window, or now far from where training saw them.
        """
        told: tuple[str, ...] = tuple(self.facts.get("notes", ()))
        if self._panel is None:
            return told
        history, seen = self._whole(), self.facts.get("ranges", {})  # runs of before it was kept know no range
        times = self.pipeline.to_fit(history)
        told += tuple(notes_on_level(history, seen, log=bool(self.config.data.log), times=times))
        if self.lookback is None:
            return told
        short = [name for name, rows in zip(history.ids, history.lengths, strict=True) if rows < self.lookback]
        reason = f"fewer rows than a window of this model reads ({self.lookback})"
        return (*told, f"no forecast for {some(short)}: {reason}.") if short else told

    # -- forecasting ---------------------------------------------------------------------------
    def predict(self, panel: Panel | None = None) -> pd.DataFrame:
        """The next ``H`` steps of every series: ``unique_id, ds, cutoff, <model>, <model>-lo-90, <model>-hi-90, ...``.

        With a direction head also ``<model>-up``: the probability of a value above the last one. In window mode a
        series with fewer rows than a window has no forecast: NaN, as in :meth:`forecast_rows`; :attr:`notes` names it.

        Args:
            panel: history to read from its start, instead of going on from where the model stands; the model then
                stands behind its last row.

        Raises:
            UsageError: no history was read yet, or a series is unknown.
            DataError: known-future covariates do not reach ``H`` steps ahead.
            TooShortError: in window mode, every series has fewer rows than a window.
        """
        if panel is not None:
            self.read(panel)
        history, standing = self._position()
        require_future(history, self._last, self.horizon)
        short = np.zeros(len(history.ids), np.bool_)
        if self.lookback is not None:  # rows read since are laid out for it, which a stream has no need of
            lengths = self._whole().lengths
            short = lengths < self.lookback
        if short.all():
            raise TooShortError(
                f"the longest series has {plural(int(lengths.max()), 'row')}, a window of this model reads "
                f"{self.lookback}.",
                hint="Give more history, or fit with a shorter --lookback.",
            )
        series_at = self.pipeline.positions(history.ids)
        rows = np.arange(len(history.ids))
        out: Array | NDArray[np.float32]
        with threads(self.config.train.threads):
            if self.config.data.strategy == "recursive":
                ahead = self.pipeline.ahead_behind(history.grid, self._last, history.future, self.horizon)
                out = recursion.roll(self.network, self.pipeline, standing, series_at, ahead, self.lookback)
            else:
                out = reader.forecast(self.network, standing)
        out[short] = np.nan
        times = self.pipeline.to_fit(history)
        found = self.natural(rows, out, standing.anchor, standing.scale, series_at, times).columns(self.name)
        frames = []
        for i, name in enumerate(history.ids):
            last = self._last[name]
            columns: dict[str, Any] = {"unique_id": name, "ds": history.grid.after(last, self.horizon), "cutoff": last}
            frames.append(pd.DataFrame(columns | {column: values[i] for column, values in found.items()}))
        return pd.concat(frames, ignore_index=True)

    def forecast_rows(self, panel: Panel, rows: Index) -> Forecasts:
        """Forecasts at the origins ``rows [M]`` (positions in ``panel.frame``), each from rows up to its own.

        One pass over the history whatever ``M``; does not move where the model stands.

        Raises:
            UsageError: a row is outside the panel or no whole number, or a series is unknown.
        """
        rows = checked_rows(panel, rows, self.horizon)
        return self.natural(rows, *self.residuals(panel, rows), self.to_fit(panel, rows))

    def to_fit(self, panel: Panel, rows: Index) -> Array | None:
        """``[M]`` what the targets of ``rows [M]`` are multiplied by where shares were split since the fit."""
        times = self.pipeline.to_fit(panel)
        return None if times is None else times[np.searchsorted(panel.offsets, rows, side="right") - 1]

    def residuals(self, panel: Panel, rows: Index) -> tuple[Array, Array, Array, Index]:
        """What the head says at origins ``rows [M]``: ``[M, H, width]`` in the net's units, anchor, scale, series."""
        prepared = self.pipeline.transform(panel)
        owner = np.searchsorted(panel.offsets, rows, side="right") - 1
        at = prepared.offsets[owner] + rows - panel.offsets[owner]
        series = self.pipeline.positions(panel.ids)[owner]
        with threads(self.config.train.threads):
            if self.config.data.strategy == "recursive":
                out = recursion.at_rows(self.network, self.pipeline, panel, prepared, rows, self.horizon, self.lookback)
            else:
                out = reader.read(self.network, prepared, at, self.lookback)[0].astype(np.float64)
        return out, prepared.anchor[at], prepared.scale[at], series

    def reaches(self, panel: Panel, rows: Index) -> NDArray[np.bool_]:
        """``[M]`` which origins ``rows`` of ``panel`` have a forecast: of a fitted series, behind a whole window."""
        owner = np.searchsorted(panel.offsets, rows, side="right") - 1
        fitted = np.isin(panel.ids, self.pipeline.fitted.ids)[owner]
        enough: NDArray[np.bool_] = rows - panel.offsets[owner] + 1 >= (self.lookback or 1)
        return fitted & enough

    def read(self, panel: Panel) -> Model:
        """Read a history from its first row; the model then stands behind its last."""
        if not isinstance(panel, Panel):
            raise UsageError(f"got {type(panel).__name__}, expected a Panel.", hint="pipelines.from_frame makes one.")
        prepared = self.pipeline.transform(panel)
        with threads(self.config.train.threads):
            _, standing = reader.read(self.network, prepared, np.zeros(0, np.int64), self.lookback)
        self._stand(panel, standing)
        return self

    def update(self, rows: pd.DataFrame, future: pd.DataFrame | None = None) -> Model:
        """Read new ``rows`` (``unique_id, ds, y``, covariates) behind the history: O(1) work of the net per row.

        Equal to reading the whole history again up to rounding. Series without new rows stand where they stood.
        Prices are on the share count of the history: after a split, read the whole history again.

        Args:
            future: known-future covariates behind the new rows; by default those given before.

        Raises:
            TimeError: a row does not continue its series on the grid; a missing value must be a row with NaN.
            UsageError: these are no rows, a series was not read before, or shares were split behind the history.
        """
        history, standing = self._position()
        ahead = history.future if future is None else future
        fresh = continuation(history, self._last, rows, ahead)
        if self._shares(fresh) != {name: times for name, times in self._shares(history).items() if name in fresh.ids}:
            raise UsageError(
                "the new rows lie behind a split of shares that the history read so far does not reach.",
                hint="Read the whole history again: Model.read.",
            )
        place = {name: i for i, name in enumerate(history.ids)}
        at = np.array([place[name] for name in fresh.ids], np.int64)
        before = standing.take(at)
        prepared = self.pipeline.advance(fresh, before.scans)
        with threads(self.config.train.threads):
            standing.put(at, reader.advance(self.network, before, prepared, self.lookback))
        for i, name in enumerate(fresh.ids):
            self._last[name] = pd.Timestamp(fresh.ds[fresh.offsets[i + 1] - 1])
        self._panel = history if future is None else replace(history, future=future)
        self._pending.append(fresh.frame.astype({"unique_id": object}))
        return self

    # -- storage -------------------------------------------------------------------------------
    def save(self, path: Path | str, *, overwrite: bool = False, extra: Mapping[str, str] | None = None) -> Path:
        """Write a run folder that :meth:`load` reads back bit for bit.

        Args:
            extra: further text files by name, e.g. ``{"scores.csv": ...}``; they are covered by the manifest.

        Raises:
            UsageError: the folder exists, or nothing was read yet.
        """
        self._position()
        target = Path(path)

        def write(folder: Path) -> None:
            self.write(folder)
            for name, text in (extra or {}).items():
                (folder / name).write_text(text, "utf-8")

        storage.write_folder(target, write, self.manifest(), overwrite=overwrite)
        return target

    def write(self, folder: Path) -> None:
        """The model's own files, into an existing folder."""
        from safetensors.torch import save_file

        _, standing = self._position()
        storage.dump_json(folder / "config.json", {"schema": 1, **self.config.to_json()})
        storage.dump_json(
            folder / "pipeline.json",
            {"schema": 1, "pipeline": self.pipeline.to_json(), "calibration": {
                str(level): push.tolist() for level, push in self.calibration.items()}, "facts": self.facts,
             "features": self.pipeline.feature_names},
        )  # fmt: skip
        weights = {name: weight.contiguous().clone() for name, weight in self.network.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")
        save_file(pack(standing), folder / "state.safetensors")
        for name in ("weights", "state"):  # as readable as the other files: safetensors writes for the owner alone
            (folder / f"{name}.safetensors").chmod((folder / "pipeline.json").stat().st_mode)
        write_panel(self._whole(), folder)

    def manifest(self) -> dict[str, Any]:
        """What ``manifest.json`` says beside the sums: versions, seed, threads, data."""
        panel = self._whole()
        return {
            "versions": versions(),
            "seed": self.config.train.seed,
            "threads": at_most(self.config.train.threads or torch.get_num_threads()),
            "data": {**panel.describe(), "fingerprint": panel.fingerprint(), "meta": dict(panel.meta)},
        }

    @classmethod
    def load(cls, path: Path | str) -> Model:
        """Read a run folder, wherever its net was trained; nothing in it is executed.

        Raises:
            ArtifactError: the folder is damaged, edited or of another schema.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(path)
        storage.check_fit_folder(folder)
        document = storage.load_json(folder / "pipeline.json")
        settings = storage.load_json(folder / "config.json")
        settings.pop("schema", None)
        try:
            config = Config.make(settings)
            panel = read_panel(folder)
            pipeline = Pipeline.from_json(document["pipeline"]).knowing(panel)
            weights = load_file(folder / "weights.safetensors")
            network = filled(lambda: build_network(config, pipeline), weights)
            model = cls(config, pipeline, network, document["calibration"], document["facts"])
            model._stand(panel, unpack(load_file(folder / "state.safetensors")))
        except (KeyError, TypeError, RuntimeError, OSError, SafetensorError, UsageError, DataError) as error:
            raise ArtifactError(
                f"{folder} does not hold what its manifest promises ({error}).",
                hint="Fit again, or use the version that wrote it.",
            ) from error
        return model

    # -- parts ---------------------------------------------------------------------------------
    def _position(self) -> tuple[Panel, Standing]:
        """The history without the pending rows, and where the model stands behind them."""
        if self._panel is None or self._standing is None:
            raise UsageError("the model has read no history yet.", hint="Call predict(panel) or read(panel).")
        return self._panel, self._standing

    def _stand(self, panel: Panel, standing: Standing) -> None:
        ends = panel.ds[panel.offsets[1:] - 1]
        self._panel, self._pending, self._standing = panel, [], standing
        self._last = {name: pd.Timestamp(end) for name, end in zip(panel.ids, ends, strict=True)}

    def _shares(self, panel: Panel) -> dict[str, float]:
        """What the targets of each series of ``panel`` are multiplied by where shares were split since the fit."""
        times = self.pipeline.to_fit(panel)
        return {} if times is None else {name: times[i] for i, name in enumerate(panel.ids) if times[i] != 1}

    def _whole(self) -> Panel:
        self._position()
        history = self.panel
        if history is None:
            raise UsageError("the model has read no history yet.", hint="Call predict(panel) or read(panel).")
        return history

    def natural(
        self, rows: Index, out: Array | NDArray[np.float32], anchor: Array, scale: Array, series: Index,
        times: Array | None = None,
    ) -> Forecasts:  # fmt: skip
        """What the head gave, ``[M, H, width]``, in natural units: point, calibrated central intervals, chances.

        ``times [M]``: what the targets were multiplied by before they were read (:meth:`to_fit`).
        """

        def natural(residual: Array) -> Array:
            found = self.pipeline.invert(residual, anchor, scale, series)
            return found if times is None else found / times[:, None]

        values = out.astype(np.float64)
        head = self.network.head
        quantiles = list(head.quantiles)
        middle = quantiles.index(0.5)
        point = natural(values[..., middle])
        bounds: dict[int, tuple[Array, Array]] = {}
        inner_low = inner_high = values[..., middle]
        for level in self.levels:
            low, high = central(values, quantiles, level)
            push = self.calibration.get(level, np.zeros(self.horizon))
            # corrections differ by level and may be negative: an interval still holds the point and the narrower ones
            inner_low, inner_high = np.minimum(low - push, inner_low), np.maximum(high + push, inner_high)
            bounds[level] = natural(inner_low), natural(inner_high)
        up = values[..., len(quantiles) + head.chances.index("up")] if "up" in head.chances else None
        return Forecasts(rows, point, bounds, up)


def build_network(config: Config, pipeline: Pipeline) -> Network:
    """A net with fresh weights of the shape ``config`` and ``pipeline`` ask for."""
    fitted = pipeline.fitted
    return Network(
        config,
        len(pipeline.feature_names),
        len(fitted.future),
        len(fitted.static),
        torch.from_numpy(fitted.unit),
        len(fitted.ids),
    )
