"""Dask workers on this machine: a dead one loses nothing, and all give the same."""

import os
import re
import signal
import subprocess
import sys
from time import monotonic, sleep

import psutil
import pytest
import torch

from helpers.batches import TRAIN, without_clock, write_notebook
from ipr_core.batch import cells
from ipr_core.batch.plan import make_plan, run_plan, runs_of
from ipr_core.batch.workers import Share, local_workers, share
from ipr_core.results import summary
from ipr_core.training.advance import train_all


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """Return a notebook that trains, slowly enough to be killed meanwhile."""
    return write_notebook(tmp_path_factory.mktemp("notebooks") / "train.ipynb", TRAIN.format(pause=0.4))


@pytest.fixture(scope="module")
def options(frozen, notebook):
    """Return the options of three systems, ten epochs each."""
    settings = {name: value for name, value in frozen.settings().items() if name not in ("system", "seed")}
    settings |= {"epochs": 10, "corpus_path": "none"}
    return {"systems": ["ipr", "baseline", "supervised"], "notebooks": [notebook], "settings": settings}


@pytest.fixture(scope="module")
def three():
    """Run three workers, as `--jobs 3` starts them."""
    with local_workers(3, share(3)) as workers:
        yield workers


@pytest.fixture(scope="module")
def client(three):
    """Return the batch's own client of three workers."""
    return three.client


@pytest.fixture(scope="module")
def plain(options, tmp_path_factory):
    """Train the same runs one after the other in this process."""
    folder = tmp_path_factory.mktemp("plain")
    plan = make_plan(None, options, folder, progress=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(share(3).threads)  # as a worker has: their number decides how sums are rounded
    try:
        return train_all([cell.config for cell in plan.grid.cells], folder, progress=False)
    finally:
        torch.set_num_threads(threads)


def test_a_worker_is_killed_in_mid_run_and_the_table_is_the_same(three, options, plain, tmp_path):
    plan = make_plan(None, options, tmp_path, progress=False)
    processes = []

    def kill_one():
        first = cells.read_record(plan.cells[0].run)
        if not processes and first.status == "running" and plan.cells[0].run.epochs >= 3:
            processes.append(int(re.search(r"process (\d+)$", first.where)[1]))
            os.kill(processes[0], signal.SIGKILL)

    assert run_plan(plan, three, watch=kill_one) == []
    runs = runs_of(plan.grid, tmp_path)
    assert without_clock(summary.summary(runs)) == without_clock(summary.summary(plain))
    assert all(run.labels.equals(plain_run.labels) for run, plain_run in zip(runs, plain, strict=True))
    records = [cells.read_record(run) for run in runs]
    assert [record.attempts for record in records] == [2, 1, 1]
    assert not records[0].where.endswith(f"process {processes[0]}")
    assert [bool(record.warm_up_of) for record in records] == [False, True, True]


# Each worker's share.


def test_threads_and_memory_are_divided(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("ipr_core.batch.workers.cores", lambda: 16)
    whole, third = share(1), share(3)
    assert (whole.threads, third.threads, share(40).threads) == (16, 5, 1)
    assert third.memory_gb == pytest.approx(whole.memory_gb / 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert share(3).threads == 2
    assert str(Share(2, 4.0)) == "2 threads, about 4.0 GB of memory each"


def test_one_gpu_is_shared_and_of_several_each_worker_has_one(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for count, gpus in ((0, ()), (1, ()), (3, ("0", "1", "2"))):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert share(2).gpus == gpus
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert share(2).gpus == ("2", "5")


def test_a_worker_has_its_threads_and_its_gpu(client):
    def environment():
        import os

        from ipr_core.batch import cells

        with cells.gpu(("4", "7")):
            gpu = os.environ["CUDA_VISIBLE_DEVICES"]
        return gpu, os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["OMP_NUM_THREADS"], os.environ["IPR_JOBS"]

    addresses = client.scheduler_info()["workers"]
    futures = [client.submit(environment, workers=[address], pure=False) for address in addresses]
    threads = str(share(3).threads)
    assert sorted(future.result() for future in futures) == [
        ("4", None, threads, "3"),
        ("4", None, threads, "3"),
        ("7", None, threads, "3"),
    ]


def test_everything_listens_on_loopback(client):
    parent = psutil.Process()
    processes = (parent, *parent.children(recursive=True))
    connections = [connection for process in processes for connection in process.net_connections("tcp")]
    listening = [connection.laddr for connection in connections if connection.status == psutil.CONN_LISTEN]
    assert len(listening) >= 4  # a scheduler and three workers
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_workers_end_with_the_process_that_started_them(tmp_path):
    """Killed, it can end nothing itself."""
    code = (
        "import sys\nfrom time import sleep\nfrom ipr_core.batch.workers import local_workers, share\n"
        "if __name__ == '__main__':\n"
        "    with local_workers(1, share(1)) as workers:\n"
        "        import os\n        print(*workers.client.run(os.getpid).values(), flush=True)\n        sleep(60)\n"
    )
    (tmp_path / "starts.py").write_text(code)
    process = subprocess.Popen([sys.executable, tmp_path / "starts.py"], stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    end = monotonic() + 20
    while _alive(worker) and monotonic() < end:
        sleep(0.1)
    assert not _alive(worker)


def _alive(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
