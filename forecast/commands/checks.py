"""Checks of flags alone, before any data is read: each error names the one flag that is wrong."""

from __future__ import annotations


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
