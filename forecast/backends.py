"""Backends: where the workers of a backtest run, by joblib's names."""

from __future__ import annotations

from pipelines.errors import UsageError, did_you_mean


def check_name(backend: str, flag: str = "") -> None:
    """Refuse what is no backend, whether it is installed or not; ``flag`` stands before its name.

    Raises:
        UsageError: there is none of that name.
    """
    from joblib.parallel import BACKENDS

    known = list(dict.fromkeys(["loky", "dask", "ray", "threading", *BACKENDS]))
    if backend not in known:
        raise UsageError(
            f"{flag}backend: there is no backend {backend!r}.{did_you_mean(backend, known)}",
            hint="Use loky, dask or ray, or threading without nets.",
        )


def register(backend: str) -> None:
    """Let joblib know a backend that lives in another package.

    Raises:
        UsageError: its package is not installed, or there is no such backend.
    """
    check_name(backend)
    try:
        if backend == "ray":
            from ray.util.joblib import register_ray  # type: ignore[import-not-found]

            register_ray()
        elif backend == "dask":
            import distributed  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"the backend {backend!r} needs a package that is not installed ({error.name}).",
            hint="Install it beside this toolkit, or use --backend loky.",
        ) from error
