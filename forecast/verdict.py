"""Verdict: one line on each model that a person can repeat, from a result frame.

A model shows skill if its loss is lower than that of the strongest baseline and the difference is
significant after adjustment for the number of models tried. The strongest baseline is chosen on rows
before the test span. "No better than naive" is a result, not a failure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from forecast import inference, metrics
from forecast.inference import ALPHA, MIN_ORIGINS, MIN_SPANS, DieboldMariano, Loss
from pipelines.errors import UsageError

SKILL, NO_SKILL, WORSE, TOO_LITTLE = LABELS = ("skill", "no skill", "worse than naive", "too little data")

_METRIC = {"absolute": "MAE", "squared": "MSE"}


@dataclass(frozen=True)
class Comparison:
    """One model against the baseline on the same rows.

    Args:
        origins: cutoffs compared, those at which both have a forecast of every known truth.
        overlap: origins whose forecast spans overlap.
        missing: forecasts the model left out.
        loss, baseline_loss: means over the rows compared, in units of y, or of the scale if one was given.
        test: Diebold-Mariano on the losses per origin.
        pvalue: evidence of that test, Holm-adjusted for all models compared.
        verdict: ``{"label": ..., "text": ...}``.
    """

    model: str
    baseline: str
    origins: int
    overlap: int
    missing: int
    loss: float
    baseline_loss: float
    test: DieboldMariano
    pvalue: float
    verdict: dict[str, str]


def strongest_baseline(
    frame: pd.DataFrame, baselines: Sequence[str], *, before: pd.Timestamp | str, loss: Loss = "absolute"
) -> str:
    """The baseline with the lowest loss on truths before ``before``, the start of the test span.

    Ties go to the one named first; a baseline that misses a forecast the others have is passed over.

    Raises:
        UsageError: a baseline is not in the frame, or no row lies before the test span.
    """
    past = frame[frame["ds"] < pd.Timestamp(before)]
    if not len(past):
        raise UsageError(
            f"no row of the result frame lies before {before}.",
            hint="Give baseline forecasts of the training or stopping span, not of the test span.",
        )
    table = losses_by_origin(past, list(baselines), loss=loss)
    whole = table.dropna(axis=1)
    means = (table if whole.empty else whole).mean()
    return str(means.fillna(math.inf).idxmin())


def losses_by_origin(
    frame: pd.DataFrame, models: Sequence[str], *, loss: Loss = "absolute", scale: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Mean loss of every model at every cutoff, over all series and steps whose truth is known.

    Args:
        scale: of :func:`forecast.metrics.naive_scale`: losses in units of each series' naive error, which
            series of different size need; series without one are left out.

    Returns:
        Index ``cutoff`` ascending, one column per model; NaN where the model misses any of the forecasts.
    """
    metrics.check(frame, models)
    known = frame[frame["y"].notna()]
    unit = np.ones(len(known))
    if scale is not None:
        by_id = scale.set_index(scale["unique_id"].astype(str))["mae"]
        unit = by_id.reindex(known["unique_id"].astype(str)).to_numpy(np.float64)
        known, unit = known[unit > 0], unit[unit > 0]
    y, error = known["y"].to_numpy(np.float64) / unit, {"absolute": metrics.absolute, "squared": metrics.squared}[loss]
    at, cutoffs = pd.factorize(known["cutoff"], sort=True)
    rows = np.bincount(at, minlength=len(cutoffs))
    # NaN + anything is NaN: an origin with a gap has no mean
    mean = {
        name: np.bincount(at, error(y, known[name].to_numpy(np.float64) / unit), len(cutoffs)) / rows for name in models
    }
    return pd.DataFrame(mean, index=pd.Index(cutoffs, name="cutoff"))


