"""Study: Optuna's storage, sampler, pruner and heartbeat, arranged so that a study cannot be killed or repeat itself.

The budget is a queue in the database: as many waiting trials as were asked for, taken one by one by however many
workers there are, so numbers are contiguous and the sum is exact. A worker that dies stops its heartbeat; whoever
asks next fails its trial and puts the same configuration back into the queue.

Assumptions, named: samplers are made anew for every trial, seeded by the study's seed and the trial's number, so
that a study gone on with after a stop tries what it would have tried; but the trial that was under way is repeated
last, so that a sampler that learns (tpe, gp) chooses those between without it. On SQLite every transaction takes the
write lock at its start: Optuna reads a trial's state before it claims it, and two processes would both get it.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from forecast.space import Space
from pipelines.errors import ArtifactError, UsageError, did_you_mean

SAMPLERS = ("tpe", "random", "grid", "gp")
PRUNERS = ("wilcoxon", "median", "hyperband", "none")
FAILURE = "failure"  # user attribute of a trial whose configuration failed, as opposed to its worker
LOCK_SECONDS = 120  # how long a process waits for SQLite's lock
POLL_SECONDS = 1.0
MOST_RETRIES = 10  # a configuration that kills its worker so often is given up
WARM_STEPS = 4  # pairs before a per-fold pruner decides: fewer cannot reach p < 0.1


class TrialFailed(Exception):
    """The configuration of a trial cannot be scored; the message says why. Caught by :func:`work`."""


class QueueEmpty(Exception):
    """No trial is waiting, and the budget allows no further one."""


# -- storage -----------------------------------------------------------------------------------
class Queue(RDBStorage):
    """Optuna's RDB storage that makes no trial of its own accord once ``closed``: workers take waiting ones."""

    closed = False

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        if self.closed and template_trial is None:
            raise QueueEmpty
        return super()._create_new_trial(study_id, template_trial)

    def vouch(self, running: Sequence[FrozenTrial]) -> None:
        """Give every running trial without a heartbeat its first one.

        A worker killed between claiming a trial and its first heartbeat leaves one that Optuna never takes for dead:
        it looks at heartbeats that stopped, and here none began.
        """
        if running:
            with self.engine.begin() as connection:
                known = set(connection.execute(text("SELECT trial_id FROM trial_heartbeats")).scalars())
            for trial in running:
                if trial._trial_id not in known:
                    self.record_heartbeat(trial._trial_id)


def masked(url: str) -> str:
    """``url`` fit for people and files: passwords are ``***``, in the query too."""
    parsed = _parsed(url)
    secret = {name: "***" for name in parsed.query if "pass" in name.lower() or "secret" in name.lower()}
    return parsed.update_query_dict(secret).render_as_string(hide_password=True)


def sqlite_url(folder: Path) -> str:
    """The database beside the run."""
    return URL.create("sqlite", database=str(folder.resolve() / "study.db")).render_as_string(hide_password=False)


def open_storage(url: str, *, heartbeat: int) -> Queue:
    """Connect.

    Raises:
        UsageError: no such kind of database, its driver is not installed, or it cannot be reached.
    """
    parsed = _parsed(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    # one connection per use: a worker idles between trials, and a server may close what idles
    options: dict[str, Any] = {"connect_args": {"timeout": LOCK_SECONDS}} if sqlite else {"pool_pre_ping": True}
    try:
        with quiet():
            storage = Queue(
                url, engine_kwargs=options, heartbeat_interval=heartbeat, grace_period=2 * heartbeat,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=MOST_RETRIES),
            )  # fmt: skip
    except (ImportError, SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError) as error:
        cause = error.__cause__ or error
        missing = isinstance(error, ImportError) or isinstance(cause, ImportError)
        raise UsageError(
            f"the storage {masked(url)} cannot be used ({_without_secrets(url, cause)}).",
            hint="Install its driver; for postgresql+psycopg://USER@HOST/DATABASE: pip install 'psycopg[binary]'."
            if missing
            else "Check that the server runs, its address, the user and the password.",
        ) from None  # the cause may quote the password
    if sqlite:
        _lock_at_begin(storage)
    return storage


