"""A headless Chromium driven over its debugging pipe: what a page logs, asks for and looks like. No network.

Every request is recorded before it is made; all but ``file:``, ``data:`` and ``blob:`` would end at a closed
loopback port. Chromium comes from Debian (``apt-get install chromium``) or from ``$CHROMIUM``.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio",
    "--proxy-server=127.0.0.1:9", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 90.0


def chromium() -> str | None:
    """Path of a Chromium, if there is one."""
    return os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )


class Tab:
    """One page. ``logged``: errors and warnings of its console, ``requests``: addresses asked for, ``dialogs``."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser, self.session = browser, session
        self.logged: list[str] = []
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.loaded = False

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    def hear(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.logged.append(f"exception: {details.get('exception', {}).get('description', details['text'])}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.logged.append(f"{params['type']}: {[part.get('value') for part in params['args']]}")
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.logged.append(f"log: {params['entry']['text']}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(params["message"])
            self.browser.send("Page.handleJavaScriptDialog", self.session, accept=True)
        elif method == "Page.loadEventFired":
            self.loaded = True

    def open(self, address: str, width: int = 1400, height: int = 900, dark: bool = False) -> Tab:
        """Go to ``address`` and wait until it is loaded."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 720
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=address)
        self.browser.until(lambda: self.loaded)
        return self

    def js(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def screenshot(self, file: Path, *, whole: bool = True) -> None:
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        extra = {"captureBeyondViewport": True, "clip": clip} if whole else {}
        shot = self.call("Page.captureScreenshot", format="png", **extra)
        file.write_bytes(base64.b64decode(shot["data"]))


class Browser:
    """A Chromium process with an empty profile; :func:`browser` starts and ends one."""

    def __init__(self, read: int, write: int) -> None:
        self.read, self.write = read, write
        self.number, self.rest = 0, b""
        self.answers: dict[int, dict[str, Any]] = {}
        self.tabs: dict[str, Tab] = {}

    def tab(self) -> Tab:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.tabs[session] = Tab(self, session)
        return self.tabs[session]

    def send(self, method: str, session: str | None = None, **params: Any) -> int:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        text = json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        while text:
            text = text[os.write(self.write, text) :]
        return self.number

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        number = self.send(method, session, **params)
        self.until(lambda: number in self.answers)
        answer = self.answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def until(self, done: Any) -> None:
        """Read messages until ``done()``."""
        end = time.monotonic() + PATIENCE
        while not done():
            if not select.select([self.read], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError("chromium does not answer")
            got = os.read(self.read, 1 << 20)
            if not got:
                raise RuntimeError("chromium ended")
            *messages, self.rest = (self.rest + got).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self.answers[message["id"]] = message
                elif message.get("sessionId") in self.tabs:
                    self.tabs[message["sessionId"]].hear(message["method"], message["params"])


@contextmanager
def browser(program: str) -> Iterator[Browser]:
    """Start ``program``; the debugging pipe is its file descriptors 3 and 4."""
    out_read, out_write = os.pipe()
    in_read, in_write = os.pipe()
    # above 3 and 4, so that neither is overwritten before it is used
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (in_read, out_write)]
    os.close(in_read)
    os.close(out_write)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        plumbing = f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}'
        process = subprocess.Popen(
            ["bash", "-c", plumbing, "bash", *command], pass_fds=ends, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in ends:
            os.close(end)
        started = Browser(out_read, in_write)
        try:
            yield started
            started.send("Browser.close")
            process.wait(20)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(20)
            os.close(out_read)
            os.close(in_write)
