"""A JupyterLab on loopback and a page in headless Chromium."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

FLAGS = (
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-sync", "--disable-background-networking",
    "--disable-component-update", "--disable-dev-shm-usage", "--disable-default-apps", "--mute-audio",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
)  # fmt: skip
_IDLE = """() => {
    const session = window.jupyterapp?.shell.currentWidget?.sessionContext;
    return session?.isReady && session.session?.kernel?.status === 'idle';
}"""
SECONDS = 120  # that anything may take on a busy machine
FOLDERS = {
    "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "spaces", "IPYTHONDIR": "ipython",
}  # fmt: skip


def chromium() -> str:
    """Return Chromium's path; skip the test, with a message, if there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine; `apt-get install chromium` brings one")
    return path


@contextlib.contextmanager
def jupyter_lab(root: Path, **environment: str) -> Iterator[str]:
    """Start a JupyterLab with default settings that serves `root`; yield its address, {} for a notebook."""
    port, token = _free_port(), secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True) as home:
        quiet = Path(home, "settings", "@jupyterlab", "apputils-extension")
        quiet.mkdir(parents=True)
        (quiet / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
        command = [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}",
            f"--ServerApp.root_dir={root}", "--LabApp.expose_app_in_browser=True",
        ]  # fmt: skip
        folders = {name: f"{home}/{folder}" for name, folder in FOLDERS.items()}
        log = Path(home, "log")
        with log.open("w") as output:
            server = subprocess.Popen(command, env=os.environ | folders | environment, stdout=output, stderr=output)
        try:
            _wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", server, log)
            yield f"http://127.0.0.1:{port}/doc/tree/{{}}?token={token}&reset"
        finally:
            server.terminate()
            server.wait(30)


class Visit:
    """A notebook open in a page, and the browser's complaints."""

    def __init__(self, context, address: str, notebook: str):
        self.faults: list[str] = []
        self.hosts: set[str] = set()
        self.page = context.new_page()
        self.page.set_default_timeout(1000 * SECONDS)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname))
        self.page.goto(address.format(notebook))
        self.until_idle()

    def until_idle(self) -> None:
        """Wait until the kernel is ready and idle."""
        self.page.wait_for_function(_IDLE)

    def run_all(self) -> None:
        """Run all cells, and return when each has been sent to the kernel."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")

    def command(self, name: str) -> None:
        """Execute one of JupyterLab's own commands."""
        self.page.evaluate("(name) => window.jupyterapp.commands.execute(name)", name)

    def in_kernel(self, code: str) -> str:
        """Run code in the notebook's kernel, and return what it prints."""
        return self.page.evaluate(
            """async (code) => {
                const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const future = kernel.requestExecute({code, store_history: false});
                let text = '';
                future.onIOPub = (message) => {
                    if (message.header.msg_type === 'stream') text += message.content.text;
                    if (message.header.msg_type === 'error') text += message.content.evalue;
                };
                await future.done;
                return text.trim();
            }""",
            code,
        )

    def close(self) -> None:
        """End the notebook's kernel and the page."""
        with contextlib.suppress(Exception):
            self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.page.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + SECONDS
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"JupyterLab did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.2)
