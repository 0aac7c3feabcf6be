"""compare(): the remedies the texts name for gradients that vanish or explode, each fitted alone, in one table.

Every remedy changes one thing of the configuration given: how far gradients are carried (k2), clipping by norm or
by value, penalties, initial weights, the optimiser, the units. All get the same number of updates, the same rows and
the same seed. The stop loss leaves penalties out, so it compares; it is in the net's units and of the stop span,
which training looks at to end: a ranking for study, no score.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from forecast.config import Config
from forecast.diagnose import Diagnosis, examine, refuse, watched_fit
from forecast.imports import importing
from forecast.model import Model
from forecast.sections import RECURRENT
from forecast.spans import settle
from pipelines.errors import TrainingError, UsageError, did_you_mean
from pipelines.panel import Panel

if TYPE_CHECKING:
    from forecast.train import Progress

SCHEMA = 1


@dataclass(frozen=True)
class Remedy:
    """One line of the table before it is fitted: what it is called, the settings it changes, where it comes from."""

    name: str
    settings: dict[str, Any]
    source: str = ""


@dataclass(frozen=True)
class Outcome:
    """One line of the table.

    Args:
        stop_loss: the best one; ``None`` where training failed.
        reach, reach_before: steps back a gradient reaches after and before training.
        verdict: see :class:`forecast.diagnose_flow.Flow`; ``"failed"`` where training did.
        clipped: share of the updates clipped; ``None`` without clipping.
        seconds: of the fit.
        scored: what ``score`` of :func:`compare` said.
    """

    remedy: Remedy
    stop_loss: float | None
    reach: int | None
    reach_before: int | None
    steps: int
    verdict: str
    clipped: float | None
    seconds: float
    scored: float | None = None
    text: str = ""


@dataclass(frozen=True)
class Comparison:
    """All outcomes in the order of the remedies, the unchanged configuration first."""

    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def best(self) -> Outcome | None:
        """The lowest stop loss; ``None`` where every fit failed."""
        done = [one for one in self.outcomes if one.stop_loss is not None]
        return min(done, key=lambda one: one.stop_loss or 0.0) if done else None

    @property
    def text(self) -> str:
        """One sentence on what helped."""
        best, first = self.best, self.outcomes[0]
        if best is None:
            return "every fit failed: the losses were not numbers"
        if best.stop_loss is None or best is first:
            return f"nothing beat the configuration as given (stop loss {best.stop_loss:.4g})"
        lowest = f"the lowest stop loss, {best.stop_loss:.4g}, has {best.remedy.name}"
        if first.stop_loss is None:
            return f"{lowest}; as given training failed"
        if best.stop_loss <= 0:  # a log density: a share of it means nothing
            return f"{lowest}: {first.stop_loss - best.stop_loss:.4g} below the configuration as given"
        return f"{lowest}: {100 * (1 - best.stop_loss / first.stop_loss):.1f} % below the configuration as given"

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "text": self.text, "outcomes": [asdict(one) for one in self.outcomes]}


def remedies(config: Config) -> list[Remedy]:
    """What can be tried on a settled ``config``: those that differ from it and mean something for its net."""
    data, core = config.data, config.model.core
    found = [Remedy("as given", {})]
    if data.mode == "stream" and isinstance(data.k2, int) and isinstance(data.k1, int):
        short = max(2, data.k2 // 4)
        truncated = "truncated BPTT: Williams and Peng 1990"
        found.append(Remedy(f"k2 = {short}", {"data.k2": short, "data.k1": min(data.k1, short)}, truncated))
        found.append(Remedy(f"k2 = {2 * data.k2}", {"data.k2": 2 * data.k2}, truncated))
    clipping = "Pascanu, Mikolov and Bengio 2013"
    found += [
        Remedy("no clipping", {"train.clip": 0.0, "train.clip_value": 0.0}),
        Remedy("clip norm 0.1", {"train.clip": 0.1, "train.clip_value": 0.0}, clipping),
        Remedy("clip value 0.01", {"train.clip": 0.0, "train.clip_value": 0.01}, "Mikolov 2012"),
        Remedy("weight decay 0.01", {"train.weight_decay": 0.01}),
        Remedy("activation penalty 0.1", {"train.activation": 0.1}, "Merity, McCann and Socher 2017"),
        Remedy("slowness penalty 0.1", {"train.slowness": 0.1}, "Merity, McCann and Socher 2017"),
        Remedy("torch's weights", {"model.init": "torch"}),
        Remedy("identity weights", {"model.init": "identity"}, "Le, Jaitly and Hinton 2015"),
        Remedy("open gates", {"model.init": "chrono"}, "Tallec and Ollivier 2018"),
        Remedy("rmsprop", {"train.optimizer": "rmsprop", "train.momentum": 0.0}, "Tieleman and Hinton 2012"),
        Remedy(
            "sgd, momentum 0.9",
            {"train.optimizer": "sgd", "train.momentum": 0.9, "train.lr": 10 * config.train.lr},
            "Sutskever et al. 2013",
        ),
    ]
    own = {"model.core": core, "model.init": config.model.init}
    for name, settings, source in (
        ("plain rnn", {"model.core": "rnn", "model.init": None}, "Elman 1990"),
        ("relu, identity weights", {"model.core": "rnn-relu", "model.init": "identity"}, "Le, Jaitly and Hinton 2015"),
        ("lstm", {"model.core": "lstm", "model.init": None}, "Hochreiter and Schmidhuber 1997"),
        ("lstm, open gates", {"model.core": "lstm", "model.init": "chrono"}, "Tallec and Ollivier 2018"),
        ("gru", {"model.core": "gru", "model.init": None}, "Cho et al. 2014"),
        ("gru, open gates", {"model.core": "gru", "model.init": "chrono"}, "Tallec and Ollivier 2018"),
    ):
        if core in RECURRENT and settings != own and settings["model.core"] != core:
            found.append(Remedy(name, settings, source))
    return [found[0], *(one for one in found[1:] if _differs(config, one))]


def _differs(config: Config, remedy: Remedy) -> bool:
    try:
        return config.override(**remedy.settings) != config
    except UsageError:  # it means nothing for this net, and the configuration says so
        return False


def compare(
    panel: Panel,
    config: Config | None = None,
    *,
    only: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    stage: Callable[[str], None] = lambda text: None,
    score: Callable[[Model], float] | None = None,
    **settings: Any,
) -> Comparison:
    """Fit ``config`` as given and with every remedy, and put them side by side.

    Args:
        only: names of remedies (see :func:`remedies`); the configuration as given is always there.
        stage: told which one begins.
        score: of a fitted model, shown beside the others.

    Raises:
        UsageError: a name in ``only`` is none, or the net is not trained by gradients.
    """
    asked = (config or Config()).override(**settings)
    refuse(asked)
    settled = settle(asked, panel)
    known = remedies(settled)
    names = [one.name for one in known]
    for name in only:
        if name not in names:
            raise UsageError(
                f"there is no remedy {name!r} for this net.{did_you_mean(name, names)}",
                hint=f"Remedies: {'; '.join(names[1:])}.",
            )
    with importing():  # or the first fit would, in its seconds
        import sklearn.preprocessing  # noqa: F401

        import forecast.train  # noqa: F401
    chosen = [one for one in known if not only or one.name in only or one is known[0]]
    outcomes = []
    for i, remedy in enumerate(chosen):
        stage(f"{i + 1}/{len(chosen)} {remedy.name}")
        # from what was asked, not from what was settled: the number of passes follows from k1 again
        outcomes.append(_outcome(panel, asked.override(**remedy.settings), remedy, progress, score))
    return Comparison(outcomes)


def _outcome(
    panel: Panel, config: Config, remedy: Remedy, progress: Callable[[Progress], None] | None,
    score: Callable[[Model], float] | None,
) -> Outcome:  # fmt: skip
    began = time.perf_counter()
    try:
        model, training = watched_fit(panel, config, progress)
    except TrainingError as error:
        seconds = time.perf_counter() - began
        return Outcome(remedy, None, None, None, 0, "failed", None, seconds, None, error.message)
    seconds = time.perf_counter() - began
    found: Diagnosis = examine(model, training)
    loss = float(model.facts["training"]["best_stop_loss"])
    return Outcome(
        remedy=remedy, stop_loss=loss if math.isfinite(loss) else None, reach=found.reach,
        reach_before=found.begin.reach, steps=found.steps, verdict=found.verdict,
        clipped=None if training is None else training.clipped, seconds=seconds,
        scored=None if score is None else score(model), text=found.text,
    )  # fmt: skip
