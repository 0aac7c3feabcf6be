"""tune(): search configurations on rows before a sealed test span, then open it once for the winner.

A study lives in a folder: ``study.db`` (Optuna's SQLite storage, unless another is named), ``study.json`` and tables
(:mod:`forecast.study_report`), ``development/`` and ``sealed/`` (the data, cut at the seal), ``backtest/`` (winner and
default on the sealed span) and ``winner/`` (the winner fitted as any run). What a worker needs beside the development
rows is in the storage, so workers on other machines need the storage's address and the data.

Assumptions, named: fits of a study use one thread unless the configuration says otherwise; the budget counts trials of
all workers together; going on with a finished study opens the seal again, which is counted and said.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from forecast import report, run, storage, study_page, study_report
from forecast import study as studies
from forecast.backtest import backtest
from forecast.callable_module import make_callable
from forecast.config import Config, locate
from forecast.contenders import Net
from forecast.cuts import test_rows
from forecast.family import FAMILY
from forecast.folds_run import data_hash
from forecast.objective import ALSO, METRICS, Also, Metric, Sealed, folds_of
from forecast.request import check_ahead
from forecast.results import Backtest
from forecast.sections import POINT_HEADS
from forecast.session import SCHEMA, URL_VARIABLE, Session, attach, begin, folder_of, from_afar
from forecast.space import Space, make_space
from forecast.spans import settle
from pipelines.errors import TrainingError, UsageError, did_you_mean
from pipelines.folds import at_least
from pipelines.panel import Panel

UNITS = frozenset(
    {"model.head", "model.loss", "model.quantiles"}
    | {f"data.{name}" for name in ("kind", "log", "anchor", "scale", "unit", "short", "long", "season", "stop")}
)  # settings that change what a stop loss is measured in

Told = Callable[[optuna.Study, FrozenTrial | None], None]
Objective = Callable[[optuna.Trial], Any]


@dataclass(frozen=True)
class Tuned:
    """Outcome of a study.

    Args:
        folder: the study's.
        found: see :func:`forecast.study_report.document`.
        sealed: what the sealed span said: ``text, label`` (``better``, ``worse``, ``no difference``, ``default`` or
            ``too little data``), ``tuned``, ``default`` (errors in ``unit``), ``pvalue``, ``verdict`` of the winner
            against the strongest baseline, ``tried``, ``openings``, ``trial``; folders ``backtest``, ``winner``.
        result: the backtest.
    """

    folder: Path
    found: dict[str, Any]
    sealed: dict[str, Any]
    result: Backtest | None = field(default=None, repr=False)

    @property
    def config(self) -> Config:
        """The winner."""
        return Config.make(self.found["best"]["config"])

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = storage.plain({**self.found, "folder": str(self.folder), "sealed": self.sealed})
        return document


def tune(
    panel: Panel,
    config: Config | None = None,
    *,
    trials: int | None = 20,
    timeout: float | None = None,
    study: Path | str | None = None,
    storage: str | None = None,
    sampler: str = "tpe",
    pruner: str | None = None,
    metric: Metric = "mae",
    also: Also | None = None,
    folds: int = 3,
    test: int | float = 0.2,
    space: Mapping[str, Any] | None = None,
    only: bool = False,
    fixed: Collection[str] = (),
    jobs: int = 1,
    heartbeat: int = 60,
    progress: Told | None = None,
    **settings: Any,
) -> Tuned:
    """Search configurations by walk-forward errors before the test span, then score the winner on it.

    Args:
        panel: series in natural units.
        config: where the search begins; what differs from the defaults there, and ``settings`` such as
            ``horizon=10`` or ``model__core="gru"``, is not searched.
        trials: budget of all workers together; ``None`` with a ``timeout``: as many as fit.
        timeout: seconds after which no further trial begins.
        study: folder of the study; a bare name is a folder under ``runs/``.
        storage: database URL instead of SQLite in the folder.
        sampler: ``tpe``, ``random``, ``grid`` or ``gp``.
        pruner: ``wilcoxon`` (folds), ``median`` or ``hyperband`` (epochs of the first fold), ``none``. By default
            ``wilcoxon``, and ``none`` with two objectives, which Optuna does not prune.
        metric: ``mae`` or ``pinball``, relative to naive's.
        also: a second objective, ``seconds`` of training or ``coverage``: the winner is the one of the Pareto front
            with the smallest error.
        folds: folds in the development span.
        test: rows in the sealed test span, or a share of all (below 1).
        space: see :func:`forecast.space.make_space`, also for ``only`` and ``fixed``.
        jobs: worker processes, this one among them; with several, trials depend on who is first.
        heartbeat: seconds between signs of life; a worker silent for twice as long is taken for dead.
        progress: called with the study and the trial that ended (``None`` at the beginning).

    Raises:
        UsageError: an argument is out of range, or the study exists.
        TooShortError: the data cannot hold test span and folds.
        TrainingError: no trial could be scored.

    Example:
        >>> found = tune(panel, trials=20, horizon=5)  # doctest: +SKIP
        >>> print(found.sealed["text"])  # doctest: +SKIP
    """
    names = {".".join(locate(name)) for name in settings} | set(fixed)
    base = (config or Config()).override(**settings)
    asked = base.data.kind
    pruner = ("none" if also else "wilcoxon") if pruner is None else pruner
    rows = _test(panel, test, base)
    sealed = Sealed.cut(panel, rows)
    kind = settle(base, sealed.development).data.kind
    base = base.override(**{"data.kind": kind, "train.threads": base.train.threads or 1})
    found = make_space(base, space, fixed={*names, "data.kind", "train.threads"}, only=only)
    _check(found, trials, timeout, sampler, pruner, metric, also, folds, jobs, heartbeat)
    # what is too short, or ends too early, is said before anything is written or unsealed
    folds_of(sealed, base.data.horizon, folds)
    check_ahead(panel, base.data.horizon)
    if sampler == "grid":  # what has been tried is not tried again
        trials = min(trials or found.points, found.points)
    request = {
        "schema": SCHEMA, "space": found.to_json(), "sampler": sampler, "pruner": pruner, "metric": metric,
        "also": also, "folds": folds, "test": rows, "seed": base.train.seed,
        "heartbeat": heartbeat, "kind": asked,
        "development": {"end": str(sealed.end), "rows": len(sealed.development), "data": data_hash(sealed.development),
                        "series": series_of(panel)},
    }  # fmt: skip
    folder = folder_of(study) if study is not None else run.free_folder(panel, "study")
    session = begin(folder, panel, sealed, request, storage, trials)
    if sampler != "grid" and (first := found.start()) is not None:
        session.study.enqueue_trial(first)
    return _go(session, timeout, jobs, progress)


def resume(
    study: Path | str, *, storage: str | None = None, trials: int | None = None, timeout: float | None = None,
    jobs: int = 1, progress: Told | None = None,
) -> Tuned:  # fmt: skip
    """Go on with a study that was stopped, or give a finished one more trials.

    Args:
        study: its folder or name.
        storage: database URL, needed where it holds a password, which is never kept.
        trials: a larger budget; by default the one it had.

    Raises:
        ArtifactError: no such study.
    """
    at_least(1, trials=trials, jobs=jobs)
    _check_timeout(timeout)
    session = attach(folder_of(study), storage)
    if trials is not None:
        most = session.space.points if session.request["sampler"] == "grid" else trials
        session.study.set_user_attr("budget", max(min(trials, most), session.budget or 0))
    if session.budget is None and timeout is None:
        raise UsageError("the study has no budget of trials.", hint="Give --trials or --timeout.")
    return _go(session, timeout, jobs, progress)


def work_on(
    study: Path | str, *, storage: str | None = None, panel: Panel | None = None, timeout: float | None = None,
    progress: Told | None = None,
) -> int:  # fmt: skip
    """Be one more worker of a study until its budget is spent; how many trials this worker finished.

    Args:
        study: folder, or the name in the storage where the folder is on another machine.
        panel: the same data, where the folder is not at hand.

    Raises:
        ArtifactError: no such study, or other data.
    """
    folder = folder_of(study)
    session = attach(folder, storage) if panel is None else from_afar(Path(study).name, storage, panel)
    done: list[int] = []

    def told(study: optuna.Study, trial: FrozenTrial | None) -> None:
        if trial is not None and studies.settled(trial):
            done.append(trial.number)
        if progress is not None:
            progress(study, trial)

    session.equip()
    objective, budgeted = session.objective(), session.budget is not None
    studies.work(session.study, objective, budgeted=budgeted, seconds=timeout, told=told)
    studies.close(session.study)
    return len(done)


# -- the flow ----------------------------------------------------------------------------------
def _go(session: Session, timeout: float | None, jobs: int, progress: Told | None) -> Tuned:
    study, budget = session.study, session.budget
    before = studies.spent(study)
    if progress is not None:
        progress(study, None)
    session.equip()
    objective = session.objective()
    until = None if timeout is None else time.monotonic() + timeout
    try:
        with _helpers(session, jobs - 1, timeout):
            while True:
                if budget is not None:
                    studies.top_up(study, budget)
                left = None if until is None else until - time.monotonic()
                studies.work(study, objective, budgeted=budget is not None, seconds=left, told=progress)
                over = until is not None and time.monotonic() >= until
                if over or budget is None or studies.spent(study) >= budget:
                    break
    finally:
        _write(session)
        studies.close(study)
    try:
        said = _said(session) if studies.spent(study) == before else None
        return said or _finish(session)
    finally:
        studies.close(study)


@contextmanager
def _helpers(session: Session, count: int, timeout: float | None) -> Iterator[None]:
    """Further workers as processes of this machine; their talk goes to ``worker-N.log``."""
    command = [sys.executable, "-m", "forecast", "tune-worker", "--study", str(session.folder.resolve())]
    command += [] if timeout is None else ["--timeout", str(timeout)]
    # by environment, since everybody may read a command line
    settings = {**os.environ, URL_VARIABLE: session.url}
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(count):
            with (session.folder / f"worker-{number + 1}.log").open("wb") as log:
                workers.append(subprocess.Popen(command, env=settings, stdout=log, stderr=log))
        yield
        for worker in workers:
            worker.wait()
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.terminate()
        for worker in workers:
            worker.wait()


def _finish(session: Session) -> Tuned:
    """Open the seal, score winner and default on it, fit the winner, write everything down."""
    found = study_report.document(session.study, session.request)
    if found["best"] is None:
        reasons = [failure["reason"] for failure in found["failures"]]
        raise TrainingError(
            f"none of {found['trials']['spent']} trials could be scored"
            + (f"; the first failed because: {reasons[0]}" if reasons else "."),
            hint="Try `forecast fit` with the same data and settings first, or give it more time.",
        )
    best = Config.make(found["best"]["config"])
    base, tried = session.space.base, found["trials"]["spent"]
    panel = session.sealed.open("final backtest")
    _write(session)  # whoever is stopped from here on has opened it all the same
    same = best == base
    contenders = [Net("tuned", best)] + ([] if same else [Net("default", base)])
    among = sum(any(trial.user_attrs.get("config") == one.config.to_json() for trial in session.study.get_trials())
                for one in contenders)  # fmt: skip
    result = backtest(
        panel, contenders, test=session.request["test"], config=base, threads=base.train.threads,
        trade=base.data.kind == "price", tried=tried - among,
    )  # fmt: skip
    sealed = study_report.compared(result, same, tried)
    sealed |= {"openings": len(session.study.user_attrs["openings"]), "trial": found["best"]["number"]}
    if sealed["openings"] > 1:
        sealed["text"] += (
            f" The sealed span was opened {sealed['openings']} times in this study: it is no longer unseen."
        )
    where = {name: storage.unused(session.folder / name) for name in ("backtest", "winner")}
    report.report(result.save(where["backtest"]))
    run.run_fit(panel, best, out=where["winner"])
    sealed |= {name: str(path) for name, path in where.items()}
    return Tuned(session.folder, _write(session, {"sealed": sealed}), sealed, result)


def _said(session: Session) -> Tuned | None:
    """The end of a study of which nothing was tried since it ended; ``None`` for any other."""
    found = storage.load_json(session.folder / "study.json")
    sealed, best = found.get("sealed"), found["best"]
    if not sealed or not best or sealed.get("trial") != best["number"] or sealed["openings"] != len(found["openings"]):
        return None
    folder = session.folder / Path(sealed["backtest"]).name
    if sealed["tried"] != found["trials"]["spent"] or not folder.is_dir():
        return None
    return Tuned(session.folder, found, sealed, Backtest.load(folder))


def _write(session: Session, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write down what the study found so far; what the sealed span said stays until it is said anew."""
    file = session.folder / "study.json"
    said = storage.load_json(file).get("sealed") if file.is_file() else None
    found = {
        **study_report.document(session.study, session.request),
        **({"sealed": said} if said else {}),
        **(more or {}),
    }
    table = study_report.trials_table(session.study, session.space)
    study_report.write(session.folder, found, table, study_page.pages(found))
    return found


