"""Dask workers on this machine, at an address and in jobs: a dead one loses nothing, and all give the same."""

import os
import re
import signal
import subprocess
import sys
from time import monotonic, sleep

import nbformat
import nbformat.v4 as nb
import psutil
import pytest
import torch

from ipr_core import cli
from ipr_core.batch import cells, workers
from ipr_core.batch.plan import make_plan, run_plan, runs_of
from ipr_core.batch.workers import Job, Share, job_cluster, job_workers, local_workers, share, workers_at
from ipr_core.options import parse
from ipr_core.results import summary
from ipr_core.training.advance import train_all

SLOW = """\
from time import sleep
from ipr_core.config import from_notebook
from ipr_core.runs.events import EpochEnd
from ipr_core.training.advance import advance, prepare
run, data = prepare(from_notebook(globals()), runs)
run = advance(run, data, watch=lambda event: sleep(0.4 if isinstance(event, EpochEnd) else 0))"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """Return a notebook that trains, slowly enough to be killed meanwhile."""
    first = nb.new_code_cell("preset = 'recommended'\nruns = None", metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path_factory.mktemp("notebooks") / "train.ipynb"
    nbformat.write(nb.new_notebook(cells=[first, nb.new_code_cell(SLOW)], metadata={"kernelspec": kernel}), path)
    return path


@pytest.fixture(scope="module")
def options(frozen, notebook):
    """Return the options of three systems, ten epochs each."""
    settings = {name: value for name, value in frozen.settings().items() if name not in ("system", "seed")}
    settings |= {"epochs": 10, "corpus_path": "none"}
    return {"systems": ["ipr", "baseline", "supervised"], "notebooks": [str(notebook)], "settings": settings}


@pytest.fixture(scope="module")
def client():
    """Run three workers, as `--jobs 3` starts them."""
    with local_workers(3, share(3)) as client:
        yield client


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


def test_a_worker_is_killed_in_mid_run_and_the_table_is_the_same(client, options, plain, tmp_path):
    plan = make_plan(None, options, tmp_path, progress=False)
    processes = []

    def kill_one():
        first = cells.read_record(plan.cells[0].run)
        if not processes and first.status == "running" and plan.cells[0].run.epochs >= 3:
            processes.append(int(re.search(r"process (\d+)$", first.where)[1]))
            os.kill(processes[0], signal.SIGKILL)

    assert run_plan(plan, client, watch=kill_one) == []
    runs = runs_of(plan.grid, tmp_path)
    assert summary.summary(runs) == summary.summary(plain)
    assert all(run.labels.equals(plain_run.labels) for run, plain_run in zip(runs, plain, strict=True))
    records = [cells.read_record(run) for run in runs]
    assert [record.attempts for record in records] == [2, 1, 1]
    assert not records[0].where.endswith(f"process {processes[0]}")
    assert [bool(record.warm_up_of) for record in records] == [False, True, True]


def test_workers_at_an_address_do_the_same(client, options, plain, tmp_path, capsys):
    address = client.scheduler.address
    assert address.startswith("tcp://127.0.0.1:")
    plan = make_plan(None, options | {"systems": ["baseline"]}, tmp_path, progress=False)
    with workers_at(address) as second_client:
        assert run_plan(plan, second_client) == []
    assert runs_of(plan.grid, tmp_path)[0].labels.equals(plain[1].labels)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://1"])
def test_an_address_without_a_scheduler_is_refused(tmp_path, monkeypatch, capsys, address):
    monkeypatch.setattr(workers, "_CONNECT_TIMEOUT", "1s")
    argv = ["--preset", "demo", "--synthetic-size", "64", "--test-size", "12", "--runs", str(tmp_path)]
    assert cli.main(["batch", "--systems", "ipr", *argv, "--dask", address]) == 2
    assert f"no Dask scheduler answers at {address}" in capsys.readouterr().err


# Each worker's share.


def test_threads_and_memory_are_divided(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(16), raising=False)
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

        with cells._gpu(("4", "7")):
            gpu = os.environ["CUDA_VISIBLE_DEVICES"]
        return gpu, os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["OMP_NUM_THREADS"]

    addresses = client.scheduler_info()["workers"]
    futures = [client.submit(environment, workers=[address], pure=False) for address in addresses]
    threads = str(share(3).threads)
    assert sorted(future.result() for future in futures) == [
        ("4", None, threads),
        ("4", None, threads),
        ("7", None, threads),
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
        "    with local_workers(1, share(1)) as client:\n"
        "        import os\n        print(*client.run(os.getpid).values(), flush=True)\n        sleep(60)\n"
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


# Jobs.

JOB = Job("gpu", "emotion", "02:30:00", "16GB", 6, 1, "lo")


def script(system, job, logs):
    with job_cluster(system, job, logs) as cluster:
        return cluster.job_script()


def test_the_script_of_a_slurm_job(tmp_path):
    text = script("slurm", JOB, tmp_path)
    for line in ("-p gpu", "-A emotion", "-t 02:30:00", "--mem=15G", "--cpus-per-task=6", "--gres=gpu:1"):
        assert f"#SBATCH {line}\n" in text
    assert "export OMP_NUM_THREADS=6\n" in text
    assert f"{sys.executable} -m distributed.cli.dask_worker tcp://127.0.0.1:" in text
    assert "--nthreads 1 " in text
    assert "--memory-limit 0" in text


def test_the_script_of_a_pbs_job(tmp_path):
    text = script("pbs", JOB, tmp_path)
    for line in ("-q gpu", "-A emotion", "-l walltime=02:30:00", "-l select=1:ncpus=6:mem=16gb:ngpus=1"):
        assert f"#PBS {line}\n" in text
    assert "export OMP_NUM_THREADS=6\n" in text
    assert "--nthreads 1 " in text


@pytest.mark.parametrize("system", ["slurm", "pbs"])
def test_a_job_asks_for_no_gpu_or_account_that_nobody_named(system, tmp_path):
    text = script(system, Job(interface="lo"), tmp_path)
    lines = [line for line in text.splitlines() if line.startswith("#") and str(tmp_path) not in line]
    assert not [line for line in lines if "gpu" in line or re.search(r" -[AqpP] ", line)]


@pytest.mark.parametrize(("flag", "system"), [("--slurm", "slurm"), ("--pbs", "pbs")])
def test_the_command_line_asks_for_jobs(flag, system, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(workers, "job_workers", lambda *args: calls.append(args))
    argv = ["batch", "table3", flag, "--jobs", "4", "--partition", "gpu", "--walltime", "02:30:00", "--memory", "16GB"]
    resources = ["--gpus", "1", "--cores", "6", "--account", "emotion", "--interface", "lo"]
    cli._client(parse([*argv, *resources], {"batch": cli._batch}), tmp_path)
    assert calls == [(system, 4, JOB, tmp_path / "jobs")]


def _slurm():
    """Tell whether a SLURM answers here."""
    try:
        return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=20).stdout.strip() != b""
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


@pytest.mark.skipif(not _slurm(), reason="no SLURM answers here: sinfo shows no partition")
def test_a_small_batch_through_slurm(options, plain, tmp_path):
    """On one node, over loopback."""
    job = Job(walltime="00:10:00", memory="2GB", cores=1, interface="lo")
    plan = make_plan(None, options | {"systems": ["baseline"]}, tmp_path / "runs", progress=False)
    with job_workers("slurm", 1, job, tmp_path / "jobs") as client:
        assert run_plan(plan, client) == []
    (run,) = runs_of(plan.grid, tmp_path / "runs")
    assert run.labels.equals(plain[1].labels)
    assert list((tmp_path / "jobs").glob("*.err"))
