"""The objective: mean walk-forward error over several folds of the development span, relative to naive.

The test span is sealed: an objective gets a :class:`Sealed`, which holds the development rows and nothing else.
What is behind the seal is fetched by :meth:`Sealed.open`, once, after the last trial, and that is recorded.

Assumptions, named: a fold's test span is cut into :data:`BLOCKS` parts of equal length whose errors a per-fold
pruner compares pair by pair; several series count alike, each in units of its own naive error; a pinball score is
the mean over the net's quantiles, and naive's is that of its point forecast for all of them, half its absolute error;
what no configuration or not this one can forecast (a series without training rows in the fold, origins in front of the
longest window searched) is left out of the error and counted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray

from forecast import baselines, frames, metrics
from forecast.config import Config
from forecast.contenders import FittedNet
from forecast.cuts import Cut, Refit, plan
from forecast.family import FAMILY
from forecast.ranges import Choice
from forecast.space import Space
from forecast.spans import Spans
from forecast.study import FAILURE, TrialFailed
from forecast.train import CHECK_UPDATES, fit, prepare_rows
from pipelines.errors import LeakError, ToolkitError
from pipelines.panel import Panel
from pipelines.pipeline import Pipeline
from pipelines.prepared import Prepared
from pipelines.spec import PipelineSpec
from pipelines.where import plural

Metric = Literal["mae", "pinball"]
METRICS: tuple[str, ...] = ("mae", "pinball")
Also = Literal["seconds", "coverage"]
ALSO: tuple[str, ...] = ("seconds", "coverage")
BLOCKS = 4  # parts of a fold's test span
SHARE = 0.4  # of the development span: the folds' test spans together


class Sealed:
    """The rows up to ``end``; those after it stay where ``behind`` fetches them from.

    ``opened`` is told why when the seal is broken.
    """

    def __init__(
        self, development: Panel, behind: Callable[[], Panel], opened: Callable[[str], None] = lambda reason: None
    ) -> None:
        self.development = development
        self.end = development.end
        self._behind, self._opened = behind, opened

    @classmethod
    def cut(cls, panel: Panel, test: int) -> Sealed:
        """Seal the last ``test`` stamps of ``panel``."""
        end = np.unique(panel.ds)[-test - 1]
        return cls(development_of(panel, pd.Timestamp(end)), lambda: panel)

    def up_to(self, stamp: pd.Timestamp | str) -> Panel:
        """Rows with ``ds <= stamp``.

        Raises:
            LeakError: ``stamp`` lies behind the seal.
        """
        if pd.Timestamp(stamp) > self.end:
            raise LeakError(
                f"rows up to {stamp} were asked for; everything after {self.end} is sealed until the final backtest.",
                hint="An objective may read the development span only.",
            )
        return development_of(self.development, pd.Timestamp(stamp))

    def open(self, reason: str) -> Panel:
        """All rows. The opening is recorded before they are handed out."""
        self._opened(reason)
        return self._behind()


def development_of(panel: Panel, end: pd.Timestamp) -> Panel:
    """Rows up to ``end`` and nothing after it: covariates known ahead are cut too."""
    part = panel.up_to(end)
    future = part.future
    if future is not None:
        future = future[future["ds"] <= end]
        future = future if len(future) else None
    return replace(part, future=future)


@dataclass(frozen=True)
class Fold:
    """One fold, with all that does not depend on the configuration."""

    cut: Cut
    train: Panel
    panel: Panel  # up to the last target
    rows: NDArray[np.int64]
    unit: pd.Series  # naive mean absolute error by series
    truths: int  # known values a forecast could be compared with, by origin and step


class Preparations:
    """Pipelines and what they make of a fold's rows, by fold, specification and span: made once per process."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, str, str], tuple[Pipeline, Prepared]] = {}

    def of(self, fold: int) -> Callable[[Panel, PipelineSpec, Spans], tuple[Pipeline, Prepared]]:
        def prepare(panel: Panel, spec: PipelineSpec, spans: Spans) -> tuple[Pipeline, Prepared]:
            key = (fold, repr(spec), repr(spans.to_json()))
            if key not in self._made:
                self._made[key] = prepare_rows(panel, spec, spans)
            return self._made[key]

        return prepare


