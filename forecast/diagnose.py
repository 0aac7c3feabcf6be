"""diagnose(): how far back a net's learning reaches, whether its units are stuck, and one sentence on it.

``forecast.diagnose(model)`` looks at a fitted model or run folder; ``forecast.diagnose(panel, horizon=5)`` fits one
and watches its gradients while it learns. What is measured, and where it comes from: :mod:`forecast.diagnose_flow`
(by lag), :mod:`forecast.diagnose_units` (saturation), :mod:`forecast.diagnose_probe` (over training).

Assumptions, named: gradients are taken at origins of the training span. The net before training is drawn again from
the run's seed, so a reach that was short from the start (what lies farther back is hard to learn) is told from one that
became short (nothing farther back was needed); a model fitted from other weights (a warm refit) is compared with the
same draw. A reach is that of the net as it was trained and bounds no other: what lies farther back than k2 no gradient
ever told it of, so k2 is named as the limit unless the reach ends before half of it (``SHORT``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecast.callable_module import make_callable
from forecast.config import Config
from forecast.diagnose_flow import GONE, Flow, flow, stretches
from forecast.diagnose_probe import Probe, Training
from forecast.diagnose_units import Units, saturation
from forecast.family import FAMILY
from forecast.idle import warn_idle
from forecast.model import Model, build_network
from forecast.sections import RECURRENT
from forecast.surroundings import seeded
from forecast.threads import threads
from pipelines.errors import UsageError
from pipelines.panel import Panel
from pipelines.where import shown

if TYPE_CHECKING:
    from forecast.train import Progress

SCHEMA = 1
ORIGINS = 64
LONGEST = 2000  # lags; every one is a step of the net and a state that is kept
SHORT = 0.5  # of k2: a reach below that was not cut off by k2


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`diagnose` found.

    Args:
        model: name of the net.
        steps: steps that are back-propagated: k2, or the lookback of a window.
        flow: gradient by lag, after training.
        begin: the same of the net before training.
        units: saturation of gates and units, by layer.
        training: gradients over training; ``None`` for a model that was fitted unwatched.
        config: of the model.
    """

    model: str
    steps: int
    flow: Flow
    begin: Flow
    units: list[Units]
    training: Training | None
    config: Config

    @property
    def reach(self) -> int:
        """Steps back at which the gradient is still at least one per cent of its largest norm."""
        return self.flow.reach

    @property
    def verdict(self) -> str:
        """``"vanish"``, ``"explode"``, ``"reach"`` or ``"none"`` (see :class:`forecast.diagnose_flow.Flow`)."""
        return self.flow.verdict

    @property
    def text(self) -> str:
        """The conclusion, in one sentence."""
        return conclusion(self.flow, self.config, self.steps)

    @property
    def notes(self) -> list[str]:
        """What else is worth saying, a sentence each."""
        return notes(self)

    def __str__(self) -> str:
        return "\n".join([self.text, *self.notes])

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "model": self.model,
            "verdict": self.verdict,
            "text": self.text,
            "notes": self.notes,
            "steps": self.steps,
            "reach": self.reach,
            "by_lag": _curves(self.flow),
            "before_training": {"verdict": self.begin.verdict, "reach": self.begin.reach, **_curves(self.begin)},
            "saturation": [asdict(one) for one in self.units],
            "training": None if self.training is None else self.training.to_json(),
            "config": self.config.to_json(),
        }

    def plot(self, path: Path | str) -> None:
        """Write the picture of it as a PNG."""
        from forecast.diagnose_plot import save_diagnosis

        save_diagnosis(Path(path), self.text, self.model, self.flow, self.begin, self.training, self.units)


def _curves(found: Flow) -> dict[str, Any]:
    def plain(values: Any) -> list[float | None]:
        return [float(value) if math.isfinite(value) else None for value in values]

    layers = {name: plain(values) for name, values in found.layers.items()}
    return {"measure": found.measure, "norm": plain(found.norms), "input": plain(found.inputs), "layers": layers}


