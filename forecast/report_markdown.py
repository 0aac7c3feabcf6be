"""report.md: the report for people who live in a terminal, with the charts as PNGs beside it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from forecast.report_cells import Section, Table
from forecast.report_data import Page
from forecast.report_text import warning

MOST_ROWS = 40


def markdown(page: Page, parts: Sequence[Section], pictures: Collection[str]) -> str:
    """The whole document.

    Args:
        parts: of :func:`forecast.report_text.sections`.
        pictures: names of the PNGs that were written.
    """
    what = "Backtest" if page.kind == "backtest" else "Forecast"
    label = str(page.verdict.get("label", ""))
    said = str(page.verdict["text"])
    return render(f"{what} report: {page.title}", label, said, warning(page), parts, pictures)


def render(
    title: str, label: str, said: str, alarm: str, parts: Sequence[Section], pictures: Collection[str]
) -> str:  # fmt: skip
    """A document of ``parts`` under the sentence ``said``; ``alarm``, where there is one, is set off."""
    blocks = [f"# {text(title)}", f"**{text(label)}**: {text(said)}" if label else text(said)]
    blocks += [f"**{text(alarm)}**"] if alarm else []
    for part in parts:
        blocks.append(f"## {text(part.heading)}")
        blocks += [text(line) for line in part.lead]
        if part.png in pictures:
            blocks.append(f"![{text(part.heading)}]({part.png})")
        blocks += [_table(table) for table in part.tables]
        blocks += ["\n".join(f"- {text(line)}" for line in part.notes)] if part.notes else []
    return "\n\n".join(blocks) + "\n"


def text(value: str) -> str:
    """One line in which nothing is read as Markdown or HTML; what cannot be mistaken stays readable."""
    line = re.sub(r"[\\`*_\[\]|#~!$]", r"\\\g<0>", " ".join(value.split()))
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"^(\d*)([-+.)])(?=\s)", r"\1\\\2", line)


def _table(table: Table) -> str:
    head = [text(name) for name, _ in table.head]
    rules = ["---:" if numeric else "---" for _, numeric in table.head]
    lines = ["| " + " | ".join(row) + " |" for row in (head, rules)]
    for i, row in enumerate(table.rows[:MOST_ROWS]):
        cells = [text(one.text) for one in row]
        lines.append("| " + " | ".join(f"**{cell}**" if i in table.marked and cell else cell for cell in cells) + " |")
    if len(table.rows) > MOST_ROWS:
        lines.append(f"\n{len(table.rows) - MOST_ROWS:,} more rows are in report.html.")
    return "\n".join(lines)
