"""RecurrentRegressor: the toolkit's nets on windows, as a scikit-learn regressor.

    >>> import pipelines as pl
    >>> from forecast.sklearn import RecurrentRegressor
    >>> panel = pl.load("^GSPC", source="sample", start="2014-01-01")
    >>> w = pl.windows(panel, lookback=20, horizon=5)
    >>> net = RecurrentRegressor("gru", hidden=8, anchor="last", epochs=2)
    >>> net.fit(w.X[:-250], w.y[:-250]).predict(w.X[-250:]).shape
    (250, 5)

There is no second trainer here: windows are laid out as the rows of a :class:`pipelines.prepared.Prepared`, one short
series a window with its targets behind it, and go through the net, the batches and the LightningModule that
``forecast fit --mode window`` uses. What a panel would decide (features, spans, early stopping, calibrated intervals)
has no place on bare windows: training goes on for ``epochs``, to be chosen by cross-validation.

Assumptions, named: every channel is standardised by one center and one unit over all steps of all training windows,
so that a window keeps its shape; every step ahead of ``y`` by its own. Predictions therefore follow ``a * y + b``
(``a > 0``) up to rounding. Nets are trained in float32 and predict in float64, so that a row's forecast does not
depend on its neighbours in the batch.

scikit-learn itself is never hidden: this module is ``forecast.sklearn``, and imports here are absolute.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from forecast.config import Config, locate
from forecast.data import Span, StreamData
from forecast.family import FAMILY
from forecast.idle import idle, warn_idle
from forecast.module import ForecastModule, WeightAverage
from forecast.nn.network import Network
from forecast.spans import segment_of, threads_for
from forecast.surroundings import seeded
from forecast.tensors import device_chunks, tensors_of
from forecast.threads import threads
from forecast.trainer import run_trainer
from pipelines.batches import gather
from pipelines.errors import UsageError
from pipelines.plans import pieces_of, plan_windows
from pipelines.prepared import Prepared
from pipelines.scale import Scaler

Array = NDArray[np.float64]
_OWN = {
    "core": "model.core", "hidden": "model.hidden", "layers": "model.layers", "dropout": "model.dropout",
    "loss": "model.loss", "anchor": "data.anchor", "epochs": "train.epochs", "batch": "data.lanes", "lr": "train.lr",
    "random_state": "train.seed",
}  # fmt: skip
_FOREIGN = {
    "model.head": "predict gives one number per step ahead",
    "model.quantiles": "predict gives one number per step ahead",
    "model.skip": "bare windows carry no longer past for it to read",
    "train.patience": "there is no stop span; choose epochs by cross-validation",
    "train.keep": "there is no stop span, so the last weights are kept",
}
_COUNTS = ("hidden", "layers", "dropout", "epochs", "batch", "lr")
_AT_ONCE = 1024  # windows predicted in one go
_TOLD: set[str] = set()


class RecurrentRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A recurrent (or other) net of the toolkit on windows, for pipelines, grid searches and cross-validation.

    Args:
        core: a name of :data:`forecast.family.FAMILY` that learns by gradients on windows: ``"rnn"``, ``"lstm"``,
            ``"gru"``, ``"mlp"``, ...
        hidden, layers, dropout: size of the net; dropout between layers and before the head. Here and below ``None``
            is what suits the core, as in ``forecast fit`` (an LSTM: 64, 1, 0.2).
        loss: ``"mse"``, ``"mae"`` or ``"huber"``, on standardised targets.
        channels: values a step in flat ``X``, which is folded as :attr:`pipelines.Windows.flat` unfolds it (all
            channels of the oldest step first); ``None`` is 1 for flat ``X``, and what ``X`` says if it is 3-D.
        anchor: ``"none"`` forecasts the value itself. ``"last"`` forecasts the change from the newest value of the
            first channel, and shows the net that channel relative to it: for windows of a target that drifts, such
            as prices. The first channel and ``y`` must then be in one unit, so scale neither of them before. ``None``
            is ``"none"``, and ``"last"`` for segrnn, which knows nothing else.
        epochs: passes over the windows; ``None``: as many as make about 1500 updates, at least two.
        batch: windows an update; ``None``: 32.
        lr: step size; ``None``: 0.002.
        settings: further settings of the ``model`` and ``train`` sections by name, such as
            ``{"bidirectional": True, "optimizer": "adam", "average": 0, "accelerator": "cpu"}``. What does nothing
            there is warned of, as by ``forecast.fit``; called by scikit-learn (pipelines, searches) once a process.
        random_state: an int, a ``RandomState``, or ``None`` for another result on each fit. Equal ones give equal
            predictions on one machine.

    ``X`` is ``[M, lookback, C]`` or flat, ``[M, lookback * C]``; ``y`` is ``[M]`` or ``[M, H]``, and predictions have
    its shape; both in natural units. Names ending in ``_`` are there after :meth:`fit`:

    Attributes:
        n_features_in_: ``lookback * C``.
        feature_names_in_: names of the columns, if ``X`` was a table whose column names are all text.
        network_: the trained net, float64, on the CPU.
        config_: the settled :class:`forecast.Config`.
        channels_, lookback_: how a flat window folds.
        x_scaler_, y_scaler_: what was standardised, fitted on the training windows.

    There is no ``sample_weight``: the heads of the toolkit weigh all targets alike.
    """

    def __init__(
        self,
        core: str = "lstm",
        *,
        hidden: int | None = None,
        layers: int | None = None,
        dropout: float | None = None,
        loss: str = "mse",
        channels: int | None = None,
        anchor: str | None = None,
        epochs: int | None = None,
        batch: int | None = None,
        lr: float | None = None,
        settings: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.core = core
        self.hidden = hidden
        self.layers = layers
        self.dropout = dropout
        self.loss = loss
        self.channels = channels
        self.anchor = anchor
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.settings = settings
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train a fresh net on the windows ``X`` and their targets ``y`` (see the class for shapes).

        Threads of one process train in turn, processes side by side.

        Raises:
            UsageError: a parameter is wrong; it is also a ValueError.
            ValueError: scikit-learn's own, for arrays of a wrong shape or with values that are no finite numbers.
            TrainingError: the loss is not a number.
        """
        flat, channels = _flatten(X)
        flat, target = validate_data(self, flat, y, multi_output=True, y_numeric=True, ensure_min_samples=2)
        target = check_array(target, ensure_2d=False, input_name="y", estimator=self).astype(np.float64)
        self.channels_ = self._count_channels(channels)
        self.lookback_ = self.n_features_in_ // self.channels_
        self._one_number = target.ndim == 1
        target = target.reshape(len(target), -1)
        asked = self._asked(target.shape[1])
        searched = str(sys._getframe(1).f_globals.get("__name__")).startswith("sklearn.")
        warn_idle(asked, None, self.settings or {}, _not_yet_told if searched else idle)
        config = _settle(asked, len(target))
        windows, last = self._fold(flat, config.data.anchor)
        self.x_scaler_ = Scaler.fit(windows.reshape(-1, self.channels_))
        self.y_scaler_ = Scaler.fit(target - last)
        prepared = _lay_out(self.x_scaler_.apply(windows), self.y_scaler_.apply(target - last))
        self.network_ = _train(prepared, config).double().eval()
        self.config_ = config
        return self

    def predict(self, X: ArrayLike) -> Array:
        """``[M]`` or ``[M, H]``, as ``y`` was: the forecast behind every window, in the units of ``y``."""
        check_is_fitted(self, "network_")
        flat, channels = _flatten(X)
        if channels not in (None, self.channels_):
            raise UsageError(
                f"X has {channels} channels, the net was fitted on {self.channels_}.",
                hint=f"Give windows of {self.lookback_} steps and {self.channels_} channels.",
            )
        windows, last = self._fold(validate_data(self, flat, reset=False), self.config_.data.anchor)
        horizon = self.config_.data.horizon
        prepared = _lay_out(self.x_scaler_.apply(windows), np.zeros((len(windows), horizon)))
        with threads(self.config_.train.threads):
            values = _read(self.network_, prepared, self.lookback_)
        out: Array = self.y_scaler_.invert(values) + last
        return out[:, 0] if self._one_number else out

    # -- parts ---------------------------------------------------------------------------------
    def _count_channels(self, found: int | None) -> int:
        """Channels a step: ``found`` in 3-D windows, else the parameter's."""
        channels = self.channels if self.channels is not None else found or 1
        if isinstance(channels, bool) or not isinstance(channels, Integral) or channels < 1:
            raise UsageError(f"channels is {channels!r}, expected a whole number of at least 1, or None.")
        if found is not None and channels != found:
            raise UsageError(
                f"X has {found} channels, the parameter channels says {channels}.", hint="Leave channels out for 3-D X."
            )
        if self.n_features_in_ % channels:
            raise UsageError(
                f"X has {self.n_features_in_} columns, which make no whole steps of {channels} channels.",
                hint="Flat X holds lookback * channels columns, all channels of the oldest step first.",
            )
        return int(channels)

    def _fold(self, flat: NDArray[Any], anchor: str) -> tuple[Array, Array]:
        """Windows ``[M, L, C]`` as the net is shown them before scaling, and what targets are relative to, ``[M, 1]``.

        Always a copy: windows of a caller are never written to.
        """
        windows = np.array(flat, np.float64).reshape(len(flat), self.lookback_, self.channels_)
        if anchor == "none":
            return windows, np.zeros((len(windows), 1))
        last = windows[:, -1:, 0].copy()
        windows[:, :, 0] -= last
        return windows, last

    def _asked(self, horizon: int) -> Config:
        """The configuration that the parameters make; some of it is ``"auto"``."""
        if self.anchor not in (None, "none", "last"):
            raise UsageError(f"anchor is {self.anchor!r}, expected 'none' or 'last', or None.")
        if self.batch is not None and (not isinstance(self.batch, Integral) or self.batch < 1):
            raise UsageError(f"batch is {self.batch!r}, expected a whole number of at least 1, or None.")
        for name in _COUNTS:
            if isinstance(getattr(self, name), bool | np.bool_):
                raise UsageError(
                    f"{name} is {getattr(self, name)!r}, expected a number, or None.",
                    hint="None is what suits the core.",
                )
        usable = [name for name, member in FAMILY.items() if member.gradient and member.windows]
        if self.core is None:
            raise UsageError(
                "core is None, expected the name of a net.",
                hint=f"Use one of {', '.join(usable)}; 'lstm' is the default.",
            )
        if self.core in tuple(FAMILY) and self.core not in usable:
            raise UsageError(
                f"core {self.core!r} does not learn by gradients on windows, which is all that is done here.",
                hint=f"Use one of {', '.join(usable)}, or forecast.fit with a panel.",
            )
        defaults: Mapping[str, Any] = FAMILY[self.core].defaults if self.core in tuple(FAMILY) else {}
        usual = defaults.get("data.anchor", "none")
        anchor = usual if self.anchor is None else self.anchor
        if self.core == "segrnn" and anchor != usual:
            raise UsageError(
                f"segrnn forecasts the change from the newest value; anchor is {anchor!r}.",
                hint="Leave anchor out, or use anchor='last'.",
            )
        if self.core in tuple(FAMILY) and not FAMILY[self.core].covariates and self.channels_ > 1:
            raise UsageError(
                f"{self.core} reads the first channel alone; here channels is {self.channels_}.",
                hint="Give windows of one channel, such as X[:, :, :1], or use another core, such as lstm or cnn.",
            )
        chance = check_random_state(self.random_state)
        seed = self.random_state if isinstance(self.random_state, Integral) else chance.randint(2**31 - 1)
        given = {full: getattr(self, name) for name, full in _OWN.items()}
        further = self._further()
        if self.core == "segrnn":
            self._check_segment(further.get("model.segment"), horizon)
        given |= {"train.seed": seed, "data.anchor": anchor} | further
        plain = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in given.items()
            if value is not None
        }
        shape = {"data.mode": "window", "data.lookback": self.lookback_, "data.horizon": horizon}
        return Config.make(None, **plain, **shape, **{"model.head": "point", "model.skip": 0})

    def _check_segment(self, segment: Any, horizon: int) -> None:
        """Told in columns, of which the configuration's own refusal knows nothing."""
        if not isinstance(segment, Integral) or segment < 1:
            return
        segment = int(segment)
        for what, length in (("X has windows", self.lookback_), ("y has targets", horizon)):
            if length % segment:
                raise UsageError(
                    f"{what} of {length} columns, no multiple of segment = {segment}.",
                    hint=f"Give {what[0]} with {max(segment, round(length / segment) * segment)} columns, or leave "
                    "'segment' out of settings=.",
                )

    def _further(self) -> dict[str, Any]:
        """``settings`` by full name."""
        if self.settings is not None and not isinstance(self.settings, Mapping):
            raise UsageError(
                f"settings is {type(self.settings).__name__}, expected a mapping of names to values.",
                hint='Such as settings={"bidirectional": True}.',
            )
        out = {}
        own = {full: name for name, full in _OWN.items()}
        for name, value in (self.settings or {}).items():
            section, field = locate(str(name))
            full = f"{section}.{field}"
            if full in own:
                raise UsageError(f"setting {name!r} is the parameter {own[full]!r} here.", hint=f"Use {own[full]}=.")
            if section == "data" or full in _FOREIGN:
                why = _FOREIGN.get(full, "it says how a panel becomes windows, and these are windows")
                raise UsageError(f"setting {name!r} has no meaning here: {why}.", hint="Leave it out.")
            out[full] = value
        return out


