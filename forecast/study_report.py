"""What a study learned, as JSON and CSV in its folder: every trial, history, importances, slices, Pareto front.

``study.json`` (schema 1): ``study, metric, objectives, sampler, pruner, seed, budget, trials {spent, complete, pruned,
failed, repeated}, best {number, values, params, config}, front [best, ...], importances {setting: share}, history
[{number, state, value, also, reached, best, seconds, params, failure}], slices {setting: [[value, score], ...]}, saved
{trials, seconds}, failures [{number, reason}], space, development, openings [{time, reason, trials}]``; once the seal
was opened also ``sealed`` (see :class:`forecast.tune.Tuned`). ``trials.csv``: one row per trial, one column per
setting. ``importances.csv``. ``report.html`` and ``report.md`` say the same to people (:mod:`forecast.study_page`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from forecast import metrics, storage
from forecast.results import Backtest
from forecast.space import Space, setting
from forecast.study import FAILURE, quiet, settled
from forecast.verdict import NO_SKILL, SKILL, TOO_LITTLE, WORSE, compare, losses_by_origin

SCHEMA = 1


def document(study: optuna.Study, request: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``study.json``."""
    trials = study.get_trials(deepcopy=False)
    states = {name: sum(trial.state == state for trial in trials) for name, state in (
        ("complete", TrialState.COMPLETE), ("pruned", TrialState.PRUNED),
    )}  # fmt: skip
    failures = [{"number": trial.number, "reason": trial.user_attrs[FAILURE]} for trial in trials if _bad(trial)]
    repeated = sum(trial.state == TrialState.FAIL and not settled(trial) for trial in trials)
    front = [_summary(trial) for trial in best_trials(study)]
    plain: dict[str, Any] = storage.plain({
        "schema": SCHEMA,
        "study": study.study_name,
        "metric": request["metric"],
        "objectives": ["error", *([request["also"]] if request["also"] else [])],
        **{name: request[name] for name in ("sampler", "pruner", "seed", "space", "development")},
        "budget": study.user_attrs.get("budget"),
        "trials": {"spent": sum(map(settled, trials)), **states, "failed": len(failures), "repeated": repeated},
        "best": front[0] if front else None,
        "front": front,
        "importances": importances(study),
        "history": history(trials),
        "slices": slices(trials, Space.from_json(request["space"])),
        "saved": saved(trials),
        "failures": failures,
        "openings": study.user_attrs.get("openings", []),
    })  # fmt: skip
    return plain


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The best trial; of several objectives the Pareto front, the smallest error first."""
    done = [trial for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if finite(trial)]
    if not done:
        return []
    if len(study.directions) == 1:
        return [min(done, key=lambda trial: (trial.values[0], trial.number))]
    return sorted(study.best_trials, key=lambda trial: (*trial.values, trial.number))


def finite(trial: FrozenTrial) -> bool:
    return all(math.isfinite(value) for value in trial.values or [math.nan])


def importances(study: optuna.Study) -> dict[str, float]:
    """Share of each setting in the variation of the error; empty where there is too little to tell."""
    done = [trial for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if finite(trial)]
    if len(done) < 4 or len({trial.values[0] for trial in done}) < 2:
        return {}
    several = len(study.directions) > 1
    try:
        with quiet(), warnings.catch_warnings():
            # that a setting was searched in too few trials to tell: its share is small then, and the counts are shown
            warnings.simplefilter("ignore", UserWarning)
            found = optuna.importance.get_param_importances(
                study, target=(lambda trial: float(trial.values[0])) if several else None
            )
    except (ValueError, RuntimeError):  # the settings searched in every trial do not vary
        return {}
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}


def history(trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    """Every trial in order, with the best error so far; ``reached``: mean error of the folds a pruned one finished."""
    best, out = math.inf, []
    for trial in trials:
        value = trial.values[0] if trial.state == TrialState.COMPLETE and trial.values else None
        best = best if value is None else min(best, value)
        folds = [fold["error"] for fold in trial.user_attrs.get("folds", ())]
        out.append({
            "number": trial.number, "state": trial.state.name.lower(), "value": value,
            "also": trial.values[1] if value is not None and len(trial.values) > 1 else None,
            "reached": sum(folds) / len(folds) if trial.state == TrialState.PRUNED and folds else None,
            "best": best if math.isfinite(best) else None, "seconds": trial.user_attrs.get("seconds"),
            "params": trial.params, "failure": trial.user_attrs.get(FAILURE),
        })  # fmt: skip
    return out


def slices(trials: list[FrozenTrial], space: Space) -> dict[str, list[list[Any]]]:
    """For every setting its value in every scored trial beside the error."""
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.values]
    return {
        name: [[trial.params[name], trial.values[0]] for trial in done if name in trial.params]
        for name in space.ranges
    }  # fmt: skip


def saved(trials: list[FrozenTrial]) -> dict[str, Any]:
    """Trials cut short, and about how long they would have taken: as long as a whole one does on average."""
    whole = [trial.user_attrs["seconds"] for trial in trials if trial.state == TrialState.COMPLETE and _timed(trial)]
    short = [trial.user_attrs["seconds"] for trial in trials if trial.state == TrialState.PRUNED and _timed(trial)]
    if not whole or not short:
        return {"trials": len(short), "seconds": 0.0}
    mean = sum(whole) / len(whole)
    return {"trials": len(short), "seconds": sum(max(0.0, mean - one) for one in short)}


def trials_table(study: optuna.Study, space: Space) -> pd.DataFrame:
    """One row per trial: number, state, values, seconds, reason of a failure, settings."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        row: dict[str, Any] = {"number": trial.number, "state": trial.state.name.lower()}
        names = ["error", "also"] if len(study.directions) > 1 else ["error"]
        row |= dict(zip(names, trial.values or [None] * len(names), strict=True))
        row |= {"seconds": trial.user_attrs.get("seconds"), "failure": trial.user_attrs.get(FAILURE)}
        rows.append(row | {name: trial.params.get(name) for name in space.ranges})
    return pd.DataFrame(rows)


