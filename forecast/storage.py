"""Run folders: JSON, safetensors and a manifest of SHA-256 sums; written aside and renamed; never a pickle.

A folder is first written to a hidden sibling and then renamed, so that a killed process leaves either the
whole run or none. Reading checks every sum before a byte is used: safetensors alone accepts many flipped bits.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import ArtifactError, UsageError

MANIFEST = "manifest.json"
SCHEMA = 1
OTHER_KINDS = {
    "backtest": ("a backtest", "Give the folder of a fit; `forecast report` and `forecast audit` read this one."),
    "fold": ("one fold of a backtest", "Give the folder of a fit."),
    "generator": ("a generator", "Go on from it by `forecast generate`, or give the folder of a fit."),
    "study": ("a tuning study", "Its winner is fitted in the folder `winner` in it: give that."),
}


def write_folder(
    path: Path, write: Callable[[Path], None], facts: Mapping[str, Any], *, overwrite: bool = False,
    numbered: bool = False,
) -> Path:  # fmt: skip
    """Let ``write(folder)`` fill a temporary sibling of ``path``, add the manifest, and rename it to ``path``.

    Args:
        numbered: nobody asked for just this name: where it is taken, the folder gets a number behind it.

    Returns:
        The folder's path.

    Raises:
        UsageError: ``path`` exists and ``overwrite`` is false, or is not a run folder.
    """
    asked, path = path, path.absolute()
    if path.exists() and not numbered:
        if not overwrite:
            raise UsageError(f"{path} exists already.", hint="Choose another --out, or remove it.")
        if not (path / MANIFEST).is_file():
            raise UsageError(f"{path} exists and is not a run folder.", hint="Choose another --out.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        temporary.mkdir()
    except OSError as error:
        raise UsageError(
            f"{path.parent} cannot be written to ({error.strerror}).", hint="Choose another --out."
        ) from error
    try:
        write(temporary)
        seal(temporary, facts)
        while True:
            free = unused(path) if numbered else path
            try:
                _replace(temporary, free, overwrite)
            except UsageError:
                if not numbered or not free.exists():
                    raise
                continue  # another run was faster
            return asked.with_name(free.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def seal(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest: schema, facts, and the SHA-256 of every other file in ``folder``."""
    sums = {
        str(file.relative_to(folder).as_posix()): sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    dump_json(folder / MANIFEST, {"schema": SCHEMA, **facts, "files": sums})


def add_files(folder: Path, files: Mapping[str, bytes], *, remove: Collection[str] = ()) -> None:
    """Add or replace ``files`` in a sealed folder and seal them too; ``remove`` others.

    First they leave the manifest, then each is replaced, then they join it: a kill at any moment leaves a folder
    that :func:`check_folder` accepts.

    Raises:
        ArtifactError: ``folder`` has no readable manifest.
        UsageError: it cannot be written to.
    """
    manifest = load_json(folder / MANIFEST)
    kept = {name: digest for name, digest in manifest["files"].items() if name not in files and name not in remove}
    try:
        replace_file(folder / MANIFEST, json_bytes({**manifest, "files": kept}))
        for name in remove:
            (folder / name).unlink(missing_ok=True)
        for name, content in files.items():
            replace_file(folder / name, content)
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        replace_file(folder / MANIFEST, json_bytes({**manifest, "files": dict(sorted({**kept, **sums}.items()))}))
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written to ({error.strerror}).", hint="Copy the run to where you may write."
        ) from error


def replace_file(file: Path, content: bytes) -> None:
    """Write ``file`` so that a kill leaves the old one or the new one."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def check_folder(path: Path) -> dict[str, Any]:
    """The manifest of the run folder at ``path``, after every file in it was found to be as written.

    Raises:
        ArtifactError: no run folder, a missing or changed file, or a schema this version does not read.
    """
    manifest_file = path / MANIFEST
    if not path.is_dir() or not manifest_file.is_file():
        raise ArtifactError(f"{path} is not a run folder: it has no {MANIFEST}.", hint="Give the folder `fit` printed.")
    manifest = load_json(manifest_file)
    if manifest.get("schema") != SCHEMA:
        raise ArtifactError(
            f"{path} has schema {manifest.get('schema')!r}, this version reads {SCHEMA}.",
            hint="Fit again, or use the version that wrote it.",
        )
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise ArtifactError(f"{manifest_file} lists no files.", hint="The run is damaged: fit again.")
    for name, expected in files.items():
        file = path / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ArtifactError(f"{manifest_file} names {name!r}, outside the folder.", hint="Do not trust this run.")
        if not file.is_file():
            raise ArtifactError(f"{path} lacks {name}.", hint="The run is damaged: restore the file or fit again.")
        if sha256(file) != expected:
            raise ArtifactError(
                f"{file} is not as it was written (its SHA-256 differs).",
                hint="The run is damaged or was edited: restore the file or fit again.",
            )
    return manifest


def check_fit_folder(path: Path) -> dict[str, Any]:
    """The manifest of a fit's folder, see :func:`check_folder`.

    Raises:
        ArtifactError: it is damaged, or holds something else that the toolkit writes.
    """
    manifest = check_folder(path)
    if (kind := manifest.get("kind")) in OTHER_KINDS:
        what, hint = OTHER_KINDS[kind]
        raise ArtifactError(f"{path} holds {what}, no fitted model.", hint=hint)
    return manifest


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def dump_json(file: Path, document: Any) -> None:
    """Write JSON that any reader accepts: infinite and missing numbers become null."""
    file.write_bytes(json_bytes(document))


def json_bytes(document: Any) -> bytes:
    """What :func:`dump_json` writes."""
    return (json.dumps(plain(document), indent=2, allow_nan=False) + "\n").encode()


def load_json(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ArtifactError(f"{file} is not readable JSON ({error}).", hint="The run is damaged: fit again.") from error
    if not isinstance(document, dict):
        raise ArtifactError(f"{file} does not hold a JSON object.", hint="The run is damaged: fit again.")
    return document


def plain(value: Any) -> Any:
    """``value`` with numpy numbers, time stamps, paths and non-finite floats made plain JSON."""
    import math

    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, bool | str | int) or value is None:
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def records(frame: Any) -> list[dict[str, Any]]:
    """Rows of a data frame as JSON objects; stamps as ISO text."""
    out: list[dict[str, Any]] = plain(frame.astype(object).to_dict("records"))
    return out


def unused(path: Path) -> Path:
    """``path``, or with the first number behind its name that is not there yet."""
    free, count = path, 1
    while free.exists():
        count += 1
        free = path.with_name(f"{path.name}-{count}")
    return free


def _replace(temporary: Path, path: Path, overwrite: bool) -> None:
    """Put the finished folder in place; without ``overwrite`` never over one that appeared meanwhile."""
    if not overwrite:
        try:
            temporary.rename(path)  # fails on a folder that holds anything, and on a file
        except OSError as error:
            raise UsageError(
                f"{path} exists already: it appeared while this run was at work.", hint="Choose another --out."
            ) from error
        return
    if not path.exists():
        os.replace(temporary, path)
        return
    old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
    os.replace(path, old)
    os.replace(temporary, path)
    shutil.rmtree(old, ignore_errors=True)
