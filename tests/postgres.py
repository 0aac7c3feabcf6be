"""A PostgreSQL server of Debian's packages on loopback, for as long as a test module needs it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PASSWORD = "s3cret/word"


def binaries() -> Path | None:
    """Where ``initdb`` and ``pg_ctl`` are; Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    return found[0].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def server() -> Iterator[str]:
    """The URL of an empty database, with a password; the server is gone afterwards. It never runs as root."""
    place = binaries()
    if place is None:
        raise RuntimeError("no PostgreSQL server here")
    other: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    # a short path: the socket's name has to fit into 107 bytes; not under pytest's folder, which is private
    root = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        root.chmod(0o777)
        secret = root / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C"}

        def run(*command: str) -> None:
            done = subprocess.run(
                command, cwd=root, env=env, check=False, text=True, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if "start" not in command else subprocess.DEVNULL, stderr=subprocess.STDOUT,
                **other,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)} failed: {done.stdout}")

        data = root / "data"
        run(
            str(place / "initdb"), "-D", str(data), "-U", "joe", "--auth=scram-sha-256", f"--pwfile={secret}",
            "--no-sync", "-E", "UTF8",
        )  # fmt: skip
        options = f"-h 127.0.0.1 -p {port} -c unix_socket_directories='' -c fsync=off"
        run(str(place / "pg_ctl"), "-D", str(data), "-w", "-l", str(root / "log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg://joe:{PASSWORD.replace('/', '%2F')}@127.0.0.1:{port}/postgres"
        finally:
            run(str(place / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(root, ignore_errors=True)
