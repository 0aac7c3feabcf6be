"""``forecast models``: what nets there are, what they are for, and what they are made of."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from forecast.commands import options as opt

app = typer.Typer(invoke_without_command=True)


@app.callback()
def list_(context: typer.Context, json: opt.Json = False, debug: opt.Debug = False) -> None:
    """Nets and presets: how they read, their size, what they are for. `models show NAME` tells all of one."""
    if context.invoked_subcommand is not None:
        return
    from rich.markup import escape
    from rich.table import Table

    from forecast import cards
    from forecast.commands import screen
    from forecast.family import BACKTEST_ONLY

    models, presets = cards.models(), cards.presets()
    if json:
        screen.emit({"schema": 1, "models": models, "presets": presets})
        return
    console = screen.out()
    for title, column, found in (("Models (--model)", "reads", models), ("Presets (--preset)", "model", presets)):
        table = Table(box=None, pad_edge=False, header_style="dim", title=title, title_justify="left")
        for name in ("name", column, "size", "weights", "what it is for"):
            table.add_column(name, justify="right" if name in ("size", "weights") else "left")
        for card in found:
            size = f"{card['layers']} x {card['hidden']}"
            table.add_row(
                card["name"], card.get("model") or _reads(card), size, f"{card['weights']:,}", escape(card["about"])
            )
        console.print(table)
        console.print()
    console.print(
        "[dim]Weights at the default size, for one series. stream: carries its state from row to row; window: reads "
        "data.lookback rows; both ends: a window from both sides (--set model.bidirectional=true). "
        f"{' and '.join(BACKTEST_ONLY)} are methods of `forecast backtest` only.[/]"
    )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A model or a preset.", show_default=False)],
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """One model or preset: where it comes from, and its whole default configuration."""
    from rich.markup import escape

    from forecast import cards
    from forecast.commands import screen

    found = cards.find(name)
    if json:
        screen.emit({"schema": 1, "cards": found})
        return
    console = screen.out()
    for i, card in enumerate(found):
        console.print(("\n" if i else "") + f"[bold]{card['kind']} {card['name']}[/]  {escape(card['about'])}")
        facts = {
            "reference": card["reference"], "model": card.get("model"), "target": card.get("target"),
            "reads": _reads(card) if "modes" in card else None,
            "heads": None if "heads" not in card or card["heads"] == "all" else ", ".join(card["heads"]),
            "weights": f"{card['weights']:,}, for one series",
        }  # fmt: skip
        for what, text in facts.items():
            if text:
                console.print(f"[dim]{what:10s}[/] {escape(str(text))}")
        told = {(section, field) for section, part in card.get("changes", {}).items() for field in part}
        for section, fields in card["settings"].items():
            console.print(f"\n[dim]\\[{section}][/]")
            for field, value in fields.items():
                mark = "  [dim]# of the preset[/]" if (section, field) in told else ""
                line = f"# {field}: left open" if value is None else f"{field} = {escape(_shown(value))}"
                console.print(line + mark)
    console.print("\n[dim]What each of these means and may be: forecast settings.[/]")


def _reads(card: dict[str, Any]) -> str:
    both = ", both ends" if card["both_directions"] else ""
    return ", ".join(card["modes"]) + both


def _shown(value: Any) -> str:
    """As in a TOML file."""
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