def _lock_at_begin(storage: RDBStorage) -> None:
    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(storage.engine, "connect", connect)
    event.listen(storage.engine, "begin", begin)
    storage.engine.dispose()  # connections made before


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        raise UsageError(
            "the storage is not a database URL.", hint="For instance postgresql+psycopg://USER@HOST/DATABASE."
        ) from None


def _without_secrets(url: str, error: BaseException) -> str:
    parsed = _parsed(url)
    words = (str(error).strip() or type(error).__name__).splitlines()[0].replace(url, masked(url))
    secrets = [parsed.password] if parsed.password else []
    secrets += [str(value) for name, value in parsed.query.items() if "pass" in name.lower()]
    for secret in secrets:
        words = words.replace(str(secret), "***")
    return words


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's log lines and notes on what is experimental; as it was afterwards."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


# -- samplers and pruners ----------------------------------------------------------------------
class PerTrial(BaseSampler):
    """One of Optuna's samplers, made anew for every trial by ``make(trial number)``."""

    def __init__(self, make: Callable[[int], BaseSampler]) -> None:
        self._make = make
        self._inner: BaseSampler | None = None

    @property
    def inner(self) -> BaseSampler:
        if self._inner is None:
            raise RuntimeError("no trial has begun")
        return self._inner

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._inner = self._make(trial.number)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self.inner.after_trial(study, trial, state, values)


def make_sampler(name: str, space: Space, seed: int) -> BaseSampler:
    """A sampler by name; TPE is multivariate, by groups where settings depend on others.

    Raises:
        UsageError: no such sampler, or a grid out of all proportion.
    """
    if name not in SAMPLERS:
        raise UsageError(
            f"there is no sampler {name!r}.{did_you_mean(name, SAMPLERS)}", hint=f"Samplers: {', '.join(SAMPLERS)}."
        )
    points = space.grid() if name == "grid" else {}
    order = seed if seed < 1 << 32 else int(np.random.SeedSequence([seed]).generate_state(1)[0])  # Optuna's own bound

    def make(number: int) -> BaseSampler:
        own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        with quiet():
            if name == "random":
                return optuna.samplers.RandomSampler(seed=own)
            if name == "grid":
                return optuna.samplers.GridSampler(points, seed=order)  # one order of points for all trials
            if name == "gp":
                return optuna.samplers.GPSampler(seed=own, warn_independent_sampling=False)
            return optuna.samplers.TPESampler(seed=own, multivariate=True, group=space.conditional)

    return PerTrial(make)


def make_pruner(name: str, resource: int) -> optuna.pruners.BasePruner:
    """A pruner by name. ``resource``: steps of the longest trial, for Hyperband.

    Raises:
        UsageError: no such pruner.
    """
    if name == "wilcoxon":
        return optuna.pruners.WilcoxonPruner(p_threshold=0.1, n_startup_steps=WARM_STEPS)
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=2, max_resource=max(3, resource))
    if name == "none":
        return optuna.pruners.NopPruner()
    raise UsageError(
        f"there is no pruner {name!r}.{did_you_mean(name, PRUNERS)}", hint=f"Pruners: {', '.join(PRUNERS)}."
    )


# -- studies -----------------------------------------------------------------------------------
def create(name: str, storage: Queue, *, directions: int, facts: dict[str, Any]) -> optuna.Study:
    """A new study that remembers ``facts`` (JSON).

    Raises:
        UsageError: the storage has one of that name.
    """
    try:
        with quiet():
            study = optuna.create_study(storage=storage, study_name=name, directions=["minimize"] * directions)
    except optuna.exceptions.DuplicatedStudyError:
        raise UsageError(
            f"the storage has a study {name!r} already.", hint="Go on with it by --resume, or choose another --study."
        ) from None
    for key, value in facts.items():
        study.set_user_attr(key, value)
    return study


