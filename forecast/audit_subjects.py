"""What the audit looks at, brought to one shape: a function that forecasts, a function that fits, a state."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecast.config import Config
from forecast.contenders import FittedNet, FittedPlain, Net, Plain, resolve
from forecast.model import Model
from pipelines.panel import Panel

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Predict = Callable[[Panel, Rows, int], Floats]
"""``(panel, rows [M], horizon) -> [M, C * horizon]``: the forecast, then interval bounds if there are any."""
Fit = Callable[[Panel, pd.Timestamp], Any]
"""``(panel, cutoff) -> fitted``: may be handed later rows, must not use them."""

UPDATES = 150


def predict_of(subject: Any) -> Predict | None:
    """How ``subject`` forecasts; ``None`` if it has to be fitted first."""
    if isinstance(subject, Model):
        return FittedNetPredict(FittedNet(subject))
    if isinstance(subject, FittedNet | FittedPlain):
        return FittedNetPredict(subject)
    if isinstance(subject, str | Config | Net | Plain) or hasattr(subject, "get_params"):
        return None
    if hasattr(subject, "predict") and not _unfitted(subject):
        return lambda panel, rows, horizon: np.asarray(subject.predict(panel, rows, horizon), np.float64)
    return None


def _unfitted(subject: Any) -> bool:
    """Whatever can be fitted is fitted by the audit, so that nothing is audited in a state nobody knows."""
    return hasattr(subject, "fit")


class FittedNetPredict:
    """Points, bounds and chances of a fitted contender side by side; ``chances``: whether the last call gave any."""

    def __init__(self, fitted: FittedNet | FittedPlain) -> None:
        self.fitted, self.chances = fitted, False

    def __call__(self, panel: Panel, rows: Rows, horizon: int) -> Floats:
        found = self.fitted.forecast(panel, rows, horizon)
        bounds = [part for level in sorted(found.bounds) for part in found.bounds[level]]
        self.chances = found.up is not None
        return np.concatenate([found.point, *bounds, *([] if found.up is None else [found.up])], axis=1)


def fit_of(subject: Any, config: Config, panel: Panel, seed: int) -> Fit | None:
    """How ``subject`` is fitted up to a cutoff; ``None`` where it cannot be."""
    if isinstance(subject, Model):
        return NetFit(subject.name, subject.config, seed)
    if not isinstance(subject, str | Config) and hasattr(subject, "fit"):
        if "until" in inspect.signature(subject.fit).parameters:
            return UntilFit(subject)
    elif not isinstance(subject, str | Config):
        return None
    contender = resolve(subject, config, config.data.season or panel.grid.season)
    if isinstance(contender, Net):
        return NetFit(contender.name, contender.config, seed)
    return ContenderFit(contender, seed)


class UntilFit:
    """``fit(panel, until)`` of a copy: the procedure is handed everything."""

    def __init__(self, subject: Any) -> None:
        self.subject = subject
        self.name = str(getattr(subject, "name", type(subject).__name__))

    def __call__(self, panel: Panel, cutoff: pd.Timestamp) -> Any:
        import copy

        mine = copy.deepcopy(self.subject)
        fitted = mine.fit(panel, until=cutoff)
        return Ready(mine if fitted is None else fitted)


class Ready:
    """A fitted object: forecasts and, if it tells, its state."""

    def __init__(self, fitted: Any) -> None:
        self.fitted = fitted

    def predict(self, panel: Panel, rows: Rows, horizon: int) -> Floats:
        return np.asarray(self.fitted.predict(panel, rows, horizon), np.float64)

    def state(self) -> dict[str, Any]:
        return dict(self.fitted.state()) if hasattr(self.fitted, "state") else {}


class ContenderFit:
    """A contender as a backtest fits it: it gets the training rows and nothing else."""

    def __init__(self, contender: Any, seed: int) -> None:
        self.contender, self.seed, self.name = contender, seed, contender.name

    def __call__(self, panel: Panel, cutoff: pd.Timestamp) -> Any:
        return self.contender.fit(panel.up_to(cutoff), self.seed, None)


class NetFit:
    """``forecast.fit`` with all rows after the cutoff as its holdout span, which it may not look at."""

    def __init__(self, name: str, config: Config, seed: int) -> None:
        self.name, self.config, self.seed = name, config, seed

    def __call__(self, panel: Panel, cutoff: pd.Timestamp) -> Model:
        from forecast.train import fit

        short: dict[str, Any] = {
            "train.updates": min(UPDATES, self.config.train.updates),
            "train.seed": self.seed,
            "train.threads": 1,
        }
        data = self.config.data
        if self.config.train.epochs != "auto":
            rows = int((panel.ds <= cutoff.to_datetime64()).sum())
            steps = max(1, rows // (_number(data.lanes, 8) * _number(data.k1, 64)))
            short["train.epochs"] = max(1, min(int(self.config.train.epochs), round(UPDATES / steps)))
        return fit(panel, self.config.override(**short), until=cutoff)


def _number(value: int | str, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


def state_of(fitted: Any) -> dict[str, Any]:
    """Everything a fit left behind, as flat names with numbers, arrays or texts."""
    if isinstance(fitted, FittedNet):
        fitted = fitted.model
    if isinstance(fitted, FittedPlain):
        fitted = fitted.forecaster
    if isinstance(fitted, Model):
        out: dict[str, Any] = {
            f"weight {name}": weight.detach().numpy() for name, weight in fitted.network.state_dict().items()
        }
        out |= _flat("pipeline", fitted.pipeline.to_json()["fitted"])
        out |= {f"interval {level}": push for level, push in fitted.calibration.items()}
        settled = fitted.config.to_json()
        for share in ("stop", "holdout"):
            settled["data"].pop(share)  # the audit sets them so that the spans stay where they are
        out |= _flat("selected", settled)
        out["selected best epoch"] = int(fitted.facts["training"]["best_epoch"])
        return out
    if hasattr(fitted, "state"):
        return dict(fitted.state())
    return {}


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {key: part for name, inner in value.items() for key, part in _flat(f"{prefix} {name}", inner).items()}
    if isinstance(value, list | tuple) and value and all(isinstance(part, int | float) for part in value):
        return {prefix: np.asarray(value, np.float64)}
    return {prefix: value if isinstance(value, int | float) else str(value)}
