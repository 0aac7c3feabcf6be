"""One table of everything in results/: target, what was wanted, what was measured, met or not, machine, versions."""

from __future__ import annotations

import json

from common import RESULTS, table


def main() -> None:
    seen = set()
    for path in sorted(RESULTS.glob("*.json")):
        document = json.loads(path.read_text("utf-8"))
        if "rows" not in document:
            continue
        machine = document["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        threads = document["details"].get("threads", "?")
        seen.add(f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; {versions}")
        load = machine["load"][0]
        print(f"\n{document['name']} ({machine['time']}, {threads} threads, load of the machine {load:.1f})\n")
        print(table(document["rows"]))
    print()
    for line in sorted(seen):
        print(line)


if __name__ == "__main__":
    main()
