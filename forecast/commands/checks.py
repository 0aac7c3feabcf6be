"""Checks of flags alone, before any data is read: each error names the one flag that is wrong."""

from __future__ import annotations

from forecast.sections import DEFAULT_CORE


def check_backtest(
    *, test: float, stride: int, gap: int, refit: str, window: str, seeds: int, intervals: str, level: int, jobs: int,
    backend: str, pieces: int | None, warm: int,
) -> None:  # fmt: skip
    """Refuse a value of a flag of ``forecast backtest`` that no data could go with.

    Raises:
        UsageError: one is wrong.
    """
    from forecast.backends import check_name
    from forecast.conformal import METHODS
    from forecast.cuts import Refit, check_range, check_test
    from pipelines.errors import UsageError, did_you_mean
    from pipelines.folds import at_least

    check_test(test, "--")
    if window != "expanding" and not window.isdecimal():
        raise UsageError(f"--window got {window!r}.", hint="Use expanding or a number of rows.")
    at_least(1, "--", stride=stride, seeds=seeds, window=None if window == "expanding" else int(window))
    at_least(0, "--", gap=gap, warm=warm)
    at_least(2, "--", pieces=pieces)
    Refit.parse(refit)
    known = ("model", *METHODS)
    if intervals not in known:
        raise UsageError(
            f"--intervals got {intervals!r}.{did_you_mean(intervals, known)}", hint=f"Use {', '.join(known)}."
        )
    check_range("--", level=level, jobs=jobs)
    check_name(backend, "--")


def idle_in_backtest(
    models: list[str] | None, core: str, *, level: int, intervals: str, tried: int, trade: bool, warm: int,
    pieces: int | None, backend: str, jobs: int, seeds: int,
) -> list[str]:  # fmt: skip
    """One sentence per flag of ``forecast backtest`` that is not at its default and certainly does nothing.

    Args:
        models: as typed; ``None`` for the net of the configuration, ``core``.
    """
    from forecast.family import FAMILY

    nets = [name for name in models or [core] if name in FAMILY]
    named = f"--model names {'other nets' if nets else 'no net'}"
    rules = [
        (f"--level={level}", level != 90 and intervals == "model", "only conformal --intervals read it, and these are "
         "the models' own"),
        (f"--tried={tried}", tried != 0 and not trade, "only --trade reads it"),
        (f"--warm={warm}", warm != 256 and pieces is None, "only --pieces reads it"),
        (f"--backend={backend}", backend != "loky" and jobs == 1, "one job runs in this process; --jobs says how many"),
        (f"--seeds={seeds}", seeds != 1 and not nets, "only nets have seeds"),
        (f"--pieces={pieces}", pieces is not None and not nets, "only nets are read in pieces"),
        (f"model.core={core}", models is not None and core != DEFAULT_CORE and core not in nets, named),
    ]  # fmt: skip
    return [f"{what} does nothing: {why}." for what, vain, why in rules if vain]


def check_tune(
    *, trials: int | None, timeout: float | None, folds: int | None, test: float | None, heartbeat: int | None,
    jobs: int,
) -> None:  # fmt: skip
    """Refuse a number of ``forecast tune`` that no data could go with.

    Raises:
        UsageError: one is out of range.
    """
    from forecast.cuts import check_test
    from pipelines.errors import UsageError
    from pipelines.folds import at_least

    at_least(1, "--", trials=trials, folds=folds, jobs=jobs, heartbeat=heartbeat)
    if timeout is not None and not timeout > 0:
        raise UsageError(f"--timeout is {timeout:g}, it must be above 0.", hint="Give seconds, or leave it out.")
    if test is not None:
        check_test(test, "--")