def load(name: str, storage: Queue) -> optuna.Study:
    """The study ``name``.

    Raises:
        ArtifactError: the storage has none of that name.
    """
    try:
        with quiet():
            return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        raise ArtifactError(f"the storage holds no study {name!r}.", hint="Check --study and --storage.") from None


def close(study: optuna.Study) -> None:
    """Let go of the connections; they are made again when needed."""
    backend = getattr(study._storage, "_backend", None)
    if isinstance(backend, Queue):
        backend.remove_session()
        backend.engine.dispose()


def fill(study: optuna.Study, count: int) -> None:
    """Put ``count`` fresh trials into the queue."""
    for _ in range(count):
        study.add_trial(optuna.create_trial(state=TrialState.WAITING))


def spent(study: optuna.Study) -> int:
    """Trials that count against the budget: scored, pruned or failed by their configuration."""
    return sum(settled(trial) for trial in study.get_trials(deepcopy=False))


def settled(trial: FrozenTrial) -> bool:
    failed = trial.state == TrialState.FAIL and FAILURE in trial.user_attrs
    return failed or trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def top_up(study: optuna.Study, budget: int) -> int:
    """Fill the queue until spent, running and waiting trials are ``budget``; how many were added."""
    open_ones = len(study.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING)))
    lacking = max(0, budget - spent(study) - open_ones)
    fill(study, lacking)
    return lacking


def work(
    study: optuna.Study,
    objective: Callable[[optuna.Trial], float | Sequence[float]],
    *,
    budgeted: bool = True,
    seconds: float | None = None,
    told: Callable[[optuna.Study, FrozenTrial], None] | None = None,
) -> None:
    """Take trials until none is waiting and no other worker has one running, or ``seconds`` are over.

    Without a budget (``budgeted=False``) trials are made until the time is over. A trial under way is finished;
    one that was taken for dead and given to another worker meanwhile (a laptop asleep) is dropped. Ctrl-C and
    SIGTERM put it back into the queue and go on to the caller.
    """
    until = None if seconds is None else time.monotonic() + seconds
    mine: list[int] = []
    raised: list[Exception] = []

    def run(trial: optuna.Trial) -> float | Sequence[float]:
        mine[:] = [trial.number]
        try:
            return objective(trial)
        except (ValueError, AssertionError) as error:
            raised.append(error)  # the objective's own, no word of Optuna's
            raise

    backend = getattr(study._storage, "_backend", study._storage)
    if isinstance(backend, Queue):
        backend.closed = budgeted
    with quiet():
        while until is None or time.monotonic() < until:
            try:
                study.optimize(run, n_trials=1, catch=(TrialFailed,), callbacks=[told] if told else None)
            except QueueEmpty:
                running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
                if not running:
                    return
                if isinstance(backend, Queue):
                    backend.vouch(running)
                time.sleep(POLL_SECONDS)
            except (optuna.exceptions.UpdateFinishedTrialError, ValueError, AssertionError):
                # how Optuna says that the trial was failed by somebody else, depending on the moment
                if raised or not mine or study.get_trials(deepcopy=False)[mine[0]].state != TrialState.FAIL:
                    raise
            except (KeyboardInterrupt, SystemExit):
                _give_back(study, mine)
                raise


def _give_back(study: optuna.Study, numbers: Sequence[int]) -> None:
    again = {number for trial in study.get_trials(deepcopy=False) for number in history_of(trial)}
    for number in numbers:
        trial = study.get_trials(deepcopy=False)[number]
        if number in again:
            continue  # another worker took it for dead
        if trial.state == TrialState.RUNNING:
            study.tell(number, state=TrialState.FAIL)
        elif trial.state != TrialState.FAIL or settled(trial):
            continue
        RetryHeartbeatStaleTrialCallback()(study, study.get_trials()[number])


def history_of(trial: FrozenTrial) -> list[int]:
    """Numbers of the trials whose configuration ``trial`` repeats because their workers died."""
    with quiet():
        return list(RetryHeartbeatStaleTrialCallback.retry_history(trial))
