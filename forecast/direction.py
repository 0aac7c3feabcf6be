"""Direction: is a model's probability of going up worth anything, and one plain sentence that says so.

A probability is compared with the base rate, the share of ups known at the origin (column ``usual``, see
:func:`forecast.frames.base_rate`). Decisions, named. The direction counts as predictable if the log loss is lower
than the base rate's, significantly (Diebold-Mariano per origin, adjusted for the models by Holm), **and** the model
says "more likely than usual" when it goes up more often than by chance (Pesaran-Timmermann, first and last step,
Holm): the first alone would reward a constant guess that the test span happened to favour, the second alone a
probability that is right in sign and wrong in size. A change of zero is not up.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from forecast import inference, metrics, ties
from forecast.inference import ALPHA, MIN_ORIGINS, MIN_SPANS
from forecast.verdict import NO_SKILL, SKILL, TOO_LITTLE

MOST_SERIES = 200
"""Timing is tested series by series for at most so many, evenly chosen."""
BINS = 10


def assess(frame: pd.DataFrame, *, stride: int = 1) -> dict[str, dict[str, Any]]:
    """Every model that gives a probability of going up, by name; empty if none does.

    Args:
        frame: result frame of the test span with ``step``, ``last`` and ``usual``.
        stride: steps between cutoffs.

    Returns:
        Per model ``label`` (``skill``, ``no skill`` or ``too little data``), ``text``, ``mean, low, high`` (mean
        probability, and the middle 80 % of them), ``share`` (of ups that happened), ``log_loss, usual_log_loss, brier,
        usual_brier`` (means over everything scored), ``pvalue`` (Diebold-Mariano on the log loss, Holm) and
        ``difference`` (what it is of: mean over origins, negative where the model's log loss is lower), ``timing``
        (Pesaran-Timmermann, Holm), ``hits, expected`` (one step ahead: share right, and right by chance),
        ``origins, missing``, ``by_step`` and ``reliability`` (said and happened by tenths).
    """
    names = metrics.tellers(frame)
    if not names or "usual" not in frame or "last" not in frame:
        return {}
    known = frame[frame["y"].notna() & frame["last"].notna()]
    overlap = math.ceil(int(metrics.steps(frame).max()) / stride)
    parts = {name: _measure(known, name, stride, overlap) for name in names}
    adjusted = inference.holm([part.pop("test").evidence for part in parts.values()])
    for (name, part), p in zip(parts.items(), adjusted, strict=True):
        part["pvalue"] = float(p)
        part["label"], part["text"] = _sentence(name, part, overlap, adjusted=len(parts) > 1)
    return parts


def _measure(known: pd.DataFrame, model: str, stride: int, overlap: int) -> dict[str, Any]:
    said, usual = (known[name].to_numpy(np.float64) for name in (metrics.chance(model), "usual"))
    up = metrics.went_up(known["y"].to_numpy(np.float64), known["last"].to_numpy(np.float64))
    mine, theirs = metrics.log_loss(up, said), metrics.log_loss(up, usual)
    at, cutoffs = pd.factorize(known["cutoff"], sort=True)
    rows = np.bincount(at, minlength=len(cutoffs))
    # NaN + anything is NaN: an origin with a gap has no mean
    losses = [np.bincount(at, loss, len(cutoffs)) / rows for loss in (mine, theirs)]
    there = ~np.isnan(said)
    low, high = np.quantile(said[there], (0.1, 0.9)) if there.any() else (math.nan, math.nan)
    step = metrics.steps(known)
    by_step = [_step(known[step == one], model, stride, int(one)) for one in sorted({1, int(step.max())})]
    timing = [p for part in by_step for p in part.pop("timing")]
    return {
        "mean": _mean(said), "low": float(low), "high": float(high), "share": _mean(up),
        "log_loss": _mean(mine), "usual_log_loss": _mean(theirs),
        "brier": _mean(metrics.brier(up, said)), "usual_brier": _mean(metrics.brier(up, usual)),
        "timing": float(inference.holm(timing).min()) if timing else math.nan,
        "hits": by_step[0]["hits"], "expected": by_step[0]["expected"],
        "missing": int((~there).sum()), "test": (test := inference.compare_losses(*losses, horizon=overlap)),
        "difference": test.mean, "origins": test.n, "by_step": by_step,
        "reliability": _reliability(up[there], said[there]),
    }  # fmt: skip


def _step(part: pd.DataFrame, model: str, stride: int, step: int) -> dict[str, Any]:
    """Scores of one step ahead; ``timing``: a p-value per series, right meaning on the same side of the base rate."""
    groups = [group for _, group in part.groupby("unique_id", observed=True, sort=False)]
    pick = np.unique(np.linspace(0, len(groups) - 1, min(MOST_SERIES, len(groups))).astype(int))
    tests = []
    for group in (groups[i].sort_values("cutoff") for i in pick):
        change = ties.change(group["y"].to_numpy(np.float64), group["last"].to_numpy(np.float64))
        said, usual = (group[name].to_numpy(np.float64) for name in (metrics.chance(model), "usual"))
        more = ties.change(said, usual, 1.0)
        tests.append(inference.pesaran_timmermann(change, more, horizon=math.ceil(step / stride)))
    up = metrics.went_up(part["y"].to_numpy(np.float64), part["last"].to_numpy(np.float64))
    said, usual = (part[name].to_numpy(np.float64) for name in (metrics.chance(model), "usual"))
    return {
        "step": step, "mean": _mean(said), "share": _mean(up), "log_loss": _mean(metrics.log_loss(up, said)),
        "usual_log_loss": _mean(metrics.log_loss(up, usual)), "brier": _mean(metrics.brier(up, said)),
        "usual_brier": _mean(metrics.brier(up, usual)), "hits": _mean(np.array([test.hits for test in tests])),
        "expected": _mean(np.array([test.expected for test in tests])),
        "pvalue": float(inference.holm([test.pvalue for test in tests]).min()),
        "timing": [test.pvalue for test in tests],
    }  # fmt: skip


def _reliability(up: np.ndarray[Any, Any], said: np.ndarray[Any, Any]) -> list[dict[str, float]]:
    """What was said and what happened, by tenths of the probability."""
    tenth = np.minimum((said * BINS).astype(int), BINS - 1)
    return [
        {"from": one / BINS, "to": (one + 1) / BINS, "n": int((tenth == one).sum()),
         "said": _mean(said[tenth == one]), "happened": _mean(up[tenth == one])}
        for one in np.unique(tenth)
    ]  # fmt: skip


def _sentence(name: str, part: dict[str, Any], overlap: int, *, adjusted: bool) -> tuple[str, str]:
    """``(label, one line a person can repeat)``."""
    said = f"{name} says up with {_whole(part['mean'])} (mostly {_whole(part['low'])[:-2]} to {_whole(part['high'])})"
    if part["missing"]:
        return NO_SKILL, f"{name} left {part['missing']:,} probabilities of going up out: no skill in direction."
    if part["origins"] < MIN_ORIGINS or part["origins"] < MIN_SPANS * overlap:
        return TOO_LITTLE, f"{said}: too little data to tell whether the direction is predictable."
    # per origin too, which is what was tested: series of different lengths weigh otherwise in the pooled mean
    lower = part["log_loss"] < part["usual_log_loss"] and part["difference"] < 0
    facts = (
        f"log loss {part['log_loss']:.4f} against {part['usual_log_loss']:.4f} of the base rate "
        f"(DM p {_p(part['pvalue'])}{', Holm' if adjusted else ''}; Pesaran-Timmermann p {_p(part['timing'])})"
    )
    if lower and part["pvalue"] < ALPHA and part["timing"] < ALPHA:
        right = f"{100 * part['hits']:.0f} % right one step ahead, {100 * part['expected']:.0f} % by chance"
        return SKILL, f"{said}: the direction is predictable, {right}; {facts}."
    return NO_SKILL, f"{said}: no skill, {_whole(part['share'])} went up; {facts}."


def headline(parts: dict[str, dict[str, Any]], model: str | None) -> dict[str, Any] | None:
    """The verdict on the direction that goes with a verdict on ``model``: its own, else that of the best teller."""
    if not parts:
        return None
    best = model if model in parts else min(parts, key=lambda name: (parts[name]["label"] != SKILL, _rank(parts[name])))
    return {"label": parts[best]["label"], "text": parts[best]["text"], "model": best}


def _rank(part: dict[str, Any]) -> float:
    loss = float(part["log_loss"])
    return math.inf if math.isnan(loss) else loss


def _mean(values: np.ndarray[Any, Any]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _whole(share: float) -> str:
    return "- %" if math.isnan(share) else f"{100 * share:.0f} %"


def _p(p: float) -> str:
    if math.isnan(p):
        return "undefined"
    return f"= {p:.2f}" if p >= 0.095 else f"= {p:.3f}" if p >= 0.001 else "< 0.001"
