"""One table of everything in results/: target, what was wanted, what was measured, met or not, machine, versions.

Printed, and written where people read it: whole as results/README.md, its headlines into the README of the project.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common import RESULTS, table

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- make bench writes what follows -->\n", "<!-- and ends here -->\n"
PEERS = {"neuralforecast": "NeuralForecast's", "darts": "Darts'"}
# result, how the line in it begins, and the words for someone who has not read the issues
HEADLINES = [
    *(("peers", f"training, {data} data, origins/s over {peer}", f"training, {what}, over {whose} origins/s")
      for data, what in {"daily": "one series", "hourly": "100 series"}.items() for peer, whose in PEERS.items()),
    *(("peers", f"fit time to the best validation error a peer reaches ({data})",
       f"fit time to the better peer's error: {what}")
      for data, what in {"daily": "one series", "hourly": "100 series", "etth1": "ETTh1"}.items()),
    *(("peers", f"backtest of 2,000 origins over {peer}", f"backtest of 2,000 origins, over {whose} origins/s")
      for peer, whose in PEERS.items()),
    *(("peers", f"process start to printed forecast (5,000 points, 10 passes) over {peer}",
       f"a small job, from process start to printed forecast, over {whose}") for peer, whose in PEERS.items()),
    ("step", "origins/s of forecast.fit / plain stream loop, the lowest of all sizes",
     "`forecast.fit` over its own net in a hand-written torch loop, origins/s"),
    *(("gru", f"GRU step / LSTM step (2 x 64, batch {batch}, threads 1)",
       f"a step of the GRU over one of torch's LSTM, batch {batch}") for batch in (16, 64)),
    ("seeds", "8 seeds in", "8 seeds in two processes over 8 in turn"),
    ("start", "peak memory above `import torch, pytorch_lightning`: the job by `forecast.fit`",
     "memory above `import torch, pytorch_lightning`, `forecast.fit` and `predict`"),
    ("start", "peak memory above `import torch, pytorch_lightning`: the job by the command",
     "the same: `forecast fit` with scores, plot and page"),
]  # fmt: skip


def documents() -> list[dict[str, Any]]:
    """The results that hold rows, by name."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    return [document for document in found if "rows" in document]


def whole(found: list[dict[str, Any]]) -> str:
    """All rows, a table per result, and the machines they were measured on."""
    parts, seen = ["# What the benchmarks measured\n"], set()
    for document in found:
        machine = document["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        seen.add(f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; {versions}")
        threads = document["details"].get("threads")
        how = [*measured(document), *([f"{threads} threads"] if threads else [])]
        parts.append(f"## {document['name']} ({', '.join(how)})\n\n{table(document['rows'])}\n")
    return "\n".join([*parts, *(f"{line}  " for line in sorted(seen))]) + "\n"


def measured(document: dict[str, Any]) -> list[str]:
    """When, on which code and how busy a machine; of results kept from many hours, the span of those."""
    runs, machine = document["details"].get("runs"), document["machine"]
    if not isinstance(runs, dict) or "commits" not in runs:
        code = [f"commit {machine['commit']}"] if "commit" in machine else []
        return [machine["time"], *code, f"load {machine['load'][0]:.1f}"]
    code = [f"commits {', '.join(runs['commits'])}"]
    if "first" not in runs:
        return ["hours not kept", *code]
    return [f"{runs['first']} to {runs['last']}", *code, f"load {runs['load'][0]:.1f} to {runs['load'][1]:.1f}"]


def headlines(found: list[dict[str, Any]]) -> str:
    """The lines for the README; those that were not measured are left out."""
    rows = {(document["name"], row["target"]): row for document in found for row in document["rows"]}
    picked = [
        {**row, "target": words, "note": row["note"] if "lowest of all" in target else ""}
        for name, begin, words in HEADLINES
        for (where, target), row in rows.items()
        if where == name and target.startswith(begin)
    ]
    return table(picked) + "\n"


def write_readme(text: str, lines: str) -> str:
    """``text`` with ``lines`` between the two marks."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + lines + END + rest.split(END)[1]


def main() -> None:
    found = documents()
    text = whole(found)
    (RESULTS / "README.md").write_text(text, "utf-8")
    README.write_text(write_readme(README.read_text("utf-8"), headlines(found)), "utf-8")
    print(text)


if __name__ == "__main__":
    main()