def diagnose(
    subject: Model | Panel | Path | str,
    config: Config | Mapping[str, Any] | None = None,
    *,
    lags: int | None = None,
    origins: int = ORIGINS,
    progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> Diagnosis:
    """Look at the gradients of a net.

    Args:
        subject: a fitted model, its run folder, or a panel to fit one to.
        config: with a panel only, as are ``settings`` such as ``horizon=10``; see :func:`forecast.fit`.
        lags: steps to look back; by default as many as are back-propagated in training.
        origins: origins to average over, at most.
        progress: see :func:`forecast.fit`.

    Raises:
        UsageError: settings for a model that is fitted already, or a net that is not trained by gradients.
        TooShortError: there are fewer rows than ``lags``.

    Example:
        >>> diagnose(panel, core="rnn", horizon=5).text  # doctest: +SKIP
        'gradients vanish beyond 18 steps (...), well before k2 = 64 ends: use lstm or gru, a longer k2 alone is ...'
    """
    if origins < 1:
        raise UsageError(f"origins is {origins}, expected at least 1.", hint=f"The default is {ORIGINS}.")
    if lags is not None and not 2 <= lags <= LONGEST:
        raise UsageError(f"lags is {lags}, expected 2 to {LONGEST:,}.", hint="By default as many as k2 says.")
    training: Training | None = None
    if isinstance(subject, Panel):
        asked = Config.of(config).override(**settings)
        refuse(asked)
        warn_idle(asked, config, settings)
        model, training = watched_fit(subject, asked, progress)
    else:
        if config is not None or settings:
            raise UsageError(
                "a model that is fitted already takes no settings.", hint="Give the panel to fit another one."
            )
        model = subject if isinstance(subject, Model) else Model.load(Path(subject))
        refuse(model.config)
    return examine(model, training, lags, origins)


def refuse(config: Config) -> None:
    """Raise for a net that no gradient trains.

    Raises:
        UsageError: it is one.
    """
    core = config.model.core
    if not FAMILY[core].gradient:
        raise UsageError(
            f"{core} is not trained by gradients, so it has none to look at.",
            hint=f"Use --model {', '.join(name for name, member in FAMILY.items() if member.gradient)}.",
        )


def watched_fit(
    panel: Panel, config: Config, progress: Callable[[Progress], None] | None = None
) -> tuple[Model, Training | None]:
    """A fit whose gradients are recorded."""
    from forecast.train import fit

    probe = Probe()
    model = fit(panel, config, progress=progress, probe=probe)
    return model, probe.training(model.config.train)


def examine(
    model: Model, training: Training | None = None, lags: int | None = None, origins: int = ORIGINS
) -> Diagnosis:
    """Gradients by lag and saturation of a fitted model that knows the rows it was fitted to.

    Raises:
        UsageError: it has read nothing, or other rows since than those it was fitted to.
    """
    panel, config = model.panel, model.config
    if panel is None:
        raise UsageError("the model has read no rows.", hint="Give it its panel first: model.read(panel).")
    steps = int(config.data.lookback if config.data.mode == "window" else config.data.k2)
    if config.data.mode == "window" and lags is not None and lags != steps:
        raise UsageError(
            f"lags is {lags}, but a window of this model has {steps} rows.", hint="Leave it out in window mode."
        )
    spans = model.facts.get("spans")
    if spans is not None and panel.start > pd.Timestamp(spans["train_end"]):
        raise UsageError(
            f"the model has read rows from {shown(panel.start)} to {shown(panel.end)}; its training rows, at which "
            f"gradients are taken, end at {shown(spans['train_end'])}.",
            hint="Let it read the panel of its fit first, model.read(panel), or give its run folder.",
        )
    train = panel if spans is None else panel.up_to(pd.Timestamp(spans["train_end"]))
    prepared = model.pipeline.transform(train)
    longest = int(prepared.lengths.max()) - len(prepared.unit)
    wanted = lags or (steps if config.data.mode == "window" else max(2, min(steps, longest, LONGEST)))
    with seeded(config.train.seed), threads(config.train.threads):
        fresh = build_network(config, model.pipeline)
        stretch = stretches(prepared, config, wanted, origins)
        found = flow(model.network, stretch)
        for mine, theirs in zip(fresh.buffers(), model.network.buffers(), strict=True):
            mine.copy_(theirs)  # classes lie where training put them
        begin = flow(fresh, stretch)
        units = saturation(model.network, stretch.x, stretch.batch.static, stretch.start(model.network))
    return Diagnosis(model.name, steps, found, begin, units, training, config)


def conclusion(found: Flow, config: Config, steps: int) -> str:
    """One sentence on ``found``, the gradients of a net of which ``steps`` are back-propagated."""
    core, window = config.model.core, config.data.mode == "window"
    gated, what = core in ("lstm", "gru"), "lookback" if window else "k2"
    units = "use lstm or gru" if core in RECURRENT and not gated else ""
    if found.verdict == "none":
        return "no gradient reaches the net: the loss does not depend on it, so it cannot learn"
    if found.verdict == "explode":
        far = int(np.argmax(np.nan_to_num(found.norms, nan=np.inf, posinf=np.inf)))
        times = f"{found.growth:,.0f} times those of the last step" if math.isfinite(found.growth) else "beyond bounds"
        remedies = _listed(_clipping(config), units, f"shorten {what}")
        return f"gradients explode: {far} steps back they are {times}: {remedies}"
    longer = f"a longer {what}"
    if found.verdict == "vanish":
        gone = f"gradients vanish beyond {found.reach} steps (below {_percent(GONE)} of the largest)"
        if not window and found.reach > steps:
            return f"{gone}, but k2 is only {steps}: {longer} may learn more"
        if found.reach >= SHORT * steps:
            unseen = "the net saw nothing" if window else "no gradient came from"
            return f"{gone}, and {unseen} farther back than {what} = {steps}: try {_listed(longer, units)}"
        early, alone = f"{gone}, well before {what} = {steps} ends", f"{longer} alone is unlikely to help"
        if gated and config.model.init == "chrono":
            return f"{early}, though gates began open (model.init=chrono): {alone}"
        remedy = "let gates begin open (model.init=chrono)" if gated else units
        return f"{early}: {remedy}, {alone}" if remedy else f"{early}: {alone}"
    share = float(found.share[-1])
    count = len(found.norms)
    more = f": {longer} may learn more" if count >= steps else ""
    if window:
        return f"gradients reach the whole window of {steps}, at its first row {_percent(share)} of the largest{more}"
    name = f"the whole of k2 = {steps}" if count == steps else f"all of the {count - 1} steps looked at"
    return f"gradients reach {name}, where they are still {_percent(share)} of the largest{more}"


def _clipping(config: Config) -> str:
    on = [f"train.{name}" for name in ("clip", "clip_value") if getattr(config.train, name)]
    return f"keep clipping ({', '.join(on)})" if on else "turn clipping on (train.clip=1)"


def _listed(*remedies: str) -> str:
    """``"a, b or c"`` of those that are not empty."""
    *most, last = filter(None, remedies)
    return f"{', '.join(most)} or {last}" if most else last


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def notes(found: Diagnosis) -> list[str]:
    """The reach before training, clipping, and units that are mostly stuck."""
    said: list[str] = []
    begin = found.begin
    if begin.verdict == "explode":
        said.append("before training gradients exploded")
    elif begin.verdict != "none":
        whole = begin.verdict == "reach"
        said.append(f"before training gradients reached {'all of ' if whole else ''}{begin.reach} steps back")
    if found.training is not None and found.training.clipped is not None:
        seen = found.training
        limits = [f"norm {seen.clip:g}"] * bool(seen.clip) + [f"value {seen.clip_value:g}"] * bool(seen.clip_value)
        said.append(
            f"clipping at {' and '.join(limits)} acted in {_percent(seen.clipped or 0)} of {len(seen.norm):,} updates "
            f"(median norm {np.median(seen.norm):.3g}, largest {np.max(seen.norm):.3g})"
        )
    for one in found.units:
        stuck = one.dead if one.kind == "relu" else one.low + one.high
        if stuck > 0.5:
            said.append(f"{one.layer}, {one.name}: {one.text}")
    return said


make_callable(__name__)