def folds_of(sealed: Sealed, horizon: int, count: int, lookback: int = 1) -> list[Fold]:
    """The folds of the development span, earliest first; training spans grow.

    Args:
        lookback: rows up to an origin, at least: so that nets with windows of other lengths are scored on the same
            origins (on all where none has so many).

    Raises:
        TooShortError: the development span cannot hold them.
    """
    panel = sealed.development
    stamps = np.unique(panel.ds)
    test = max(count * horizon, round(SHARE * len(stamps)))
    found = []
    for cut in plan(panel, test=test, horizon=horizon, refit=Refit("cold", -(-test // count))):
        last = stamps[np.searchsorted(stamps, cut.origins[-1]) + horizon]
        part = sealed.up_to(pd.Timestamp(last))
        rows = cut.rows(part)
        naive = baselines.make("naive", 1).fit(part).predict(part, rows, horizon)
        frame = frames.result_frame(part, rows, {"naive": naive})
        error = (frame["y"] - frame["naive"]).abs().groupby(frame["unique_id"].astype(str)).mean()
        unit = error[error > 0]
        truths = int((frame["y"].notna() & frame["unique_id"].astype(str).isin(unit.index)).sum())
        owner = np.searchsorted(part.offsets, rows, side="right") - 1
        enough = rows - part.offsets[owner] + 1 >= lookback
        found.append(Fold(cut, cut.fold.train(panel), part, rows[enough] if enough.any() else rows, unit, truths))
    return found


def longest_window(space: Space) -> int:
    """Rows of the longest window that a configuration of ``space`` reads; 1 where all read streams."""
    data, model, cores = space.base.data, space.base.model, space.ranges.get("model.core")
    names = [model.core, *(str(value) for value in cores.values)] if isinstance(cores, Choice) else [model.core]
    windows = data.mode == "window" or model.bidirectional or not all(FAMILY[name].streams for name in names)
    if not windows and not {"data.mode", "model.bidirectional"} & set(space.ranges):
        return 1
    one = space.ranges.get("data.lookback")
    return int(max(data.lookback, *one.values) if isinstance(one, Choice) else one.high if one else data.lookback)


class WalkForward:
    """The objective of a study; called with a trial, gives one value per direction.

    Args:
        sealed: the data.
        space: what to search.
        metric: ``"mae"`` or ``"pinball"``, both relative to naive's (below 1: better).
        also: a second value to make small: ``"seconds"`` of training, or ``"coverage"``, the distance of the widest
            interval's coverage from what it promises.
        folds: how many.
        by_epoch: report the stop loss of the first fold after every look at it, for a pruner by epochs; else the
            errors of the blocks of each fold.
    """

    def __init__(
        self, sealed: Sealed, space: Space, *, metric: Metric = "mae", also: Also | None = None, folds: int = 3,
        by_epoch: bool = False,
    ) -> None:  # fmt: skip
        self.space, self.metric, self.also, self.by_epoch = space, metric, also, by_epoch
        self.horizon = space.base.data.horizon
        self.folds = folds_of(sealed, self.horizon, folds, longest_window(space))
        self.preparations = Preparations()

    def __call__(self, trial: optuna.Trial) -> float | tuple[float, float]:
        clock = time.perf_counter()
        try:
            config = self.space.suggest(trial)
            trial.set_user_attr("config", config.to_json())
            return self._score(trial, config)
        except LeakError:
            raise  # the objective is at fault, not the configuration
        except ToolkitError as error:
            raise failed(trial, str(error.message)) from error
        except optuna.exceptions.OptunaError:
            raise  # pruned, or another worker's by now
        except Exception as error:  # a singular matrix, no memory: one configuration is not to end a night's work
            raise failed(trial, f"unexpected {type(error).__name__}: {error}") from error
        finally:
            seconds(trial, time.perf_counter() - clock)

    def _score(self, trial: optuna.Trial, config: Config) -> float | tuple[float, float]:
        errors: list[float] = []
        covered: list[float] = []
        done: list[dict[str, Any]] = []
        training = 0.0
        for fold in self.folds:
            clock = time.perf_counter()
            number = fold.cut.number
            checked = None
            if self.by_epoch and number == 0:

                def checked(updates: int, loss: float) -> None:
                    trial.report(loss, updates // CHECK_UPDATES)
                    if trial.should_prune():
                        raise optuna.TrialPruned(f"stop loss {loss:.4g} after {updates} updates")

            model = fit(
                fold.train, config.override(**{"data.holdout": 0}), checked=checked,
                prepare=self.preparations.of(number),
            )  # fmt: skip
            took = time.perf_counter() - clock
            training += took
            blocks, inside, scored = self._blocks(fold, FittedNet(model), model.reaches(fold.panel, fold.rows))
            if fold.truths and not scored:
                raise failed(
                    trial,
                    f"nothing of fold {number} could be forecast: its {plural(fold.truths, 'value')} lie in series "
                    "without training rows or in front of the first whole window.",
                )
            error = float(np.mean(blocks))
            if not math.isfinite(error):
                raise failed(trial, f"the error of fold {number} is {error}.")
            errors.append(error)
            if inside is not None:
                covered.append(inside)
            done.append({
                "cutoff": str(fold.cut.fold.cutoff), "error": error, "coverage": inside, "seconds": took,
                "missing": fold.truths - scored,
            })  # fmt: skip
            trial.set_user_attr("folds", done)
            if self.also is None and not self.by_epoch:
                for block, value in enumerate(blocks):
                    trial.report(float(value), number * BLOCKS + block)
                if number + 1 < len(self.folds) and trial.should_prune():
                    raise optuna.TrialPruned(f"worse than the best trial after fold {number + 1} of {len(self.folds)}")
        mean = float(np.mean(errors))
        if self.also is None:
            return mean
        return mean, training if self.also == "seconds" else float(np.mean(covered))

    def _blocks(
        self, fold: Fold, net: FittedNet, reached: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], float | None, int]:
        """Errors ``[BLOCKS]`` of ``net`` in units of the fold's naive error, how far coverage is off, truths scored.

        Args:
            reached: ``[M]`` the origins of the fold that ``net`` can forecast from; all by default. A forecast that is
                missing elsewhere is an error.
        """
        found = net.forecast(fold.panel, fold.rows, self.horizon)
        bounds = found.bounds
        told = np.ones(len(fold.rows), np.bool_) if reached is None else reached
        columns = found.columns("net") | {"told": np.repeat(told[:, None], self.horizon, axis=1)}
        frame = frames.result_frame(fold.panel, fold.rows, columns)
        unit = fold.unit.reindex(frame["unique_id"].astype(str)).to_numpy(np.float64)
        y = frame["y"].to_numpy(np.float64)
        usable = ~np.isnan(y) & (unit > 0) & frame["told"].to_numpy()
        if self.metric == "mae":
            losses = metrics.absolute(y, frame["net"].to_numpy(np.float64))
        else:
            held = metrics.quantiles(frame, "net")
            parts = [metrics.pinball(y, frame[name].to_numpy(np.float64), q) for q, name in held.items()]
            losses = 2 * np.mean(parts, axis=0)
        order = np.searchsorted(fold.cut.origins, frame["cutoff"].to_numpy())
        block = np.minimum(BLOCKS - 1, order * BLOCKS // len(fold.cut.origins))
        scaled = losses / unit
        values = [float(np.mean(scaled[usable & (block == k)])) for k in range(BLOCKS) if (usable & (block == k)).any()]
        off = None
        if bounds:
            level = max(bounds)
            low, high = (frame[name].to_numpy(np.float64) for name in metrics.interval("net", level))
            inside = float(np.mean(((low <= y) & (y <= high))[usable])) if usable.any() else math.nan
            off = abs(inside - level / 100)
        return np.array(values or [math.nan]), off, int(usable.sum())


def failed(trial: optuna.Trial, reason: str) -> TrialFailed:
    """Write the reason into the trial; raise what is returned."""
    trial.set_user_attr(FAILURE, reason)
    return TrialFailed(reason)


def seconds(trial: optuna.Trial, took: float) -> None:
    """What the trial cost; nothing is written where another worker has it meanwhile."""
    try:
        trial.set_user_attr("seconds", took)
    except optuna.exceptions.UpdateFinishedTrialError:
        return
