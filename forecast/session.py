"""Sessions: a tuning study on disk and in its storage: begun, gone on with, or joined from another machine."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from forecast import storage
from forecast import study as studies
from forecast.config import Config
from forecast.folder import read_panel, write_panel
from forecast.folds_run import data_hash
from forecast.objective import Sealed, WalkForward
from forecast.space import Space
from forecast.train import CHECK_UPDATES
from pipelines.errors import ArtifactError, UsageError
from pipelines.panel import Panel

SCHEMA = 1
URL_VARIABLE = "FORECAST_STORAGE"


@dataclass
class Session:
    """An open study: its folder, storage and what was asked for."""

    folder: Path
    url: str
    study: optuna.Study
    request: dict[str, Any]
    sealed: Sealed

    @property
    def space(self) -> Space:
        return Space.from_json(self.request["space"])

    @property
    def budget(self) -> int | None:
        found = self.study.user_attrs.get("budget")
        return None if found is None else int(found)

    def equip(self) -> None:
        """Give the study its sampler and pruner."""
        request = self.request
        steps = int(self.space.base.train.updates) // CHECK_UPDATES
        self.study.sampler = studies.make_sampler(request["sampler"], self.space, request["seed"])
        with studies.quiet():
            self.study.pruner = studies.make_pruner(request["pruner"], steps)

    def objective(self) -> WalkForward:
        request = self.request
        return WalkForward(
            self.sealed, self.space, metric=request["metric"], also=request["also"], folds=request["folds"],
            by_epoch=request["pruner"] in ("median", "hyperband"),
        )  # fmt: skip


def folder_of(study: Path | str) -> Path:
    """A bare name is a folder under ``runs/``, unless there is one of that name here."""
    path = Path(study)
    if path.is_absolute() or len(path.parts) != 1 or path.is_dir():
        return path
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", path.name):
        raise UsageError(f"a study cannot be called {path.name!r}.", hint="Use letters, digits, dots and dashes.")
    return Path("runs") / path


def begin(
    folder: Path, panel: Panel, sealed: Sealed, request: dict[str, Any], url: str | None, budget: int | None
) -> Session:
    where = url or studies.sqlite_url(folder)
    if folder.exists():
        raise UsageError(
            f"{folder} exists already.", hint=f"Go on with it by forecast tune --resume --study {folder}, or choose "
            "another --study."
        )  # fmt: skip
    if url is not None:
        studies.open_storage(url, heartbeat=request["heartbeat"]).engine.dispose()  # before anything is written

    def write(place: Path) -> None:
        for name, part in (("development", sealed.development), ("sealed", panel)):
            (place / name).mkdir()
            write_panel(part, place / name)
        kept = None if url is None else studies.masked(url)
        storage.dump_json(place / "request.json", {"study": folder.name, "storage": kept, **request})

    storage.write_folder(folder, write, {"kind": "study"})
    opened = studies.open_storage(where, heartbeat=request["heartbeat"])
    facts: dict[str, Any] = {"request": request, "budget": budget, "openings": []}
    try:
        study = studies.create(folder.name, opened, directions=2 if request["also"] else 1, facts=facts)
    except UsageError:
        shutil.rmtree(folder)  # it would be taken for the other study's
        raise
    sealed = Sealed(sealed.development, lambda: panel, lambda reason: _opened(study, reason))
    return Session(folder, where, study, request, sealed)


def attach(folder: Path, url: str | None = None) -> Session:
    """Open the study in ``folder``.

    Raises:
        ArtifactError: no study, a damaged one, or one whose storage holds another of its name.
        UsageError: its storage needs a password that was not given.
    """
    if not (folder / "request.json").is_file():
        raise ArtifactError(f"{folder} holds no study.", hint="Give the --study that `forecast tune` printed.")
    if storage.check_folder(folder).get("kind") != "study":
        raise ArtifactError(f"{folder} holds no study.", hint="Give the --study that `forecast tune` printed.")
    kept = storage.load_json(folder / "request.json")
    where = url or kept["storage"] or studies.sqlite_url(folder)
    if "***" in where:
        raise UsageError(
            f"the password of {where} is not kept.", hint=f"Give --storage again, or set {URL_VARIABLE}."
        )  # fmt: skip
    study, request = _loaded(kept["study"], where)
    development = read_panel(folder / "development")
    if data_hash(development) != request["development"]["data"]:
        raise ArtifactError(
            f"the study {kept['study']!r} in the storage has other data than {folder}.",
            hint="Another study of that name? Begin one under a name of its own.",
        )
    sealed = Sealed(development, lambda: read_panel(folder / "sealed"), lambda reason: _opened(study, reason))
    return Session(folder, where, study, request, sealed)


def asked(name: str, url: str | None) -> Config:
    """The configuration a study began with, as it was when the data was read: its kind may still be ``auto``."""
    study, request = _loaded(name, _given(url))
    studies.close(study)
    return Space.from_json(request["space"]).base.override(**{"data.kind": request["kind"]})


def from_afar(name: str, url: str | None, panel: Panel) -> Session:
    url = _given(url)
    study, request = _loaded(name, url)
    sealed = Sealed.cut(panel.up_to(panel.end), request["test"])
    if data_hash(sealed.development) != request["development"]["data"]:
        raise ArtifactError(
            f"the data differs from the study's, whose development span ends at {request['development']['end']}.",
            hint="Give the same data, and the same --start and --end.",
        )
    return Session(Path(name), url, study, request, sealed)


def _given(url: str | None) -> str:
    if url is None:
        raise UsageError("no storage given.", hint="Give --storage, the database the study is kept in.")
    return url


def _loaded(name: str, url: str) -> tuple[optuna.Study, dict[str, Any]]:
    study = studies.load(name, studies.open_storage(url, heartbeat=60))
    request = study.user_attrs.get("request")
    studies.close(study)
    if not isinstance(request, dict) or request.get("schema") != SCHEMA:
        raise ArtifactError(f"{name!r} was not made by this version of forecast tune.", hint="Begin another study.")
    return studies.load(name, studies.open_storage(url, heartbeat=request["heartbeat"])), request


def _opened(study: optuna.Study, reason: str) -> None:
    """Record an opening of the seal."""
    entry = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "reason": reason, "trials": studies.spent(study)}
    study.set_user_attr("openings", [*study.user_attrs.get("openings", []), entry])