def compared(result: Backtest, same: bool, tried: int) -> dict[str, Any]:
    """Whether tuning beat the default configuration on the sealed span, by the test and the units of every verdict."""
    season = int(result.settings["season"])
    scale = metrics.naive_scale(result.panel.up_to(result.frame["cutoff"].min()), season)
    unit = scale if len(result.panel.ids) > 1 else None
    own = result.significance["models"]["tuned"]["verdict"]
    facts: dict[str, Any] = {"tried": tried, "unit": "MAE" if unit is None else "scaled MAE", "verdict": own}
    ending = f" {own['text'][:1].upper()}{own['text'][1:].rstrip('.')}; it was chosen among {tried} configurations."
    if same:
        text = f"No configuration did better than the default one in the development span ({tried} tried)."
        loss = float(losses_by_origin(result.frame, ["tuned"], scale=unit)["tuned"].mean())
        return {**facts, "tuned": loss, "label": "default", "default": loss, "pvalue": None, "text": text + ending}
    found = compare(result.frame, ["tuned"], "default", stride=int(result.settings["stride"]), scale=unit)[0]
    gain = 1 - found.loss / found.baseline_loss
    size = f"{abs(gain):.1%} {facts['unit']} (DM p = {found.pvalue:.2g})"
    side = "better" if gain > 0 else "worse"
    label = {SKILL: "better", WORSE: "worse", NO_SKILL: "no difference"}.get(found.verdict["label"], TOO_LITTLE)
    text = {
        "better": f"Tuning beat the default configuration on the sealed span by {size}.",
        "worse": f"Tuning did worse than the default configuration on the sealed span, by {size}.",
        "no difference": "Tuning did not beat the default configuration on the sealed span beyond chance: "
        f"{side} by {size}.",
    }.get(label, f"Whether tuning beat the default configuration cannot be said: {found.verdict['text']}")
    losses = {"tuned": found.loss, "default": found.baseline_loss}
    return {**facts, **losses, "label": label, "pvalue": found.pvalue, "text": text + ending}


def write(folder: Path, found: Mapping[str, Any], table: pd.DataFrame, pages: Mapping[str, bytes]) -> None:
    """``study.json, trials.csv, importances.csv`` and ``pages`` by name, each replaced at once."""
    shares = pd.DataFrame({"setting": list(found["importances"]), "importance": list(found["importances"].values())})
    files = {"trials.csv": table.to_csv(index=False).encode(), "importances.csv": shares.to_csv(index=False).encode()}
    files |= {**pages, "study.json": storage.json_bytes(found)}
    for name, content in files.items():
        storage.replace_file(folder / name, content)


def changed(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The settings of a trial that differ from where the study began."""
    return {name: value for name, value in params.items() if value != setting(space.base, name)}


def _summary(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number, "values": trial.values, "params": trial.params,
        "config": trial.user_attrs.get("config"), "folds": trial.user_attrs.get("folds", []),
    }  # fmt: skip


def _bad(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and settled(trial)


def _timed(trial: FrozenTrial) -> bool:
    return "seconds" in trial.user_attrs
