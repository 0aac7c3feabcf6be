"""``forecast predict``: forecast again from a saved run, on its own rows or on newer data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from forecast.commands import options as opt

HELP = """Forecast again from a saved run: on the rows saved in it, or on newer data of the same series."""
NO_PRICE = "The run forecasts a price: give the column it was fitted to."


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
    from forecast.revised import notes_on_revisions
    from pipelines.columns import key

    opt.refuse_idle(data)
    model = Model.load(run)
    panel: Any = None
    saved: Any = model.panel
    notes: list[str] = []
    if data["ticker"] or data["csv"] is not None:
        like = _like(saved, data)
        panel = data_request(like, model.config, no_price=NO_PRICE).load()
        if sorted(map(key, panel.target.split(", "))) != sorted(map(key, saved.target.split(", "))):
            notes.append(f"the run forecasts {saved.target!r}; of this data {panel.target!r} was read.")
        if data["csv"] is not None:
            panel = _alone(saved, panel, notes)
        notes += [*screen.doubts(panel.notes), *_cold(model, saved, panel)]
        notes += notes_on_revisions(model.pipeline, saved, panel)
        screen.show_warnings(notes)
    forecast = model.predict(panel)
    screen.show_warnings(model.notes)
    history: Any = model.panel
    if json:
        screen.emit(
            storage.plain({
                "schema": 1,
                "run": str(run),
                "series": history.describe(),
                "forecast": storage.records(forecast),
                "notes": [*notes, *model.notes],
                "config": model.config.to_json(),
            })
        )  # fmt: skip
        return
    console = screen.out()
    show_data(console, history)
    console.print(f"\n[bold]Forecast[/] ({horizon_note(model)})")
    console.print(forecast_table(forecast, model.name, model.levels, "; --json gives them all", tz=history.grid.tz))


def _alone(saved: Any, panel: Any, notes: list[str]) -> Any:
    """The lone series of a file without an id column under the name of the run's lone series; a note that says so.

    Without an id column a series is called after its target.
    """
    own, name = panel.ids[0], saved.ids[0]
    if len(saved.ids) != 1 or len(panel.ids) != 1 or own == name or own != panel.target:
        return panel
    notes.append(f"{own!r} of this file is taken for {name!r}, the only series of the run.")
    future = None if panel.future is None else panel.future.assign(unique_id=name)
    return replace(panel, frame=panel.frame.assign(unique_id=name), future=future)


def _cold(model: Any, saved: Any, panel: Any) -> list[str]:
    """What to say of series given with fewer rows than the net looks back on, and than the run had."""
    from pipelines.where import some

    reach = max(model.config.model.skip, model.config.data.k1)
    had = dict(zip(saved.ids, saved.lengths, strict=True))
    given = zip(panel.ids, panel.lengths, strict=True)
    short = [name for name, rows in given if rows < min(reach, had.get(name, reach))]
    if model.lookback is not None or not short:
        return []
    return [
        f"{some(short)}: fewer rows than the {reach} that the run looks back on, so the forecast starts from next to "
        "nothing. Give the whole history, not the newest rows alone."
    ]


def _columns(saved: Any) -> list[str]:
    """The columns of a run that was saved before they were kept: without an id column its series are called so."""
    ids = list(saved.ids)
    return ids if len(ids) > 1 and saved.target in (", ".join(ids), f"{len(ids)} columns") else [saved.target]


def _like(saved: Any, data: dict[str, Any]) -> dict[str, Any]:
    """``data`` as the run's was read where nothing else was said: its columns and zone, its prices' basis."""
    filled = dict(data)
    if data["csv"] is not None:
        filled |= {name: data[name] or saved.meta.get(name) for name in ("id", "tz")}
    if not data["target"] and saved.target != "y":
        filled["target"] = saved.meta.get("targets") or _columns(saved)
    if data["ticker"] and data["adjust"] is None:
        filled["adjust"] = saved.meta.get("adjust")
    for role in ("past", "future", "static"):
        filled[role] = data[role] or (saved.covariates(role) if data["csv"] is not None or role == "past" else None)
    return filled
