"""backtest(): walk-forward evaluation in which nothing that comes later can reach a forecast.

Decisions, named. Everything that is fitted (scalers, features, weights, early stopping, interval widths) belongs
to a fold and sees rows at or before its cutoff. All origins must have their whole horizon inside the data.
Naive, drift, seasonal naive and the historical mean always run; the strongest of them, chosen on rows before
the first test target, is what a verdict compares with. A sliding window limits the rows models are fitted on,
not those they read. Without refits the forecasts of a stream model come from one sequential pass over the
series, exact at every origin.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecast import backends, baselines, evidence, folds_run, frames, metrics
from forecast.backtest_notes import notes_of
from forecast.callable_module import make_callable
from forecast.config import Config
from forecast.contenders import Contender, Net, distinct, resolve, runs_anyway
from forecast.cuts import Cut, Refit, check_range, plan, test_rows
from forecast.folds_run import FoldResult, Job
from forecast.forecasts import Forecasts
from forecast.intervals import Early, early_of, early_of_baseline, with_intervals
from forecast.pieces import Pieces
from forecast.results import SEED_COLUMNS, Backtest, short_hash, stamp
from forecast.spans import looks_like_prices
from pipelines.errors import UsageError, did_you_mean
from pipelines.folds import at_least
from pipelines.panel import Panel

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
Intervals = Literal["model", "split", "rolling", "adaptive"]
INTERVALS: tuple[str, ...] = ("model", "split", "rolling", "adaptive")


@dataclass(frozen=True)
class Asked:
    """The arguments of one backtest, settled."""

    panel: Panel
    contenders: list[Contender]
    names: list[str]
    cuts: list[Cut]
    horizon: int
    stride: int
    season: int
    seeds: list[int]
    refit: Refit
    threads: int
    intervals: Intervals
    level: int
    calibration: int

    def rows(self) -> Index:
        """Every origin, ascending."""
        return np.sort(np.concatenate([cut.rows(self.panel) for cut in self.cuts]))


def backtest(
    panel: Panel,
    models: str | Config | Iterable[Any] = ("lstm",),
    *,
    horizon: int | None = None,
    test: int | float = 0.2,
    stride: int = 1,
    gap: int = 0,
    refit: str | int = "never",
    window: Literal["expanding"] | int = "expanding",
    seeds: int | Sequence[int] = 1,
    intervals: Intervals = "model",
    level: int = 90,
    calibration: int = 250,
    jobs: int = 1,
    backend: str = "loky",
    store: Path | str | None = None,
    threads: int | None = None,
    pieces: int | None = None,
    warm: int = 256,
    trade: bool = False,
    tried: int = 0,
    config: Config | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    **settings: Any,
) -> Backtest:
    """Score models by walk-forward forecasts of the last ``test`` rows and say whether they beat the baselines.

    Args:
        panel: series in natural units.
        models: names (``"lstm"``, ``"gru"``, ``"ETS"``, ``"Theta"``, ...), configurations, scikit-learn regressors,
            or objects with ``fit(panel)`` and ``predict(panel, rows, horizon)``; see :mod:`forecast.contenders`.
        horizon: steps ahead; the configuration's by default. Every step is scored.
        test: rows in the test span, or a share of all (below 1).
        stride: rows between origins.
        gap: rows between a cutoff and the first origin after it (embargo).
        refit: ``"never"``, a number of rows, ``"cold"``, ``"warm"``, ``"cold:20"``, ``"warm:20"``; see
            :class:`forecast.cuts.Refit`.
        window: ``"expanding"``, or how many rows before a cutoff models are fitted on.
        seeds: how many seeds (counted from the configuration's) or which. The forecast of a net is the mean over
            its seeds; the scores of each seed are in ``seeds`` of the result.
        intervals: ``"model"`` (what models bring along) or conformal ones around the point forecasts of every
            model: ``"split"``, ``"rolling"``, ``"adaptive"``; see :mod:`forecast.conformal`.
        level: coverage of conformal intervals in per cent.
        calibration: origins before the cutoff that conformal intervals start from.
        jobs: workers for folds, seeds and models; 1 runs them here.
        backend: joblib's name of where workers run: ``loky``, ``dask``, ``ray``; ``threading`` where no net takes
            part (nets share the random numbers of their process).
        store: folder for finished folds; the same backtest run again repeats none of them.
        threads: torch threads of every fold; the configuration's or 1 by default.
        pieces: let stream nets read the test span in so many pieces side by side, each after ``warm`` rows, instead
            of in one exact pass; the largest deviation is measured and noted. See :mod:`forecast.pieces`.
        trade: add a net-of-cost scorecard of trading on the forecasts one step ahead (prices only).
        tried: configurations tried before this backtest (a tuning study), which the deflated Sharpe ratio allows for.
        config: settings of nets given by name; ``settings`` such as ``model__hidden=32`` override it.
        progress: called with (folds done, folds in all, model).

    Raises:
        UsageError: an argument is out of range or a model unknown.
        TooShortError: the data cannot hold the test span, or leaves too little to train on.

    Example:
        >>> result = backtest(panel, ["lstm", "gru"], horizon=5)  # doctest: +SKIP
        >>> print(result.verdict["text"])  # doctest: +SKIP
    """
    clock = time.perf_counter()
    chosen = (config or Config()).override(**{**settings, **({} if horizon is None else {"data.horizon": horizon})})
    asked = _settle(
        panel, models, chosen, test=test, stride=stride, gap=gap, refit=refit, window=window, seeds=seeds,
        threads=threads, intervals=intervals, level=level, calibration=calibration, jobs=jobs,
        backend=backend, pieces=None if pieces is None else Pieces(pieces, warm),
    )  # fmt: skip
    if trade:
        _check_trade(asked, chosen)
    data = folds_run.data_hash(panel)
    todo = _jobs(asked, data)
    done = folds_run.run_jobs(
        panel, todo, horizon=asked.horizon, workers=jobs, backend=backend,
        store=None if store is None else Path(store), threads=asked.threads, done=progress,
    )  # fmt: skip
    fitted = time.perf_counter() - clock
    result = _assemble(asked, data, todo, done)
    result.trade = _trade(asked, result, tried) if trade else None
    runs = [one for results in done for one in results]
    result.timing = {
        "seconds": time.perf_counter() - clock,
        "folds_seconds": fitted,
        "folds": len(runs),
        "folds_run": sum(not one.reused for one in runs),
        "folds_reused": sum(one.reused for one in runs),
        "jobs": jobs,
        "models": _seconds(asked, todo, done),
    }
    result.settings |= {"test": test, "stride": stride, "gap": gap, "window": window, "backend": backend}
    return result


def _settle(
    panel: Panel, models: Any, config: Config, *, test: int | float, stride: int, gap: int, refit: str | int,
    window: Literal["expanding"] | int, seeds: int | Sequence[int], threads: int | None, intervals: Intervals,
    level: int, calibration: int, jobs: int, backend: str, pieces: Pieces | None,
) -> Asked:  # fmt: skip
    if intervals not in INTERVALS:
        raise UsageError(
            f"intervals={intervals!r} is none of {', '.join(INTERVALS)}.{did_you_mean(intervals, INTERVALS)}",
            hint="'model' keeps the models' own.",
        )
    check_range(level=level, jobs=jobs)
    at_least(1, calibration=calibration)
    backends.check_name(backend)
    which = [config.train.seed + i for i in range(seeds)] if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if not which or len(set(which)) < len(which):
        raise UsageError(f"seeds={seeds!r}: at least one seed, each once.", hint="Use seeds=5 or seeds=[1, 2, 3].")
    horizon = config.data.horizon
    season = config.data.season or panel.grid.season
    given = [models] if isinstance(models, str | Config) or not isinstance(models, Iterable) else list(models)
    contenders = [resolve(model, config.override(**{"train.threads": None}), season, pieces) for model in given]
    contenders = [one for one in contenders if not runs_anyway(one, season, panel.grid.season)]
    folds_run.check_backend(backend, jobs, contenders)
    again = Refit.parse(refit)
    return Asked(
        panel=panel, contenders=contenders, names=distinct(contenders),
        cuts=plan(
            panel, test=test_rows(panel, test), horizon=horizon, stride=stride, gap=gap, refit=again, window=window
        ),
        horizon=horizon, stride=stride, season=season, seeds=which, refit=again,
        threads=threads or config.train.threads or 1, intervals=intervals, level=level,
        calibration=0 if intervals == "model" else calibration,
    )  # fmt: skip


def _jobs(asked: Asked, data: str) -> list[Job]:
    jobs = []
    for place, contender in enumerate(asked.contenders):
        warm = asked.refit.kind == "warm" and contender.seeded
        for seed in asked.seeds if contender.seeded else asked.seeds[:1]:
            keys = folds_run.keys_of(
                data, contender, seed, asked.cuts, asked.horizon, asked.threads, warm, asked.calibration
            )
            groups = [list(range(len(keys)))] if warm else [[i] for i in range(len(keys))]
            for group in groups:
                cuts, mine = tuple(asked.cuts[i] for i in group), tuple(keys[i] for i in group)
                jobs.append(Job(place, contender, seed, cuts, mine, warm, asked.calibration))
    return jobs


def _assemble(asked: Asked, data: str, jobs: Sequence[Job], done: Sequence[list[FoldResult]]) -> Backtest:
    panel, horizon = asked.panel, asked.horizon
    rows = asked.rows()
    opponents = [baselines.make(name, asked.season) for name in baselines.ALWAYS]
    train = asked.cuts[0].fold.train(panel)
    scale = metrics.naive_scale(train, asked.season)
    columns: dict[str, Floats] = {}
    each: list[pd.DataFrame] = []
    early: dict[str, list[Early]] = {}
    for place, name in enumerate(asked.names):
        found = _by_seed(jobs, done, place)
        joined = {seed: _join(results, rows) for seed, results in found.items()}
        mine = _columns(name, list(joined.values()))
        own = (
            mine
            if asked.intervals == "model"
            else {key: mine[key] for key in (name, metrics.chance(name)) if key in mine}
        )
        columns |= own
        early[name] = early_of(list(found.values()), asked.cuts)
        if len(joined) > 1:
            each += [_seed_scores(panel, rows, name, seed, one.point, scale) for seed, one in joined.items()]
    columns |= {one.name: one.predict(panel, rows, horizon) for one in opponents}
    frame = frames.result_frame(panel, rows, columns)
    if asked.intervals != "model":
        count = asked.calibration
        early |= {one.name: early_of_baseline(panel, one, asked.cuts, count, horizon) for one in opponents}
        frame = with_intervals(panel, frame, early, asked.cuts, asked.intervals, asked.level)
    history = panel.up_to(asked.cuts[0].fold.cutoff)  # a window limits what is fitted, not what is read
    strongest = strongest_before(history, opponents, horizon, len(np.unique(panel.ds[rows])), scale)
    several = len(panel.ids) > 1
    found_skill, headline = evidence.gather(frame, asked.names, strongest, stride=asked.stride, scale=scale)
    hashes = {name: short_hash(one.describe()) for name, one in zip(asked.names, asked.contenders, strict=True)}
    hashes |= {one.name: short_hash({"kind": one.name, "season": asked.season}) for one in opponents}
    text = ", ".join(map(str, asked.seeds))
    seeds = {name: text for name, one in zip(asked.names, asked.contenders, strict=True) if one.seeded}
    raw = {"scores": metrics.score(frame, scale=scale), "by_step": metrics.score(frame, by=["step"], scale=scale)}
    raw["by_series"] = (
        metrics.score(frame, by=["unique_id"], scale=scale)
        if several
        else raw["scores"].assign(unique_id=panel.ids[0])[["unique_id", *raw["scores"].columns]]
    )
    tables = {name: stamp(table, hashes, data, seeds) for name, table in raw.items()}
    seed_table = pd.concat(each, ignore_index=True) if each else pd.DataFrame(columns=list(SEED_COLUMNS))
    result = Backtest(
        panel=panel, frame=frame, **tables, seeds=seed_table, calibration=_calibration(frame, asked.names),
        significance=found_skill, verdict=headline, folds=_folds(asked, jobs, done), timing={}, settings={},
    )  # fmt: skip
    result.settings = {
        "models": asked.names, "horizon": horizon, "refit": str(asked.refit), "season": asked.season,
        "seeds": asked.seeds, "threads": asked.threads, "intervals": asked.intervals, "level": asked.level,
        "data": data, "series": len(panel.ids),
        "configs": {name: one.describe() for name, one in zip(asked.names, asked.contenders, strict=True)},
    }  # fmt: skip
    result.notes = notes_of(result, scale, warm=asked.refit.kind == "warm")
    return result


def _by_seed(jobs: Sequence[Job], done: Sequence[list[FoldResult]], place: int) -> dict[int, list[FoldResult]]:
    out: dict[int, list[FoldResult]] = {}
    for job, results in zip(jobs, done, strict=True):
        if job.place == place:
            out.setdefault(job.seed, []).extend(results)
    return out


def _join(results: Sequence[FoldResult], rows: Index) -> Forecasts:
    """The folds of one seed put in the order of ``rows``."""
    order = np.argsort(np.concatenate([one.rows for one in results]), kind="stable")
    point = np.concatenate([one.point for one in results])[order]
    if len(point) != len(rows):
        raise RuntimeError(f"folds cover {len(point)} origins of {len(rows)}")
    levels = set.intersection(*(set(one.bounds) for one in results))
    bounds = {
        level: (
            np.concatenate([one.bounds[level][0] for one in results])[order],
            np.concatenate([one.bounds[level][1] for one in results])[order],
        )
        for level in sorted(levels)
    }
    chances = [one.up for one in results if one.up is not None]
    return Forecasts(rows, point, bounds, np.concatenate(chances)[order] if len(chances) == len(results) else None)


def _columns(name: str, joined: Sequence[Forecasts]) -> dict[str, Floats]:
    """A model's forecast, the intervals it brings along and its chances: means over its seeds."""
    each = [one.columns(name) for one in joined]
    shared = [column for column in each[0] if all(column in other for other in each)]
    return {column: np.mean([other[column] for other in each], axis=0) for column in shared}


def strongest_before(
    history: Panel, opponents: Sequence[baselines.Forecaster], horizon: int, most: int, scale: pd.DataFrame
) -> str:
    """The strongest baseline at the last origins whose targets lie in ``history``, the rows up to the first cutoff.

    At most ``most`` origins, and half of the rows.
    """
    stamps = np.unique(history.ds)
    known = stamps[: len(stamps) - horizon]
    early = known[-max(1, min(most, len(stamps) // 2)) :]
    rows = np.flatnonzero(np.isin(history.ds, early)).astype(np.int64)
    if not len(rows):
        return opponents[0].name
    frame = frames.result_frame(history, rows, {one.name: one.predict(history, rows, horizon) for one in opponents})
    if not frame["y"].notna().any():
        return opponents[0].name
    after = history.grid.after(history.end, 1)[0]
    names = [one.name for one in opponents]
    return evidence.choose_baseline(frame, names, after, scale if len(history.ids) > 1 else None)


def _seed_scores(panel: Panel, rows: Index, name: str, seed: int, point: Floats, scale: pd.DataFrame) -> pd.DataFrame:
    frame = frames.result_frame(panel, rows, {name: point})
    table = metrics.score(frame, [name], scale=scale)
    table.insert(1, "seed", seed)
    return table[list(SEED_COLUMNS)]


def _check_trade(asked: Asked, chosen: Config) -> None:
    """Refuse what cannot be traded on before anything is fitted: naive's forecasts have the same prices and origins.

    Raises:
        UsageError: the series are no prices.
        ValueRangeError: a price is not positive.
        TooShortError: fewer than four origins.
    """
    from forecast import trade

    configs = [chosen, *(one.config for one in asked.contenders if isinstance(one, Net))]
    if not looks_like_prices(asked.panel) and not any(config.data.kind == "price" for config in configs):
        raise UsageError(
            f"a scorecard of trading needs prices, and {asked.panel.target} was taken for a sensor's values.",
            hint="Leave --trade out; if these are prices, say so: --preset price, or data.kind=price.",
        )
    rows, naive = asked.rows(), baselines.Naive()
    forecasts = {naive.name: naive.predict(asked.panel, rows, asked.horizon)}
    trade.from_frame(frames.result_frame(asked.panel, rows, forecasts), naive.name, stride=asked.stride, periods=1)


def _trade(asked: Asked, result: Backtest, tried: int) -> dict[str, Any]:
    """Scorecards by model. Trials: every model and seed of this backtest, and those ``tried`` before."""
    from forecast import trade

    grid = asked.panel.grid
    trials = tried + sum(len(asked.seeds) if one.seeded else 1 for one in asked.contenders)
    out: dict[str, Any] = {}
    for name in asked.names:
        card = trade.from_frame(
            result.frame, name, stride=asked.stride, periods=grid.steps_a_year, trials=max(1, trials),
            chosen_by_hand="tickers" in asked.panel.meta,
        )  # fmt: skip
        curves = {column: card.equity[column].tolist() for column in card.equity}
        out[name] = {**card.to_json(), "equity": {"ds": [str(stamp) for stamp in card.equity.index], **curves}}
    return out


def _calibration(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    held = [name for name in names if metrics.levels(frame, name)]
    return {name: metrics.calibration(frame, name).astype(object).to_dict("records") for name in held}


def _folds(asked: Asked, jobs: Sequence[Job], done: Sequence[list[FoldResult]]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = [{**cut.to_json(), "models": []} for cut in asked.cuts]
    for job, results in zip(jobs, done, strict=True):
        for cut, result in zip(job.cuts, results, strict=True):
            facts = {"model": asked.names[job.place], "seed": job.seed, "reused": result.reused, **result.facts}
            out[cut.number]["models"].append(facts)
    return out


def _seconds(asked: Asked, jobs: Sequence[Job], done: Sequence[list[FoldResult]]) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {name: {"fit": 0.0, "forecast": 0.0} for name in asked.names}
    for job, results in zip(jobs, done, strict=True):
        for result in results:
            for part, seconds in result.facts["seconds"].items():
                out[asked.names[job.place]][part] += seconds
    return out


make_callable(__name__)
