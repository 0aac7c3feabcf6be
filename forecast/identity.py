"""What tells two contenders apart: their settings as plain JSON, so that stored folds are used for what they were."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

import numpy as np

from pipelines.errors import UsageError


def settings_of(thing: Any) -> Any:
    """Plain JSON that identifies an object's settings.

    Raises:
        UsageError: it has none that could be written down.
    """
    with np.printoptions(threshold=sys.maxsize, floatmode="unique"):  # whole arrays, to the last bit
        text = repr(thing)
    if " at 0x" in text:
        raise UsageError(
            f"{type(thing).__name__} does not say what its settings are.",
            hint="Give it a __repr__ that names them (a seed instead of a generator), so that stored folds can be "
            "told apart.",
        )
    return text


def parameters_of(value: Any) -> Any:
    """An estimator's parameters and those of the estimators among them; its own repr leaves long ones out."""
    if hasattr(value, "get_params") and not isinstance(value, type):
        own = {name: parameters_of(part) for name, part in sorted(value.get_params(deep=False).items())}
        return {"type": f"{type(value).__module__}.{type(value).__qualname__}", "parameters": own}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *(parameters_of(part) for part in value)]
    if isinstance(value, dict):
        return [type(value).__name__, *([parameters_of(key), parameters_of(part)] for key, part in value.items())]
    if inspect.isfunction(value) and value.__closure__ is None:
        return [f"{value.__module__}.{value.__qualname__}", _source(value)]
    return settings_of(value)


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except OSError:  # typed in: what it compiles to, without the addresses of what is nested in it
        code = function.__code__
        return f"{code.co_code.hex()} {code.co_names} {re.sub(' at 0x[0-9a-f]+', '', repr(code.co_consts))}"
