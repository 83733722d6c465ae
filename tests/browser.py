"""A real headless Chromium for the tests that need one, and real servers for it to visit."""

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# WebGL in software, which TensorBoard's charts need; and no calls to Google's hosts.
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
         "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync"]  # fmt: skip


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def serving(command: list[str], address: str, cwd: Path | None = None, env: dict | None = None) -> Iterator[str]:
    """Run a server until the block ends; the block begins when the address answers."""
    log = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=cwd, env=env, stdout=log, stderr=log) as server:
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(address, timeout=5).close()
                    break
                except OSError:
                    assert server.poll() is None, f"the server ended: {command}"
                    time.sleep(0.2)
            else:
                raise AssertionError(f"nothing answers at {address}")
            yield address
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


@contextmanager
def page(width: int = 1400, height: int = 900) -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_page(viewport={"width": width, "height": height})
        browser.close()
