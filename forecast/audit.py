"""audit(): proof by experiment that no forecast reads its future.

Two checks. **Forecasts**: at sampled origins every row after the origin, of every series, is replaced by noise, by
another noise with trend, by missing values, and by nothing; forecasts at and before the origin must not move.
The same is done with the newest rows missing, where a back-fill would reach ahead. **Refits**: at a few cutoffs
the model is fitted with the same seed to the same rows while all rows after the cutoff are replaced; what was
fitted, what was selected and what is forecast must not move.

What can be audited: a fitted ``Model`` or its run folder; a name, a configuration or a contender of a backtest; any
object with ``predict(panel, rows, horizon) -> [M, H]``. If it has ``fit(panel, until)`` it is handed all rows and
must not use those after ``until``; with ``fit(panel)`` it is handed the training rows only, so its fit cannot leak.
A fitted object may have ``state()``: a mapping of names to numbers, arrays or texts, compared entry by entry;
entries called ``selected...`` are reported as selection.

Assumptions, named: known-future and static covariates are known, so they stay. Noise keeps positive series
positive. A move is more than ``tolerance`` times the mean step of the series, of a probability more than
``tolerance``. Refits of nets train shortly (``UPDATES``): a leak shows in the first updates as well as in the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecast import baselines, storage
from forecast.audit_subjects import Fit, Predict, fit_of, predict_of, state_of
from forecast.callable_module import make_callable
from forecast.config import Config
from forecast.contenders import resolve
from forecast.disturb import FLAVOURS, disturbed, place, with_hole
from forecast.model import Model
from forecast.results import Backtest
from pipelines.errors import DataError, LeakError, TooShortError, UsageError
from pipelines.panel import Panel
from pipelines.where import plural

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
SERIES = 8
"""So many series, evenly chosen, are looked at at every origin."""


@dataclass(frozen=True)
class Finding:
    """One thing that moved although only its future changed.

    Args:
        check: ``"forecast"``, ``"forecast after a gap"``, ``"fitted"``, ``"selected"`` or ``"forecast after refit"``.
        future: what the future was replaced by.
        changed_after: last row that stayed as it was.
        series, origin, step: which forecast; for a refit's state ``origin`` is the cutoff and ``series`` the entry.
        size: how far it moved, in units of y (of the entry for a state); infinite where one side is missing.
        text: one sentence.
    """

    check: str
    future: str
    changed_after: str
    series: str
    origin: str
    step: int
    size: float
    text: str


@dataclass(repr=False)
class Audit:
    """Outcome of :func:`audit`. ``counts``: forecasts and refits compared; ``notes``: what could not be checked."""

    subject: str
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.findings

    @property
    def text(self) -> str:
        """One line."""
        done = f"{self.counts.get('forecasts', 0):,} forecasts and {self.counts.get('refits', 0)} refits compared"
        if self.clean:
            return f"{self.subject}: no forecast moved when only its future changed ({done})."
        first = self.findings[0]
        return f"{self.subject}: LEAK, {len(self.findings):,} findings ({done}). First: {first.text}"

    def raise_if_leaking(self) -> None:
        """Raises:
        LeakError: anything moved.
        """
        if self.findings:
            raise LeakError(self.text, hint="The findings name origin, step and size; see `forecast audit --json`.")

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = storage.plain({
            "schema": 1, "subject": self.subject, "clean": self.clean, "text": self.text, "counts": self.counts,
            "findings": [asdict(one) for one in self.findings], "notes": self.notes,
        })  # fmt: skip
        return document

    def __repr__(self) -> str:
        return "\n".join([self.text, *(one.text for one in self.findings[1:20]), *self.notes])


def audit(
    subject: Any,
    panel: Panel | None = None,
    *,
    horizon: int | None = None,
    origins: int = 12,
    cutoffs: int = 3,
    seed: int = 0,
    tolerance: float = 1e-6,
    config: Config | None = None,
) -> Audit:
    """Look for forecasts that read their future.

    Args:
        subject: see the module's docstring; a path is a run folder of ``fit`` or ``backtest``.
        panel: the data; by default what a model or a run holds.
        horizon: steps ahead; by default the model's.
        origins: how many origins to sample.
        cutoffs: at how many cutoffs to refit; 0 for none.
        seed: of the sampling, of the noise and of the refits.
        tolerance: largest move that is called rounding, in mean steps of the series.
        config: settings of a net given by name.

    Raises:
        UsageError: there is no data, nothing that could be audited, or no forecast to compare.
    """
    if isinstance(subject, str | Path) and Path(subject).is_dir():
        return audit_run(Path(subject), origins=origins, cutoffs=cutoffs, seed=seed, tolerance=tolerance)
    panel = panel if panel is not None else getattr(subject, "panel", None)
    if panel is None:
        raise UsageError("there is no data to audit with.", hint="Give audit(subject, panel).")
    settings = config or Config()
    horizon = horizon or getattr(subject, "horizon", None) or settings.data.horizon
    settings = settings.override(**{"data.horizon": int(horizon)})
    auditor = _Auditor(panel, int(horizon), np.random.default_rng(seed), tolerance, Audit(""))
    refit = fit_of(subject, settings, panel, seed)
    predict = predict_of(subject)
    stamps = np.unique(panel.ds)
    if predict is None:
        if refit is None:
            raise UsageError(
                f"{type(subject).__name__} cannot be audited.", hint="It needs predict(panel, rows, horizon), or a fit."
            )
        predict = predict_of(refit(panel, pd.Timestamp(stamps[int(0.6 * len(stamps))])))
    auditor.report.subject = str(getattr(subject, "name", None) or getattr(refit, "name", None) or subject)
    if predict is None:
        raise UsageError(f"{auditor.report.subject} gives no forecasts.", hint="A fit returns an object with predict.")
    auditor.forecasts(predict, origins)
    if refit is not None and cutoffs:
        auditor.refits(refit, cutoffs)
    return _something(auditor.report)


def _something(report: Audit) -> Audit:
    """``report``, unless it compared nothing: that is no proof.

    Raises:
        UsageError: no forecast was compared.
    """
    if not report.findings and not report.counts.get("forecasts"):
        raise UsageError(
            f"{report.subject}: not one forecast could be compared, so nothing is shown about leaks.",
            hint=" ".join(report.notes) or "Give data on which the subject forecasts something.",
        )
    return report


def audit_run(path: Path, *, origins: int = 12, cutoffs: int = 3, seed: int = 0, tolerance: float = 1e-6) -> Audit:
    """Audit a run folder: the model of a fit, or every net and every fitted baseline (ETS, Theta) of a backtest.

    Raises:
        ArtifactError: the folder is damaged.
        UsageError: nothing in it could be audited.
    """
    if storage.check_folder(path).get("kind") != "backtest":
        model = Model.load(path)
        report = audit(model, origins=origins, cutoffs=cutoffs, seed=seed, tolerance=tolerance)
        report.subject = str(path)
        return report
    run = Backtest.load(path)
    horizon, season = int(run.settings["horizon"]), int(run.settings["season"])
    whole = Audit(str(path))
    for name, about in run.settings["configs"].items():
        subject, panel = _rebuilt(about, run.panel, season)
        if subject is None:
            whole.notes.append(f"{name}: only nets and baselines can be refitted from a run folder; audit the object.")
            continue
        part = audit(subject, panel, horizon=horizon, origins=origins, cutoffs=cutoffs, seed=seed, tolerance=tolerance)
        whole.findings += part.findings
        whole.notes += part.notes
        whole.counts = {
            key: whole.counts.get(key, 0) + part.counts.get(key, 0) for key in {*whole.counts, *part.counts}
        }
    return _something(whole)


def _rebuilt(about: Mapping[str, Any], panel: Panel, season: int) -> tuple[Any, Panel]:
    """What a backtest describes by ``about`` and the series to audit it on; ``None`` where it is not known how.

    A baseline fits every series apart, so some are enough. One that was set otherwise than ours is not ours.
    """
    if about.get("kind") == "net":
        return Config.make(about["config"]), panel
    if about.get("kind") not in baselines.names():
        return None, panel
    made = resolve(baselines.make(str(about["kind"]), season), Config(), season)
    few = np.unique(np.linspace(0, len(panel.ids) - 1, min(SERIES, len(panel.ids))).astype(int))
    return (made if made.describe() == about else None), panel.select([panel.ids[i] for i in few])


@dataclass
class _Auditor:
    panel: Panel
    horizon: int
    rng: np.random.Generator
    tolerance: float
    report: Audit

    def __post_init__(self) -> None:
        y = self.panel.column("y")
        parts = [y[low:high] for low, high in zip(self.panel.offsets[:-1], self.panel.offsets[1:], strict=True)]
        self.unit = np.array([_typical_step(part) or 1e-12 for part in parts])
        pick = np.linspace(0, len(self.panel.ids) - 1, min(SERIES, len(self.panel.ids))).astype(int)
        self.looked_at = np.isin(np.arange(len(self.panel.ids)), pick)
        self.owner = np.repeat(np.arange(len(self.panel.ids)), self.panel.lengths)

    # -- forecasts -------------------------------------------------------------------------------
    def forecasts(self, predict: Predict, count: int) -> None:
        """Replace the future of ``count`` origins."""
        stamps = np.unique(self.panel.ds)
        last = len(stamps) - 2
        if last < 1:
            raise TooShortError(f"{plural(len(stamps), 'row')} with no future to replace.", hint="Give more rows.")
        low = min(max(1, len(stamps) // 5), last)
        # the last origins are always among them: that is where off-by-one mistakes run out of rows
        sampled = self.rng.choice(np.arange(low, last + 1), size=min(count, last + 1 - low), replace=False)
        chosen = np.unique(np.append(sampled, last))
        for hole in (False, True):
            check = "forecast after a gap" if hole else "forecast"
            for at in chosen:
                upto = chosen[chosen <= at]
                self._one_origin(predict, check, stamps, int(at), upto[-4:], hole)

    def _one_origin(
        self, predict: Predict, check: str, stamps: NDArray[np.datetime64], at: int, earlier: Rows, hole: bool
    ) -> None:
        cutoff = pd.Timestamp(stamps[at])
        base = with_hole(self.panel, cutoff) if hole else self.panel
        rows = np.flatnonzero(np.isin(self.panel.ds, stamps[earlier]) & self.looked_at[self.owner])
        try:
            before = predict(base, rows, self.horizon)
        except (DataError, ValueError) as error:
            self._note(f"{check}: could not be checked, the forecast itself failed ({error}).")
            return
        for flavour in FLAVOURS:
            variant = disturbed(base, cutoff, flavour, self.rng)
            self._compare(
                check,
                flavour,
                cutoff,
                before,
                partial(predict, variant, place(base, variant, rows), self.horizon),
                rows,
            )

    def _compare(
        self, check: str, flavour: str, cutoff: pd.Timestamp, before: Floats, again: partial[Floats], rows: Rows
    ) -> None:
        try:
            after = again()
        except Exception as error:  # noqa: BLE001 - whatever it raises, it raised because of rows it may not read
            text = f"the {check} at {cutoff} failed with a future of {flavour} ({type(error).__name__}: {error})"
            self.report.findings.append(Finding(check, flavour, str(cutoff), "", str(cutoff), 0, float("inf"), text))
            self._count("forecasts", int((~np.isnan(before)).sum()))
            return
        self._count("forecasts", int((~(np.isnan(before) & np.isnan(after))).sum()))  # two gaps compare nothing
        chances = bool(getattr(again.func, "chances", False))
        for i, h, size in self._moved(before, after, rows, chances):
            series, origin = self.panel.ids[self.owner[rows[i]]], str(pd.Timestamp(self.panel.ds[rows[i]]))
            text = (
                f"{check} of {series} from {origin}, step {h + 1}, moved by {size:.3g} "
                f"when rows after {cutoff} became {flavour}"
            )
            self.report.findings.append(Finding(check, flavour, str(cutoff), series, origin, h + 1, size, text))

    def _moved(self, before: Floats, after: Floats, rows: Rows, chances: bool) -> Iterator[tuple[int, int, float]]:
        """Origin, step and size of every move; columns beyond ``horizon`` are interval bounds of the same steps.

        With ``chances`` the last of them are probabilities, whose unit is one and not a step of the series.
        """
        gone = np.isnan(before) != np.isnan(after)
        with np.errstate(invalid="ignore"):
            size = np.where(before == after, 0.0, np.abs(before - after))
        size = np.where(gone, np.inf, np.nan_to_num(size, nan=0.0, posinf=np.inf))
        blocks = size.reshape(len(rows), -1, self.horizon)
        unit = np.repeat(self.unit[self.owner[rows]][:, None], blocks.shape[1], axis=1)
        if chances:
            unit[:, -1] = 1.0
        moved, worst = (blocks > self.tolerance * unit[..., None]).any(axis=1), blocks.max(axis=1)
        for i, h in np.argwhere(moved):
            yield int(i), int(h), float(worst[i, h])

    # -- refits ----------------------------------------------------------------------------------
    def refits(self, refit: Fit, count: int) -> None:
        """Fit at ``count`` cutoffs to data whose later rows were replaced."""
        stamps = np.unique(self.panel.ds)
        for share in np.linspace(0.55, 0.85, count) if count > 1 else [0.7]:
            at = int(share * len(stamps)) - 1
            cutoff = pd.Timestamp(stamps[max(at, 0)])
            try:
                fitted = refit(self.panel, cutoff)
            except TooShortError as error:
                self._note(f"refit at {cutoff}: not checked, {error.message}")
                continue
            self._one_cutoff(refit, cutoff, fitted, stamps[max(at, 0)])

    def _one_cutoff(self, refit: Fit, cutoff: pd.Timestamp, fitted: Any, stamp: np.datetime64) -> None:
        history = self.panel.up_to(cutoff)
        inside = np.flatnonzero((self.panel.ds <= stamp) & self.looked_at[self.owner])
        rows = inside[np.unique(np.linspace(len(inside) // 2, len(inside) - 1, 20).astype(int))]
        at = place(self.panel, history, rows)
        state, predict = state_of(fitted), predict_of(fitted)
        before = None if predict is None else predict(history, at, self.horizon)
        for flavour in FLAVOURS:
            variant = disturbed(self.panel, cutoff, flavour, self.rng)
            self._count("refits", 1)
            try:
                other = refit(variant, cutoff)
            except Exception as error:  # noqa: BLE001 - see above
                text = f"the refit at {cutoff} failed with a future of {flavour} ({type(error).__name__}: {error})"
                self.report.findings.append(
                    Finding("fitted", flavour, str(cutoff), "", str(cutoff), 0, float("inf"), text)
                )
                continue
            for name, size in _differences(state, state_of(other), self.tolerance):
                check = "selected" if name.startswith("selected") else "fitted"
                text = f"{name}, fitted at {cutoff}, moved by {size:.3g} when rows after it became {flavour}"
                self.report.findings.append(Finding(check, flavour, str(cutoff), name, str(cutoff), 0, size, text))
            again = predict_of(other)
            if before is not None and again is not None:
                self._compare(
                    "forecast after refit",
                    flavour,
                    cutoff,
                    before,
                    partial(again, history, at, self.horizon),
                    rows,
                )

    def _count(self, what: str, number: int) -> None:
        self.report.counts[what] = self.report.counts.get(what, 0) + number

    def _note(self, text: str) -> None:
        if text not in self.report.notes:
            self.report.notes.append(text)


def _typical_step(values: Floats) -> float:
    known = values[~np.isnan(values)]
    step = float(np.abs(np.diff(known)).mean()) if len(known) > 1 else 0.0
    return step if step > 0 else float(np.abs(known).mean()) * 1e-3 if len(known) else 1.0


def _differences(mine: dict[str, Any], theirs: dict[str, Any], tolerance: float) -> Iterator[tuple[str, float]]:
    """Entries of two states that differ, and by how much; infinite for texts, missing entries and other shapes."""
    for name in sorted({*mine, *theirs}):
        a, b = mine.get(name), theirs.get(name)
        if isinstance(a, int | float | np.ndarray) and isinstance(b, int | float | np.ndarray):
            left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
            if left.shape == right.shape:
                same = (left == right) | (np.isnan(left) & np.isnan(right))
                size = np.where(same, 0.0, np.nan_to_num(np.abs(left - right), nan=np.inf))
                if np.any(size > tolerance * np.maximum(1e-12, np.abs(left).max(initial=0.0))):
                    yield name, float(size.max())
                continue
        if type(a) is not type(b) or (isinstance(a, np.ndarray) or a != b):
            yield name, float("inf")


make_callable(__name__)