def _settle(asked: Config, rows: int) -> Config:
    """The configuration of a fit on ``rows`` windows; nothing in it is left ``"auto"``."""
    train = asked.train
    lanes = 32 if asked.data.lanes == "auto" else asked.data.lanes
    updates = -(-rows // lanes)
    epochs = int(np.clip(round(train.updates / updates), 2, 1000)) if train.epochs == "auto" else train.epochs
    count = threads_for(train.threads, lanes, asked.model.hidden)
    settled = {"data.lanes": lanes, "train.epochs": epochs, "train.threads": count}
    return asked.override(**settled, **({"segment": segment_of(asked)} if asked.model.core == "segrnn" else {}))


def _not_yet_told(config: Config) -> list[str]:
    """What :func:`idle` says, each sentence once a process: scikit-learn's searches fit hundreds of times."""
    new = [sentence for sentence in idle(config) if sentence not in _TOLD]
    _TOLD.update(new)
    return new


def _flatten(X: Any) -> tuple[Any, int | None]:
    """3-D windows as ``[M, L * C]`` and their ``C``; anything else as it is, for scikit-learn to judge."""
    if isinstance(X, (list, tuple)) and np.ndim(X) == 3:
        X = np.asarray(X)
    if getattr(X, "ndim", 2) != 3:
        return X, None
    return X.reshape(X.shape[0], X.shape[1] * X.shape[2]), int(X.shape[2])


def _lay_out(windows: Array, targets: Array) -> Prepared:
    """Windows ``[M, L, C]`` and targets ``[M, H]``, both scaled, as ``M`` series of ``L`` rows with targets behind."""
    count, lookback, channels = windows.shape
    horizon = targets.shape[1]
    rows = lookback + horizon
    x = np.zeros((count, rows, channels), np.float32)
    x[:, :lookback] = windows
    level = np.zeros((count, rows), np.float32)
    level[:, lookback:] = targets
    total = count * rows
    return Prepared(
        x=x.reshape(total, channels), future=np.zeros((total, 0), np.float32), static=np.zeros((count, 0), np.float32),
        level=level.reshape(total), anchor=np.zeros(total), scale=np.ones(total), observed=np.ones(total, np.bool_),
        unit=np.ones(horizon), offsets=np.arange(count, dtype=np.int64) * rows,
        lengths=np.full(count, lookback, np.int64), context=0, state={},
    )  # fmt: skip


def _train(prepared: Prepared, config: Config) -> Network:
    """A net trained on all windows of ``prepared``, with averaged weights, on the CPU."""
    data, train = config.data, config.train
    epochs = int(train.epochs)
    span = Span(pieces_of(prepared), prepared.observed)
    with seeded(train.seed), threads(train.threads):
        network = Network(config, prepared.x.shape[1], 0, 0, torch.from_numpy(prepared.unit))
        average = WeightAverage(network, train.average) if train.average else None
        stream = StreamData(
            prepared, span, lanes=int(data.lanes), k1=1, k2=1, lookback=data.lookback, passes=epochs, total=epochs,
            seed=train.seed,
        )  # fmt: skip
        run_trainer(ForecastModule(network, config, average), stream, train, epochs=1, core=config.model.core)
        if average is not None:
            average.swap()
    return network.to("cpu")


@torch.no_grad()
def _read(network: Network, prepared: Prepared, lookback: int) -> Array:
    """What ``network``, in float64, says behind every window of ``prepared``, ``[M, H]`` in its units."""
    device = torch.device("cpu")
    source = tensors_of(prepared, None, device)
    out = []
    for chunk in device_chunks(plan_windows(pieces_of(prepared), lookback, _AT_ONCE, None), device):
        batch = gather(source, chunk)
        params, _ = network(replace(batch, x=batch.x.double()), network.initial(len(batch.x)))
        out.append(network.head.forecast(params)[:, -1, :, 0].numpy())
    return np.concatenate(out)
