"""A Dask scheduler of the user's own: with a certificate and without, wrong addresses, and one that goes away."""

import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from time import sleep

import pytest

from helpers.batches import plan_of
from ipr_core import cli
from ipr_core.batch import addresses, credentials
from ipr_core.batch.addresses import Certificate
from ipr_core.batch.jobs import WorkersError
from ipr_core.batch.plan import run_plan, runs_of
from ipr_core.batch.workers import local_workers, share, workers_at
from ipr_core.runs.run import RunError


@pytest.fixture(autouse=True)
def short_wait(monkeypatch):
    monkeypatch.setattr(addresses, "_TIMEOUT", 2.0)


@pytest.fixture(scope="module")
def batch():
    """Run a worker as `--jobs 1` starts it."""
    with local_workers(1, share(1)) as workers:
        yield workers


@pytest.fixture
def certificate(batch, tmp_path):
    """Return the certificate of that worker's scheduler, in files."""
    return files_of(batch.client.security, tmp_path)


def files_of(security, folder):
    paths = [Path(folder) / name for name in ("ca.pem", "cert.pem", "key.pem")]
    config = security.get_tls_config_for_role("client")
    for path, name in zip(paths, ("ca_file", "cert", "key"), strict=True):
        path.write_text(config[name])
    return Certificate(*paths)


def test_a_small_batch_by_a_scheduler_that_asks_for_a_certificate(batch, certificate, options, data, tmp_path):
    plan = plan_of(options | {"systems": ["baseline"]}, tmp_path / "runs")
    with workers_at(batch.client.scheduler.address, certificate) as workers:
        assert run_plan(plan, workers) == []
    assert [run.finished for run in runs_of(plan.grid, plan.runs)] == [True]


def test_the_certificate_may_stand_in_dasks_configuration(batch, certificate):
    import dask

    files = {"ca-file": certificate.ca, "client.cert": certificate.cert, "client.key": certificate.key}
    settings = {f"distributed.comm.tls.{name}": str(path) for name, path in files.items()}
    with dask.config.set(settings), workers_at(batch.client.scheduler.address) as workers:
        assert workers.client.status == "running"


@pytest.mark.parametrize(
    "address", ["", "tcp://", "nonsense://1", "127.0.0.1", "tls://host:99999", "http://a:1", "a:b"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(RunError, match="it must be tls://HOST:PORT or tcp://HOST:PORT"), workers_at(address):
        pass


def test_an_address_where_nobody_listens_is_exit_code_2(tmp_path, capsys):
    argv = ["--preset", "demo", "--synthetic-size", "64", "--test-size", "12", "--runs", str(tmp_path)]
    assert cli.main(["batch", "--systems", "ipr", *argv, "--dask", "tcp://127.0.0.1:9"]) == 2
    message = capsys.readouterr().err
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in message
    assert "tcp://127.0.0.1:9 has no TLS: whoever reaches it can run programs" in message


@pytest.mark.parametrize("kind", ["silent", "pages", "greeting"])
def test_another_service_is_no_scheduler(kind):
    with (
        server(kind) as port,
        pytest.raises(RunError, match="no Dask scheduler answers"),
        workers_at(f"127.0.0.1:{port}"),
    ):
        pass


class server:
    """A service that is none of Dask's: it says nothing, or serves pages, or greets and hangs up."""

    def __init__(self, kind):
        self.kind = kind

    def __enter__(self):
        if self.kind == "pages":
            self.service = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
            threading.Thread(target=self.service.serve_forever, daemon=True).start()
            return self.service.server_port
        self.service = socket.create_server(("127.0.0.1", 0))
        if self.kind == "greeting":
            threading.Thread(target=self.greet, daemon=True).start()
        return self.service.getsockname()[1]

    def greet(self):
        connection, _ = self.service.accept()
        connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
        connection.close()

    def __exit__(self, *error):
        if self.kind == "pages":
            self.service.shutdown()
            self.service.server_close()
        else:
            self.service.close()


def test_a_worker_is_no_scheduler(batch, certificate):
    (worker,) = batch.client.scheduler_info()["workers"]
    with (
        pytest.raises(RunError, match="is a Dask worker; --dask must be the address of a scheduler"),
        workers_at(worker, certificate),
    ):
        pass


def test_a_certificate_that_is_missing_wrong_or_of_another_scheduler_is_refused(batch, certificate, tmp_path):
    address = batch.client.scheduler.address
    cases = {
        "give --tls-ca, --tls-cert and --tls-key": (address, None),
        "has no TLS, but a certificate is given": (address.replace("tls", "tcp"), certificate),
        "nowhere.pem cannot be read": (
            address,
            Certificate(tmp_path / "nowhere.pem", certificate.cert, certificate.key),
        ),
        "must be certificates in PEM format": (address, Certificate(certificate.key, certificate.key, certificate.key)),
        "TLS certificate does not match": (address, files_of(credentials.temporary(), tmp_path)),
    }
    for sentence, (url, files) in cases.items():
        with pytest.raises(RunError, match=sentence), workers_at(url, files):
            pass


def test_another_python_or_dask_is_refused_with_the_place():
    batch = {"host": {"python": "3.11.7.final.0"}, "packages": {"distributed": "2026.8.0"}}
    worker = {"host": {"python": "3.12.1.final.0"}, "packages": {"distributed": "2026.8.0"}}
    versions = {"client": batch, "scheduler": batch, "workers": {"tcp://a:1": batch, "tcp://b:1": worker}}
    assert list(addresses._differences(versions)) == [
        "the worker tcp://b:1 has Python 3.12, distributed 2026.8.0, the batch Python 3.11, distributed 2026.8.0"
    ]


def test_a_scheduler_that_dies_in_mid_batch_ends_it(options, tmp_path):
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    command += ["--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(tmp_path / "scheduler.json")]
    with open(tmp_path / "log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        address = wait_for_address(tmp_path / "scheduler.json")
        plan = plan_of(options, tmp_path / "runs")
        with pytest.raises(WorkersError, match="is gone; the same command continues"), workers_at(address) as workers:
            run_plan(plan, workers, watch=lambda: process.send_signal(signal.SIGKILL))


def wait_for_address(file, seconds=60):
    for _ in range(seconds * 10):
        if file.exists() and (text := file.read_text()):
            return json.loads(text)["address"]
        sleep(0.1)
    raise AssertionError("no scheduler came up")
