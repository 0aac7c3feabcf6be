"""Running folds: one contender, one seed, one cut at a time; in parallel, and never twice.

A fold's result depends on (data, cutoff, configuration, seed) only, so it is stored under their hash: written
aside and renamed, read back after its sums were checked. A run that was killed finds what it finished. Folds of
a warm refit follow one another; what they go on from is stored with them.

Assumption, named: every fold runs with as many torch threads as ``threads`` says (one by default), wherever it
runs, because the order of additions and with it the last bits depend on it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecast import backends, storage
from forecast.contenders import Bounds, Contender, Fitted, Net
from forecast.cuts import Cut
from forecast.forecasts import Forecasts
from forecast.threads import threads as torch_threads
from pipelines.errors import ArtifactError, UsageError
from pipelines.panel import Panel

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
STORE_SCHEMA = 1
_ONE_NET = threading.RLock()
"""Nets of one process take turns (a worker of dask may have threads): torch's random numbers belong to the process."""


@dataclass(frozen=True)
class Job:
    """One contender and seed through consecutive cuts: all of them in one job for a warm refit, else one each."""

    place: int
    """Which contender, counted from 0."""
    contender: Contender
    seed: int
    cuts: tuple[Cut, ...]
    keys: tuple[str, ...]
    warm: bool
    calibration: int
    """Origins before the cutoff to forecast from as well, out of sample: what conformal intervals start from."""


@dataclass
class FoldResult:
    """Forecasts of one fold: ``rows [M]`` origins in the panel, ``point [M, H]``, ``bounds``, and before the cutoff.

    ``up [M, H]``: the probability of going up, from models that tell.
    """

    rows: Index
    point: Floats
    bounds: Bounds
    early_rows: Index
    early_point: Floats
    early_bounds: Bounds
    facts: dict[str, Any]
    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    reused: bool = False
    up: Floats | None = None


def keys_of(
    panel_hash: str, contender: Contender, seed: int, cuts: Sequence[Cut], horizon: int, threads: int, warm: bool,
    calibration: int,
) -> tuple[str, ...]:  # fmt: skip
    """One hash per cut. A warm fold's depends on all cuts before it."""
    from forecast.folder import versions

    out: list[str] = []
    for cut in cuts:
        parts = {
            "schema": STORE_SCHEMA, "data": panel_hash, "contender": contender.describe(), "seed": seed,
            "cutoff": str(cut.fold.cutoff), "train_start": str(cut.fold.train_start), "horizon": horizon,
            "origins": [str(stamp) for stamp in cut.origins], "threads": threads, "calibration": calibration,
            "versions": versions(), "warm": warm, "before": out[-1] if warm and out else None,
        }  # fmt: skip
        out.append(hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32])
    return tuple(out)


