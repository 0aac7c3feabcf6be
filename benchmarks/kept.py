"""Results that outlive an interrupted run: one file of JSON, by what was asked, shared by several processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from filelock import FileLock

from forecast.storage import replace_file

Asked = dict[str, Any]
Result = dict[str, Any]


class Kept:
    """What has been measured. The key is what was asked, not the code: forget it after a change of the code.

    Args:
        path: the file; it need not exist.
        fresh: what was there before counts as not measured; it stays in the file until it is measured again.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self.old = set(self._read()) if fresh else set()

    def find(self, asked: Asked) -> Result | None:
        return None if _key(asked) in self.old else self._read().get(_key(asked))

    def keep(self, asked: Asked, result: Result) -> None:
        """Add one; what other processes have added meanwhile stays."""
        self.path.parent.mkdir(exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            replace_file(self.path, (json.dumps({**self._read(), _key(asked): result}, indent=1) + "\n").encode())
        self.old.discard(_key(asked))

    def _read(self) -> dict[str, Result]:
        found: dict[str, Result] = json.loads(self.path.read_text("utf-8")) if self.path.is_file() else {}
        return found


def _key(asked: Asked) -> str:
    return json.dumps(asked, sort_keys=True)