def compare(
    frame: pd.DataFrame,
    models: Sequence[str],
    baseline: str,
    *,
    loss: Loss = "absolute",
    stride: int = 1,
    scale: pd.DataFrame | None = None,
    alpha: float = ALPHA,
) -> list[Comparison]:
    """Every model against ``baseline`` on the test span, with Holm's adjustment across ``models``.

    Args:
        frame: result frame of the test span only.
        baseline: column of the strongest baseline (:func:`strongest_baseline`).
        stride: steps between cutoffs.
        scale: see :func:`losses_by_origin`.

    The loss of an origin is the mean over its steps and series, so that what happens to all series at once
    is one observation; origins whose spans overlap are allowed for.
    """
    names = list(models)
    if not names or baseline in names or len(set(names)) < len(names):
        raise UsageError(
            f"models {names} against baseline {baseline!r} is not a comparison.",
            hint="Name each model once, and the baseline apart from them.",
        )
    table = losses_by_origin(frame, [*names, baseline], loss=loss, scale=scale)
    known = frame["y"].notna()
    overlap = math.ceil(int(metrics.steps(frame).max()) / stride)
    tests, missing = [], []
    for name in names:
        tests.append(inference.compare_losses(table[name], table[baseline], horizon=overlap))
        missing.append(int((known & frame[name].isna()).sum()))
    adjusted = inference.holm([test.evidence for test in tests])
    out = []
    for name, test, gone, p in zip(names, tests, missing, adjusted, strict=True):
        both = table[[name, baseline]].dropna()
        mine, theirs = float(both[name].mean()), float(both[baseline].mean())
        line = verdict(
            name, baseline, mine, theirs, float(p), origins=test.n, overlap=overlap, missing=gone,
            metric=_METRIC[loss] if scale is None else f"scaled {_METRIC[loss]}", adjusted=len(names) > 1, alpha=alpha,
        )  # fmt: skip
        if not len(table):
            text = f"{name} against {baseline}: naive makes no error in the training span of any series to measure by."
            line = {"label": TOO_LITTLE, "text": text}
        out.append(Comparison(name, baseline, test.n, overlap, gone, mine, theirs, test, float(p), line))
    return out


def verdict(
    model: str,
    baseline: str,
    loss: float,
    baseline_loss: float,
    pvalue: float,
    *,
    origins: int,
    overlap: int = 1,
    missing: int = 0,
    metric: str = "MAE",
    adjusted: bool = False,
    alpha: float = ALPHA,
) -> dict[str, str]:
    """``{"label": "skill" | "no skill" | "worse than naive" | "too little data", "text": one line}``.

    A NaN p-value or loss is no evidence; a model that left forecasts out cannot have skill.

    Args:
        pvalue: two-sided, adjusted for the models tried.
        origins: compared origins, of which ``overlap`` in a row share their span.
        missing: forecasts the model left out.
    """
    if missing:
        text = f"{model} left {missing:,} forecasts out; what it left out cannot be scored, treat as no skill."
        return {"label": NO_SKILL, "text": text}
    if origins < MIN_ORIGINS or origins < MIN_SPANS * overlap:
        spans = "" if overlap == 1 else f" whose spans overlap ({origins // overlap} that do not)"
        need = max(MIN_ORIGINS, MIN_SPANS * overlap)
        text = f"{model} against {baseline}: {origins} origins{spans} are too little data to tell; {need} would do."
        return {"label": TOO_LITTLE, "text": text}
    p = 1.0 if math.isnan(pvalue) else pvalue
    how = f"DM p {_p(p)}{', Holm' if adjusted else ''}"
    if baseline_loss == 0:
        text = f"{baseline} makes no error at all: nothing moved, so there is nothing to forecast; treat as no skill."
        return {"label": NO_SKILL, "text": text}
    if math.isnan(loss) or math.isnan(baseline_loss) or loss == baseline_loss:
        return {"label": NO_SKILL, "text": f"{model} equals {baseline} in {metric}; treat as no skill."}
    change = _change(loss, baseline_loss, metric)
    if loss < baseline_loss:
        text = f"{model} beats {baseline} by {change}; "
        if p < alpha:
            return {"label": SKILL, "text": f"{text}significant ({how})."}
        return {"label": NO_SKILL, "text": f"{text}not significant ({how}); treat as no skill."}
    text = f"{model} is worse than {baseline} by {change}; "
    if p < alpha:
        return {"label": WORSE, "text": f"{text}significant ({how})."}
    return {"label": NO_SKILL, "text": f"{text}not significant ({how}); treat as no skill."}


def _change(loss: float, baseline_loss: float, metric: str) -> str:
    share = abs(loss / baseline_loss - 1) * 100
    if share >= 1000:
        return f"a factor of {loss / baseline_loss:,.4g} in {metric}"
    return f"{share:.1f} % {metric}" if share >= 0.05 else f"less than 0.1 % {metric}"


def _p(p: float) -> str:
    return f"= {p:.2f}" if p >= 0.095 else f"= {p:.3f}" if p >= 0.001 else "< 0.001"
