"""``forecast settings``: what can be set, its default, what it may be and what it means."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from forecast.commands import options as opt

HELP = """What `--set` and a TOML file can say: every setting with its default, what it may be and what it means.

NAME is a setting (`model.hidden`, `hidden`) or a section (`data`, `model`, `train`).
"""


def settings(
    name: Annotated[str | None, typer.Argument(help="A setting or a section.", show_default=False)] = None,
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    from rich.markup import escape
    from rich.table import Table

    from forecast.commands import screen
    from forecast.settings import find

    found = find(name)
    if json:
        screen.emit({"schema": 1, "settings": found})
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("setting", no_wrap=True)
    for column in ("default", "may be", "what it means"):
        table.add_column(column, ratio=3 if column == "what it means" else None)
    for card in found:
        others = "".join(f"; {core}: {_shown(value)}" for core, value in card["defaults"].items())
        table.add_row(
            card["name"], escape(_shown(card["default"]) + others), escape(card["allowed"]), escape(card["about"])
        )
    screen.out().print(table, soft_wrap=False)


def _shown(value: Any) -> str:
    return "left open" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
