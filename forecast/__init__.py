"""Recurrent networks for time series: fit, predict, save, and a verdict beside the naive forecast.

    >>> import forecast, pipelines
    >>> panel = pipelines.load("^GSPC", source="sample")
    >>> model = forecast.fit(panel, horizon=5)  # doctest: +SKIP
    >>> model.predict()  # doctest: +SKIP

Importing this package loads neither torch nor pandas; a name is looked up when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forecast.audit import audit as audit
    from forecast.backtest import backtest as backtest
    from forecast.config import Config as Config
    from forecast.diagnose import diagnose as diagnose
    from forecast.model import Model as Model
    from forecast.run import validate as validate
    from forecast.train import fit as fit
    from forecast.tune import tune as tune

_WHERE = {
    "Config": "forecast.config",
    "Model": "forecast.model",
    "audit": "forecast.audit",
    "backtest": "forecast.backtest",
    "diagnose": "forecast.diagnose",
    "fit": "forecast.train",
    "load": "forecast.model",
    "tune": "forecast.tune",
    "validate": "forecast.run",
}
__all__ = ["Config", "Model", "audit", "backtest", "diagnose", "fit", "load", "tune", "validate"]


def __getattr__(name: str) -> Any:
    if name == "load":
        return import_module("forecast.model").Model.load
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'forecast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
