"""Evidence: what the forecasts of a backtest say about skill, gathered into one JSON document and a headline.

The test behind a verdict compares, at every origin, the mean absolute error over all steps and series, so that
one origin is one observation however many steps and series share its news; Holm's adjustment counts the models.
Several series are compared in units of each series' naive error. Tests per step are shown beside it and decide
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from forecast import direction, inference, metrics, ties, verdict
from forecast.verdict import NO_SKILL, SKILL, TOO_LITTLE, WORSE, Comparison
from pipelines.where import plural, some

MOST_SERIES = 200
"""Direction and shift are tested series by series for at most so many, evenly chosen."""


def choose_baseline(frame: pd.DataFrame, names: Sequence[str], before: pd.Timestamp, scale: pd.DataFrame | None) -> str:
    """The strongest baseline on rows before the test span; with a ``scale`` all series count alike."""
    if scale is not None:
        unit = scale.set_index(scale["unique_id"].astype(str))["mae"].reindex(frame["unique_id"].astype(str)).to_numpy()
        counted = unit > 0
        if counted.any():
            frame = frame[counted].copy()
            frame[["y", *names]] = frame[["y", *names]].div(unit[counted], axis=0)
    return verdict.strongest_baseline(frame, names, before=before)


def notes_on_series(frame: pd.DataFrame, ids: Sequence[str], scale: pd.DataFrame) -> Iterator[str]:
    """What a reader should know of scores and a verdict on several series; nothing for one.

    Args:
        frame: result frame of the test span.
        ids: every series, also those without a row in it.
        scale: of :func:`forecast.metrics.naive_scale`.
    """
    if len(ids) == 1:
        return
    seen = set(frame.loc[frame["y"].notna(), "unique_id"].astype(str))
    if absent := [name for name in ids if name not in seen]:
        yield (
            f"{some(absent)}: no value in the test span to score by, so scores and verdict are those of "
            f"{plural(len(seen), 'series')} of {len(ids):,}."
        )
    counted = seen & set(scale.loc[scale["mae"] > 0, "unique_id"].astype(str))
    if not counted:
        return  # the headline says all there is to say
    if len(counted) > 1:
        yield "Several series count alike: the verdict compares errors in units of each series' naive error."
    if out := [name for name in ids if name in seen - counted]:
        yield (
            f"{some(out)}: the (seasonal) naive forecast makes no error in the training span to measure by, so the "
            f"verdict rests on the other {len(counted):,} series."
        )


def gather(
    frame: pd.DataFrame,
    models: Sequence[str],
    baseline: str,
    *,
    stride: int,
    scale: pd.DataFrame | None,
    confidence: bool = True,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """``(significance, headline)``: every test of every model, and the one line a person can repeat.

    Where models give a probability of going up, ``significance["up"]`` holds what :func:`forecast.direction.assess`
    found, and ``headline["direction"]`` the sentence on it.

    Args:
        frame: result frame of the test span, with ``step`` and ``last``.
        models: what is on trial; every other forecast in the frame takes part in the confidence set only.
        scale: of :func:`forecast.metrics.naive_scale`; used where there are several series.
        confidence: add the model confidence set (bootstrapped by arch).
    """
    unit = scale if frame["unique_id"].nunique() > 1 else None
    outcomes = verdict.compare(frame, list(models), baseline, stride=stride, scale=unit) if models else []
    everyone = metrics.models_of(frame)
    overlap = math.ceil(int(metrics.steps(frame).max()) / stride)
    table = verdict.losses_by_origin(frame, everyone, scale=unit)
    outcomes = [_not_below_naive(one, table) for one in outcomes]
    parts = {one.model: _one(frame, one, stride, unit) for one in outcomes}
    document = {
        "baseline": baseline,
        "loss": "absolute error" if unit is None else "absolute error in units of each series' naive error",
        "alpha": inference.ALPHA,
        "pooling": "mean loss over steps and series at every origin",
        "models": parts,
    }
    if confidence:
        document["confidence_set"] = asdict(inference.model_confidence_set(table, horizon=overlap))
    outcome = headline(outcomes, baseline)
    if told := direction.assess(frame, stride=stride):
        document["up"] = told
        outcome["direction"] = direction.headline(told, outcome["model"])
    return document, outcome


def _not_below_naive(outcome: Comparison, table: pd.DataFrame) -> Comparison:
    """No skill for a model that beats the baseline chosen before the test span but not naive on the test span."""
    if outcome.verdict["label"] != SKILL or "naive" not in table or outcome.baseline == "naive":
        return outcome
    both = table[[outcome.model, "naive"]].dropna().mean()
    if both[outcome.model] < both["naive"]:
        return outcome
    text = f"{outcome.model} beats {outcome.baseline}, but not naive; treat as no skill."
    return replace(outcome, verdict={"label": NO_SKILL, "text": text})


def headline(outcomes: Sequence[Comparison], baseline: str) -> dict[str, Any]:
    """The verdict on all models: of the best that shows skill, else of the best there is.

    ``{"label", "text", "model", "baseline"}``. Best: lowest loss; a model that left forecasts out comes last.
    """
    if not outcomes:
        text = f"no model was on trial; of the baselines, {baseline} was the strongest before the test span."
        return {"label": NO_SKILL, "text": text, "model": None, "baseline": baseline}
    order = (SKILL, NO_SKILL, WORSE, TOO_LITTLE)

    def rank(one: Comparison) -> tuple[bool, int, float]:
        loss = math.inf if math.isnan(one.loss) else one.loss
        return one.missing > 0, order.index(one.verdict["label"]), loss

    best = min(outcomes, key=rank)
    return {**best.verdict, "model": best.model, "baseline": best.baseline}


def _one(frame: pd.DataFrame, outcome: Comparison, stride: int, unit: pd.DataFrame | None) -> dict[str, Any]:
    document = {name: value for name, value in asdict(outcome).items() if name not in ("model", "test")}
    document |= {"statistic": outcome.test.statistic, "pvalue_alone": outcome.test.pvalue,
                 "pvalue_overlap": outcome.test.pvalue_overlap}  # fmt: skip
    document["by_step"] = list(_by_step(frame, outcome, stride, unit))
    document["direction"] = list(_direction(frame, outcome.model, stride))
    document["shift"] = _shift(frame, outcome.model)
    return document


def _by_step(
    frame: pd.DataFrame, outcome: Comparison, stride: int, unit: pd.DataFrame | None
) -> Iterator[dict[str, Any]]:
    """Diebold-Mariano for every step ahead; p-values not adjusted for the number of steps."""
    at = metrics.steps(frame)
    for step in range(1, int(at.max()) + 1):
        table = verdict.losses_by_origin(frame[at == step], [outcome.model, outcome.baseline], scale=unit)
        test = inference.compare_losses(
            table[outcome.model].to_numpy(), table[outcome.baseline].to_numpy(), horizon=math.ceil(step / stride)
        )
        yield {"step": step, "statistic": test.statistic, "pvalue": test.evidence, "difference": test.mean, "n": test.n}


def _sample(frame: pd.DataFrame, step: int) -> list[pd.DataFrame]:
    part = frame[metrics.steps(frame) == step]
    groups = [group for _, group in part.groupby("unique_id", observed=True, sort=False)]
    pick = np.unique(np.linspace(0, len(groups) - 1, min(MOST_SERIES, len(groups))).astype(int))
    return [groups[i].sort_values("cutoff") for i in pick]


def _direction(frame: pd.DataFrame, model: str, stride: int) -> Iterator[dict[str, Any]]:
    """Pesaran-Timmermann for the first and the last step; of several series the smallest p after Holm's adjustment."""
    last = int(metrics.steps(frame).max())
    for step in sorted({1, last}):
        tests = []
        for group in _sample(frame, step):
            y, now = group["y"].to_numpy(np.float64), group["last"].to_numpy(np.float64)
            said = ties.change(group[model].to_numpy(np.float64), now, ties.size_of(y, now))
            tests.append(inference.pesaran_timmermann(ties.change(y, now), said, horizon=math.ceil(step / stride)))
        adjusted = inference.holm([test.pvalue for test in tests])
        yield {
            "step": step,
            "hits": _mean([test.hits for test in tests]),
            "expected": _mean([test.expected for test in tests]),
            "pvalue": float(adjusted.min()) if len(adjusted) else math.nan,
            "series": len(tests),
            "significant": int((adjusted < inference.ALPHA).sum()),
        }


def _shift(frame: pd.DataFrame, model: str) -> dict[str, Any]:
    """The shift check one step ahead; with several series, means and how many are the last value."""
    checks = []
    for group in _sample(frame, 1):
        columns = (group[name].to_numpy(np.float64) for name in ("y", model, "last"))
        checks.append(inference.shift_check(*columns))
    if len(checks) == 1:
        return {**asdict(checks[0]), "text": checks[0].text}
    count = sum(check.yesterday for check in checks)
    names = ("with_last", "with_truth", "with_change", "moves")
    means = {name: _mean([getattr(check, name) for check in checks]) for name in names}
    text = f"The forecast is the last value, shifted, for {count} of {len(checks)} series."
    return {
        **means,
        "series": len(checks),
        "yesterday_series": count,
        "yesterday": 2 * count > len(checks),
        "text": text,
    }


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
