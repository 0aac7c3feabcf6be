"""The three sections of a configuration: data, model and training; every field with its default, range and meaning.

A range in a field's annotation is what ``forecast tune`` searches unless told otherwise.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from forecast.family import FAMILY
from forecast.ranges import Choice, Range
from pipelines.errors import did_you_mean

Auto = Literal["auto"]
RECURRENT = ("rnn", "rnn-relu", "lstm", "gru")
CORES = tuple(FAMILY)
DEFAULT_CORE = "lstm"
POINT_HEADS = ("point", "direction")
"""Heads that give one number per step ahead and no quantiles."""
UNLOCATED = ("categorical",)
"""Heads none of whose parameters is a value."""
_LEARN = tuple(name for name, member in FAMILY.items() if member.gradient)
_HAVE_DROPOUT = tuple(name for name, member in FAMILY.items() if "dropout" not in member.lacks)


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(Section):
    """How a panel becomes batches."""

    kind: Literal["auto", "price", "sensor"] = Field(
        default="auto",
        description="price: log returns in units of volatility. sensor: values relative to a causal mean.",
    )
    horizon: int = Field(default=5, ge=1, le=10_000, description="Steps ahead.")
    strategy: Literal["direct", "recursive"] = Field(
        default="direct",
        description="direct: all steps ahead from the state at the origin. recursive: the net learns one step, and "
        "reads its own forecast to say the next.",
    )
    mode: Literal["auto", "stream", "window"] = Field(
        default="auto", description="Stateful lanes, or shuffled windows; auto: stream where the net can."
    )
    lookback: Annotated[int, Range(20, 120, when=("data.mode", ("window",)))] = Field(
        default=60, ge=1, description="Window mode only: rows a window reads."
    )
    lanes: int | Auto = Field(
        default="auto", description="Parallel lanes (stream) or windows per batch (window), at least 1."
    )
    k1: Annotated[int | Auto, Choice(("auto", 16, 32), when=("data.mode", ("auto", "stream")))] = Field(
        default="auto", description="Truncated BPTT: steps between updates, at least 1."
    )
    k2: int | Auto = Field(default="auto", description="Truncated BPTT: steps back-propagated; at least k1.")
    stop: float = Field(default=0.15, gt=0, lt=0.9, description="Share of the time span used for early stopping.")
    holdout: float = Field(default=0.15, ge=0, lt=0.9, description="Share of the time span held out for scoring.")
    log: bool | Auto = Field(default="auto", description="Forecast the logarithm.")
    anchor: Literal["auto", "last", "mean", "none"] = Field(
        default="auto", description="What the forecast is relative to; none: the value itself is forecast."
    )
    scale: Literal["auto", "one", "volatility"] = Field(default="auto", description="Unit of the forecast change.")
    unit: Literal["auto", "one", "all", "step"] = Field(
        default="auto", description="Residuals as they are, in one unit for all steps ahead, or in one per step."
    )
    scaler: Literal["standard", "robust", "minmax", "none"] = Field(
        default="standard", description="How values are standardised, by the training rows."
    )
    season: int | None = Field(default=None, ge=1, description="Steps in a season; from the frequency when not given.")
    short: int | None = Field(default=None, ge=2, description="Window of the short causal mean.")
    long: int | None = Field(default=None, ge=2, description="Window of the long causal mean.")
    features: Literal["relative", "level", "both"] = Field(
        default="relative",
        description="What the net reads: values relative to causal means, the value itself, or both.",
    )
    volatility: bool = Field(
        default=True, description="Relative features: also show the net how much values have lately moved."
    )
    calendar: bool | Literal["shortest"] = Field(
        default=True,
        description="Show the net the two cycles that suit the step, of day, week and year, or only the shortest.",
    )
    clip: float = Field(default=10.0, gt=0, description="Inputs are cut off at so many training standard deviations.")

    @field_validator("calendar", mode="before")
    @classmethod
    def _calendar(cls, value: object) -> object:
        text = str(value).lower()
        if text in ("true", "false", "1", "0"):
            return text in ("true", "1")
        if text == "shortest":
            return text
        raise ValueError("must be true, false or shortest")

    @property
    def reach(self) -> int:
        """Steps ahead that the net itself forecasts, and the pipeline prepares for it."""
        return 1 if self.strategy == "recursive" else self.horizon

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.stop + self.holdout >= 0.9:
            raise ValueError(f"data.stop + data.holdout is {self.stop + self.holdout:g}, it must be below 0.9")
        if isinstance(self.k1, int) and isinstance(self.k2, int) and self.k2 < self.k1:
            raise ValueError(f"data.k2 is {self.k2}, it must be at least data.k1 = {self.k1}")
        for name in ("lanes", "k1", "k2"):
            value = getattr(self, name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"data.{name} is {value}, it must be at least 1")
        return self


class ModelConfig(Section):
    """The net."""

    core: Annotated[str, Choice(("lstm", "gru", "rnn"))] = Field(
        default=DEFAULT_CORE, examples=list(CORES), description="The net; see `forecast models`."
    )
    hidden: Annotated[int, Range(16, 128, log=True)] = Field(default=64, ge=1, le=8192, description="Units in a layer.")
    layers: Annotated[int, Range(1, 2, when=("model.core", ("lstm", "gru")))] = Field(
        default=1, ge=1, le=32, description="Layers on top of one another."
    )
    dropout: Annotated[float, Range(0.0, 0.5, when=("model.core", _HAVE_DROPOUT))] = Field(
        default=0.2, ge=0, lt=1, description="Between layers and before the head."
    )
    variational: bool = Field(
        default=False, description="Dropout with one mask for all steps of a chunk (Gal and Ghahramani 2016)."
    )
    bidirectional: bool = Field(default=False, description="Recurrent nets, window mode only.")
    kernel: Annotated[int, Range(2, 5, when=("model.core", ("cnn",)))] = Field(
        default=3, ge=2, le=64, description="cnn only: steps a convolution sees, before dilation."
    )
    segment: int | None = Field(
        default=None,
        ge=1,
        description="segrnn only: values of a segment; by default the largest up to 48 and up to half of lookback "
        "that divides lookback and horizon.",
    )
    spectral_radius: Annotated[float, Range(0.3, 1.3, when=("model.core", ("esn",)))] = Field(
        default=0.9, gt=0, le=10, description="esn only: largest eigenvalue of the reservoir; near 1 remembers long."
    )
    leak: Annotated[float, Range(0.05, 1.0, log=True, when=("model.core", ("esn",)))] = Field(
        default=1.0, gt=0, le=1, description="esn only: share of the new value in a step; small is slow."
    )
    input_scale: Annotated[float, Range(0.02, 1.0, log=True, when=("model.core", ("esn",)))] = Field(
        default=0.2, gt=0, description="esn only: size of the input weights; small is nearly linear."
    )
    connections: float = Field(default=10.0, gt=0, description="esn only: units each unit hears, on average.")
    ridge: float | None = Field(
        default=None,
        gt=0,
        description="esn only: penalty of the readout; by default the best of 1e-12 to 100 on the stop span.",
    )
    init: Literal["orthogonal", "identity", "chrono", "torch"] | None = Field(
        default=None,
        description="Initial recurrent weights: orthogonal, identity (IRNN), chrono (gates of lstm and gru open for up "
        "to k2 steps; arXiv 1804.11188), or torch's own; what suits the net by default.",
    )
    head: Literal["auto", "point", "quantile", "gaussian", "student-t", "direction", "categorical"] = Field(
        default="auto",
        description="What is predicted: numbers, quantiles, the parameters of a density, numbers with the probability "
        "of going up (direction), or classes of the change; auto: quantiles where the net can.",
    )
    classes: int = Field(default=40, ge=2, le=1000, description="Categorical head only: how many, about as frequent.")
    decoder: Literal["direct", "recurrent"] = Field(
        default="direct",
        description="direct: the head reads all steps ahead off the state. recurrent: encoder and decoder; the state "
        "begins a second net of the same kind that runs over the steps ahead.",
    )
    loss: Literal["huber", "mse", "mae"] = Field(default="huber", description="Of numbers: point and direction heads.")
    quantiles: tuple[float, ...] = Field(
        default=(0.05, 0.25, 0.5, 0.75, 0.95),
        description="Bounds of the intervals around the median, 0.5; they rise and mirror each other.",
    )
    skip: Annotated[int | Auto, Choice(("auto", 0), when=("data.kind", ("sensor",)))] = Field(
        default="auto", description="Values a linear skip reads (LSTNet); 0 for none."
    )

    @field_validator("core")
    @classmethod
    def _core(cls, value: str) -> str:
        if value not in CORES:
            raise ValueError(f"there is no model {value!r}.{did_you_mean(value, CORES)} Models: {', '.join(CORES)}")
        return value

    @field_validator("quantiles")
    @classmethod
    def _quantiles(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)) or 0.5 not in value or not all(0 < q < 1 for q in value):
            raise ValueError("quantiles must rise strictly, lie between 0 and 1 and contain 0.5")
        for low, high in zip(value, reversed(value), strict=True):
            level = 100 * (1 - 2 * min(low, high))
            if abs(low + high - 1) > 1e-9 or abs(level - round(level)) > 1e-9:
                raise ValueError("quantiles must mirror each other and bound whole per cents, such as 0.05 and 0.95")
        return value

    @field_validator("skip")
    @classmethod
    def _skip(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 0:
            raise ValueError("skip must be 0 (none) or a number of values")
        return value


class TrainConfig(Section):
    """How weights are found."""

    epochs: int | Auto = Field(
        default="auto", description="Passes over the training rows, at least 1; auto: from the number of updates."
    )
    updates: int = Field(default=1500, ge=1, description="Updates aimed at, or a few more, when epochs is auto.")
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = Field(default="adamw", description="Rule of an update.")
    momentum: float = Field(default=0.0, ge=0, lt=1, description="Of rmsprop and sgd.")
    lr: Annotated[float, Range(3e-4, 1e-2, log=True, when=("model.core", _LEARN))] = Field(
        default=2e-3, gt=0, description="Size of the steps (learning rate)."
    )
    weight_decay: Annotated[float, Range(1e-6, 1e-2, log=True, when=("model.core", _LEARN))] = Field(
        default=1e-4, ge=0, description="Pull of the weights towards zero."
    )
    clip: Annotated[float, Range(0.1, 10.0, log=True, when=("model.core", ("rnn", "rnn-relu")))] = Field(
        default=1.0, ge=0, description="Largest gradient norm; 0 for no clipping."
    )
    clip_value: float = Field(
        default=0.0, ge=0, description="Largest gradient of a single weight, cut before the norm is; 0 for no cutting."
    )
    activation: float = Field(
        default=0.0, ge=0, description="Penalty on the mean square of the net's features (AR; arXiv 1708.01009)."
    )
    slowness: float = Field(
        default=0.0, ge=0, description="Penalty on the mean square of their change from step to step (TAR)."
    )
    average: float = Field(default=0.99, ge=0, lt=1, description="Decay of the exponential weight average; 0 for none.")
    patience: int | Auto = Field(default="auto", description="Checks without a better stop loss before training ends.")
    keep: Literal["best", "last"] = Field(default="best", description="Weights kept: best on the stop span, or last.")
    seed: int = Field(default=0, ge=0, le=2**64 - 1, description="Equal seeds give equal nets on one machine.")
    threads: int | None = Field(
        default=None,
        ge=1,
        description="CPU threads, one per processor at most; by default one for a small net, else torch's choice.",
    )
    accelerator: str = Field(default="auto", description="Where to train: auto, cpu, gpu, mps.")
    precision: Literal["32-true", "bf16-mixed"] = Field(
        default="32-true", description="Numbers in training: 32 bits, or 16 where that is enough."
    )

    @field_validator("epochs", "patience")
    @classmethod
    def _positive(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be at least 1")
        return value

    @model_validator(mode="after")
    def _momentum(self) -> Self:
        if self.momentum and self.optimizer not in ("rmsprop", "sgd"):
            raise ValueError(f"momentum goes with rmsprop and sgd; {self.optimizer} has its own")
        return self