def data_hash(panel: Panel) -> str:
    """SHA-256 of the panel and of its known-future rows."""
    digest = hashlib.sha256(panel.fingerprint().encode())
    if panel.future is not None:
        plain = panel.future.astype({"unique_id": str})
        digest.update(pd.util.hash_pandas_object(plain, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def run_jobs(
    panel: Panel, jobs: Sequence[Job], *, horizon: int, workers: int, backend: str, store: Path | None, threads: int,
    done: Callable[[int, int, str], None] | None,
) -> list[list[FoldResult]]:  # fmt: skip
    """The results of every job's cuts. With one worker in this process, else through joblib."""
    total = sum(len(job.cuts) for job in jobs)
    count = 0

    def tell(job: Job) -> None:
        nonlocal count
        count += len(job.cuts)
        if done is not None:
            done(count, total, job.contender.name)

    if workers == 1 or len(jobs) < 2:
        results = []
        for job in jobs:
            results.append(run_job(panel, job, horizon, store, threads))
            tell(job)
        return results
    return _parallel(panel, jobs, horizon, workers, backend, store, threads, tell)


def _parallel(
    panel: Panel, jobs: Sequence[Job], horizon: int, workers: int, backend: str, store: Path | None, threads: int,
    tell: Callable[[Job], None],
) -> list[list[FoldResult]]:  # fmt: skip
    from joblib import Parallel, delayed, parallel_config

    backends.register(backend)
    extra = {"inner_max_num_threads": threads} if backend == "loky" else {}
    with parallel_config(backend=backend, n_jobs=workers, **extra), torch_threads(threads):
        found = Parallel(return_as="generator")(delayed(run_job)(panel, job, horizon, store, threads) for job in jobs)
        results = []
        for job, result in zip(jobs, found, strict=True):
            results.append(result)
            tell(job)
    return results


def check_backend(backend: str, workers: int, contenders: Sequence[Contender]) -> None:
    """Refuse threads for nets: torch has one stream of random numbers for all threads of a process.

    Raises:
        UsageError: nets are to be fitted in threads.
    """
    if backend == "threading" and workers != 1 and any(one.seeded for one in contenders):
        raise UsageError(
            "nets cannot be fitted in threads side by side: they would share their random numbers.",
            hint="Use the backend loky, or jobs=1.",
        )


def run_job(panel: Panel, job: Job, horizon: int, store: Path | None, threads: int) -> list[FoldResult]:
    """Fit and forecast the cuts of one job, taking finished ones from the store."""
    results: list[FoldResult] = []
    with _ONE_NET if job.contender.seeded else nullcontext(), torch_threads(threads):
        for cut, key in zip(job.cuts, job.keys, strict=True):
            result = None if store is None else finished(store / key, job)
            if result is None:
                job = _shaped(panel, job)
                start = results[-1].weights if job.warm and results and results[-1].weights else None
                result = run_cut(panel, job, cut, horizon, start)
                if store is not None:
                    save_fold(store / key, result, job, cut)
            results.append(result)
    return results


def _shaped(panel: Panel, job: Job) -> Job:
    """For a warm refit, with a net whose shape the first fold's training rows have settled; else ``job`` itself."""
    one = job.contender
    if not job.warm or not isinstance(one, Net) or one.gaps is not None:
        return job
    return replace(job, contender=one.settled(job.cuts[0].fold.train(panel)))


def run_cut(panel: Panel, job: Job, cut: Cut, horizon: int, start: dict[str, NDArray[np.float32]] | None) -> FoldResult:
    """A pure function of its arguments: fitted on the training rows of ``cut``, forecasts from its origins."""
    train = cut.fold.train(panel)
    clock = time.perf_counter()
    fitted = job.contender.fit(train, job.seed, start)
    early: Fitted = fitted
    if job.calibration and fitted.known is not None and fitted.known >= cut.fold.cutoff:
        # all training rows went into the fit: what intervals start from needs one that left some out
        early = job.contender.fit(train.up_to(_back(train, job.calibration)), job.seed, None)
    fitting = time.perf_counter() - clock
    clock = time.perf_counter()
    rows = cut.rows(panel)
    found = fitted.forecast(panel, rows, horizon)
    early_rows = early_origins(train, panel, early.known, job.calibration, horizon) if job.calibration else rows[:0]
    before = Forecasts(early_rows, found.point[:0], {})
    if len(early_rows):
        before = early.forecast(panel, early_rows, horizon)
    facts = {**fitted.facts, "seconds": {"fit": fitting, "forecast": time.perf_counter() - clock}}
    facts["start"] = "warm" if start is not None else "cold"
    facts["rows"] = len(train)
    weights = fitted.weights() if job.warm else {}
    return FoldResult(
        rows, found.point, found.bounds, early_rows, before.point, before.bounds, facts, weights, up=found.up
    )


def early_origins(train: Panel, panel: Panel, known: pd.Timestamp | None, most: int, horizon: int) -> Index:
    """Rows of ``panel`` whose targets all lie in the training span, after ``known``: at most ``most`` stamps."""
    stamps = np.unique(train.ds)[:-horizon]
    if known is not None:
        stamps = stamps[stamps >= known.to_datetime64()]
    return np.flatnonzero(np.isin(panel.ds, stamps[-most:])).astype(np.int64)


def _back(train: Panel, calibration: int) -> pd.Timestamp:
    """Where a fit ends that leaves ``calibration`` rows out, but no more than half."""
    stamps = np.unique(train.ds)
    return pd.Timestamp(stamps[max((len(stamps) - 1) // 2, len(stamps) - 1 - calibration)])


# -- the store ---------------------------------------------------------------------------------
def save_fold(folder: Path, result: FoldResult, job: Job, cut: Cut) -> None:
    """Write a finished fold aside, then rename: it is there as a whole or not at all.

    Another process may finish the same fold first; its result is this one.
    """
    from safetensors.numpy import save_file

    arrays: dict[str, NDArray[Any]] = {
        "rows": result.rows, "point": result.point, "early/rows": result.early_rows, "early/point": result.early_point,
    }  # fmt: skip
    for prefix, bounds in (("bounds", result.bounds), ("early/bounds", result.early_bounds)):
        for level, (low, high) in bounds.items():
            arrays[f"{prefix}/{level}/lo"], arrays[f"{prefix}/{level}/hi"] = low, high
    arrays |= {f"weights/{name}": part for name, part in result.weights.items()}
    arrays |= {} if result.up is None else {"up": result.up}

    def write(target: Path) -> None:
        save_file({name: np.ascontiguousarray(part) for name, part in arrays.items()}, target / "fold.safetensors")
        storage.dump_json(target / "fold.json", {"facts": result.facts, "cut": cut.to_json(), "seed": job.seed})

    if folder.exists() and finished(folder, job) is None:
        shutil.rmtree(folder, ignore_errors=True)  # damaged
    try:
        storage.write_folder(folder, write, {"kind": "fold", "model": job.contender.name})
    except UsageError:
        if finished(folder, job) is None:
            raise


def finished(folder: Path, job: Job) -> FoldResult | None:
    """The fold stored in ``folder``; ``None`` as well where a warm refit could not go on from it."""
    found = load_fold(folder)
    lacking = found is not None and job.warm and isinstance(job.contender, Net) and not found.weights
    return None if lacking else found


def load_fold(folder: Path) -> FoldResult | None:
    """A finished fold; ``None`` if there is none, or if it is damaged (it is then computed again)."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not folder.is_dir():
        return None
    try:
        storage.check_folder(folder)
        arrays = load_file(folder / "fold.safetensors")
        facts = storage.load_json(folder / "fold.json")["facts"]
    except (ArtifactError, SafetensorError, OSError, KeyError):
        return None
    weights = {name.removeprefix("weights/"): part for name, part in arrays.items() if name.startswith("weights/")}
    return FoldResult(
        arrays["rows"], arrays["point"], _bounds(arrays, "bounds"), arrays["early/rows"], arrays["early/point"],
        _bounds(arrays, "early/bounds"), facts, weights, reused=True, up=arrays.get("up"),
    )  # fmt: skip


def _bounds(arrays: dict[str, NDArray[Any]], prefix: str) -> Bounds:
    levels = sorted({int(name.split("/")[-2]) for name in arrays if name.startswith(f"{prefix}/")})
    return {level: (arrays[f"{prefix}/{level}/lo"], arrays[f"{prefix}/{level}/hi"]) for level in levels}
