"""Modules that can be called: ``forecast.backtest(panel)`` though ``forecast.backtest`` is a module.

Importing a submodule puts it into its package under its own name, over any function of that name. A module whose
class has ``__call__`` (Python's data model, "Customizing module attribute access") serves as both.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


def make_callable(name: str) -> None:
    """Let calls of the module ``name`` go to its function of the same name."""
    sys.modules[name].__class__ = _Callable
