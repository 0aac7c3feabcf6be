"""What a pipeline is asked to do with values; nothing in it is learned from data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.errors import UsageError
from pipelines.scale import Kind


@dataclass(frozen=True)
class PipelineSpec:
    """What to do with the values; nothing here is learned from data.

    Args:
        horizon: steps ahead that are predicted, ``H``.
        log: predict the logarithm (prices: residuals are log returns).
        anchor: what residuals are relative to: the ``"last"`` value, the causal ``"mean"`` over ``short``, or
            ``"none"``: the standardised value itself is predicted.
        scale: residuals in units of ``"one"`` (training spread) or of the causal ``"volatility"``.
        unit: residuals in their training root mean square over ``"all"`` steps ahead, in one per ``"step"`` ahead
            (prices: near steps move less), or in the scaler's own unit, ``"one"``.
        scaler: how values are standardised.
        season, short, long: steps; ``None`` means the season of the grid, about one and about seven of them.
        features: show the net values ``"relative"`` to causal means and differences, the standardised ``"level"``
            itself, or ``"both"``.
        volatility: beside relative features, also show how much values have lately moved.
        calendar: also show the cycles that suit the step (time of day, week or year), or the ``"shortest"`` of them.
        context: how many values before each origin a linear skip reads (0: none).
        clip: features beyond this many training standard deviations are cut off.
        place: also tell a net which series it reads: its place among the fitted ones, behind the static covariates.
    """

    horizon: int
    log: bool = False
    anchor: Literal["last", "mean", "none"] = "last"
    scale: Literal["one", "volatility"] = "one"
    unit: Literal["one", "all", "step"] = "all"
    scaler: Kind = "standard"
    season: int | None = None
    short: int | None = None
    long: int | None = None
    features: Literal["relative", "level", "both"] = "relative"
    volatility: bool = True
    calendar: bool | Literal["shortest"] = True
    context: int = 0
    clip: float = 10.0
    place: bool = False

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise UsageError(f"horizon is {self.horizon}, it must be at least 1.", hint="Use --horizon 1 or more.")
