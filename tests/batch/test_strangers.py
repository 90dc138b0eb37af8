"""Who has no certificate can run nothing and read nothing, from this machine or another, while a batch goes on."""

import contextlib
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from distributed import Client
from distributed.security import Security

from helpers.batches import write_notebook
from ipr_core.batch import credentials, notebooks
from ipr_core.batch.workers import Job, job_workers, local_workers, share

RUN = """
import os, sys
from distributed import Client
from distributed.security import Security
address, file, *keys = sys.argv[1:]
attempts = [(address.replace("tls", "tcp"), Security()), (address, Security.temporary())]

def attempt(place, security):
    try:
        with Client(place, security=security, timeout="2s") as client:
            client.run_on_scheduler(lambda: open(file, "w").close())
    except OSError as error:
        return "refused"

attempt(*attempts[1])  # which imports all that there is to import
os.setgroups([]), os.setgid(65534), os.setuid(65534)
print(*(attempt(*pair) for pair in attempts))
"""
"""Another user's attempt to run something; its interpreter begins as root, since others may not be able to read it."""


@pytest.fixture(scope="module")
def batch():
    with local_workers(1, share(1)) as workers:
        yield workers


def addresses_of(batch):
    """Return the addresses of the scheduler, of every worker, and of its nanny."""
    info = batch.client.scheduler_info()["workers"]
    return [batch.client.scheduler.address, *info, *(worker["nanny"] for worker in info.values())]


def test_everything_speaks_tls(batch):
    assert all(address.startswith("tls://127.0.0.1:") for address in addresses_of(batch))


@pytest.mark.parametrize("security", [None, credentials.temporary()], ids=["none", "another one"])
def test_a_client_without_the_batchs_certificate_is_refused(batch, security):
    for address in addresses_of(batch):
        url = address if security else address.replace("tls://", "tcp://")
        with pytest.raises(OSError, match=r"[Tt]imed out|certificate|closed"):
            Client(url, security=security or Security(), timeout="2s")


PICKLE = b"cos\nsystem\n(S'touch %s'\ntR."
"""A pickle that runs a command where it is loaded."""


def test_bytes_of_a_stranger_run_nothing(batch, tmp_path):
    file = tmp_path / "touched"
    message = PICKLE % str(file).encode()
    frames = b"".join(len(part).to_bytes(8, "little") for part in (b"\1", message))
    for address in addresses_of(batch):
        host, port = address.removeprefix("tls://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(frames + message)
            connection.settimeout(2)
            with contextlib.suppress(OSError):  # it hangs up, or waits for more
                connection.recv(1)
    assert not file.exists()
    assert batch.client.submit(sum, [1, 2]).result() == 3  # the batch goes on


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_runs_nothing(batch, tmp_path):
    file = tmp_path / "touched"
    command = [sys.executable, "-c", RUN, batch.client.scheduler.address, str(file)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert process.stdout.split() == ["refused", "refused"], process.stderr
    assert not file.exists()


def test_on_this_machine_nobody_of_another_address_is_answered(batch):
    """Whoever comes from elsewhere meets no open port at all."""
    second = next((a.address for name in psutil.net_if_addrs().values() for a in name
                  if a.family == socket.AF_INET and not a.address.startswith("127.")), None)  # fmt: skip
    if second is None:
        pytest.skip("this machine has no other address")
    for address in addresses_of(batch):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((second, int(address.rpartition(":")[2])), timeout=2)


def test_the_pages_of_scheduler_and_worker_are_empty(batch):
    import urllib.error
    import urllib.request

    ports = {connection.laddr.port for process in (psutil.Process(), *psutil.Process().children(recursive=True))
             for connection in process.net_connections("tcp") if connection.status == psutil.CONN_LISTEN}  # fmt: skip
    tls = {int(address.rpartition(":")[2]) for address in addresses_of(batch)}
    for port in ports - tls:
        for page in ("", "status", "info/main/workers.html", "json/identity.json", "metrics"):
            with pytest.raises((urllib.error.HTTPError, OSError)):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=3)


def test_keys_of_jobs_are_this_users_alone_and_go_with_the_batch(tmp_path, monkeypatch):
    from ipr_core.batch import jobs

    folders = []

    def start(self):
        folders.append(self._folder)
        for path in (self._folder, *self._folder.glob("*.pem")):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        assert len(list(self._folder.glob("*.pem"))) == 3

    monkeypatch.setattr(jobs.Jobs, "start", start)
    with job_workers("slurm", 1, Job(), tmp_path) as workers:
        assert workers.client.scheduler.address.startswith("tls://")
        assert "0.0.0.0" not in workers.client.scheduler.address
    assert not folders[0].exists()


def test_a_kernel_listens_on_a_socket_file_that_this_user_alone_can_reach(tmp_path):
    with notebooks.kernel(tmp_path / "kernel.log") as kernel:
        assert kernel.transport == "ipc"
        connection = os.path.dirname(kernel.connection_file)
        assert stat.S_IMODE(os.stat(connection).st_mode) & 0o077 == 0
        assert stat.S_IMODE(os.stat(kernel.connection_file).st_mode) == 0o600
        assert kernel.ip.startswith(connection)


def test_a_kernel_for_one_notebook_alone_does_so_too(tmp_path):
    check = "import sys, json, IPython\nprint(json.load(open(sys.argv[sys.argv.index('-f') + 1]))['transport'])"
    copy = notebooks.execute(Path(write_notebook(tmp_path / "one.ipynb", check)), tmp_path / "copy.ipynb", {})
    assert '"ipc\\n"' in copy.read_text("utf-8")