def series_of(panel: Panel) -> dict[str, str]:
    """What the series are called, for people."""
    title = panel.ids[0] if len(panel.ids) == 1 else f"{len(panel.ids):,} series"
    return {"title": title, "target": panel.target, "source": panel.source}


# -- checks ------------------------------------------------------------------------------------
def _check(
    space: Space, trials: int | None, timeout: float | None, sampler: str, pruner: str, metric: str,
    also: str | None, folds: int, jobs: int, heartbeat: int,
) -> None:  # fmt: skip
    if trials is None and timeout is None:
        raise UsageError("neither trials nor a timeout given.", hint="Use --trials 20, --timeout 600, or both.")
    at_least(1, trials=trials, folds=folds, jobs=jobs, heartbeat=heartbeat)
    _check_timeout(timeout)
    for what, got, known in (("metric", metric, METRICS), ("second objective", also, ALSO)):
        if got is not None and got not in known:
            raise UsageError(
                f"there is no {what} {got!r}.{did_you_mean(got, known)}", hint=f"Use {' or '.join(known)}."
            )
    studies.make_sampler(sampler, space, 0)
    with studies.quiet():
        studies.make_pruner(pruner, 1)
    if also and pruner != "none":
        raise UsageError("Optuna does not prune studies with two objectives.", hint="Leave --pruner out.")
    mixed = sorted(UNITS & set(space.ranges))
    if pruner in ("median", "hyperband") and mixed:
        raise UsageError(
            f"--pruner {pruner} compares stop losses, which {mixed[0]} changes the unit of.",
            hint="Use --pruner wilcoxon, or do not search it.",
        )
    head: str = space.base.model.head
    if head == "auto":
        head = (FAMILY[space.base.model.core].heads or ("quantile",))[0]
    bare = head in POINT_HEADS or "model.head" in space.ranges or len(space.base.model.quantiles) < 2
    if bare and (metric == "pinball" or also == "coverage"):
        raise UsageError(
            "pinball and coverage need a net with intervals.", hint="Use the quantile head, and do not search the head."
        )


def _check_timeout(timeout: float | None) -> None:
    if timeout is not None and not timeout > 0:
        raise UsageError(f"timeout is {timeout}, it must be above 0.", hint="Give seconds, or leave it out.")


def _test(panel: Panel, test: int | float, base: Config) -> int:
    rows, total = test_rows(panel, test), len(set(panel.ds.tolist()))
    if rows < base.data.horizon or rows >= total:
        raise UsageError(
            f"a sealed span of {rows} rows out of {total} cannot be tested on at a horizon of {base.data.horizon}.",
            hint="Use --test 0.2, or a number of rows of at least the horizon.",
        )
    return rows


make_callable(__name__)
