"""Results that outlive an interrupted run: one file of JSON, by what was asked, shared by several processes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from common import machine
from filelock import FileLock

from forecast.storage import replace_file

Asked = dict[str, Any]
Result = dict[str, Any]


class Kept:
    """What has been measured. The key is what was asked, not the code or the machine: :meth:`tell` names those.

    Args:
        path: the file; it need not exist.
        fresh: what was there before counts as not measured; it stays in the file until it is measured again.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self.old = set(self._read()) if fresh else set()
        self.new: set[str] = set()
        self.asked: dict[str, Result] = {}

    def find(self, asked: Asked) -> Result | None:
        key = _key(asked)
        found = None if key in self.old else self._read().get(key)
        if found is not None:
            self.asked[key] = found
        return found

    def keep(self, asked: Asked, result: Result) -> None:
        """Add one; what other processes have added meanwhile stays."""
        self.path.parent.mkdir(exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            replace_file(self.path, (json.dumps({**self._read(), _key(asked): result}, indent=1) + "\n").encode())
        self.old.discard(_key(asked))
        self.new.add(_key(asked))
        self.asked[_key(asked)] = result

    def tell(self) -> None:
        """Say on stderr what was not measured now but taken from the file."""
        used = [result for key, result in self.asked.items() if key not in self.new]
        if used:
            found = span(used)
            when = f"{found['first']} to {found['last']}" if "first" in found else "at unknown times"
            print(
                f"{len(used)} results are from {self.path.name} ({when}; commits {', '.join(found['commits'])}), "
                f"{len(self.new)} were measured now; --fresh measures all again",
                file=sys.stderr,
            )

    def _read(self) -> dict[str, Result]:
        found: dict[str, Result] = json.loads(self.path.read_text("utf-8")) if self.path.is_file() else {}
        return found


def stamp() -> dict[str, Any]:
    """When, where and of which code a result is."""
    now = machine()
    return {"time": now["time"], "cpu": now["cpu"], "commit": now["commit"], "load": os.getloadavg()[0]}


def span(results: list[Result]) -> dict[str, Any]:
    """First and last time, lowest and highest load, and the commits of ``results``, as far as they say."""
    times = sorted(each["time"] for each in results if "time" in each)
    loads = [each["load"] for each in results if "load" in each]
    commits = sorted({each.get("commit", "unknown") for each in results})
    known = {"first": times[0], "last": times[-1], "load": [min(loads), max(loads)]} if times and loads else {}
    return {**known, "commits": commits}


def _key(asked: Asked) -> str:
    return json.dumps(asked, sort_keys=True)
