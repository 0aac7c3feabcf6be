"""``forecast predict``: forecast again from a saved run, on its own rows or on newer data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forecast.commands import options as opt

HELP = """Forecast again from a saved run: on the rows saved in it, or on newer data of the same series."""


@opt.takes(data=opt.DATA_FLAGS)
def predict(
    run: Annotated[Path, typer.Argument(help="Run folder of `forecast fit`.", show_default=False)],
    data: dict[str, Any],
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    from forecast import storage
    from forecast.commands import screen
    from forecast.commands.fit import forecast_table, horizon_note, show_data
    from forecast.model import Model
    from forecast.request import data_request

    opt.refuse_idle(data)
    model = Model.load(run)
    panel = None
    if data["ticker"] or data["csv"] is not None:
        panel = data_request(_like(model.panel, data), model.config).load()
    forecast = model.predict(panel)
    history: Any = model.panel
    if json:
        screen.emit(
            storage.plain({
                "schema": 1,
                "run": str(run),
                "series": history.describe(),
                "forecast": storage.records(forecast),
                "config": model.config.to_json(),
            })
        )  # fmt: skip
        return
    console = screen.out()
    show_data(console, history)
    console.print(f"\n[bold]Forecast[/] ({horizon_note(model)})")
    console.print(forecast_table(forecast, model.name, model.levels))


def _like(saved: Any, data: dict[str, Any]) -> dict[str, Any]:
    """``data`` with the columns of the run where none were named: its target (of one series) and its covariates."""
    filled = dict(data)
    if data["csv"] is not None and not data["target"] and len(saved.ids) == 1 and saved.target != "y":
        filled["target"] = [saved.target]
    for role in ("past", "future", "static"):
        filled[role] = data[role] or (saved.covariates(role) if data["csv"] is not None or role == "past" else None)
    return filled
