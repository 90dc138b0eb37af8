"""Dask workers: on this machine, at an address and in jobs; one that dies loses nothing, and all give the same."""

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
from ipr_core.batch import cells
from ipr_core.batch import plan as batch
from ipr_core.batch import workers as cluster
from ipr_core.results import summary
from ipr_core.training.advance import train_all

SLOW = """\
from time import sleep
from ipr_core.config import from_notebook
from ipr_core.events import EpochEnd
from ipr_core.runner import advance, prepare
run, data = prepare(from_notebook(globals()), runs)
run = advance(run, data, watch=lambda event: sleep(0.4 if isinstance(event, EpochEnd) else 0))"""


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """A notebook that trains, slowly enough to be killed meanwhile."""
    first = nb.new_code_cell("preset = 'recommended'\nruns = None", metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path_factory.mktemp("notebooks") / "train.ipynb"
    nbformat.write(nb.new_notebook(cells=[first, nb.new_code_cell(SLOW)], metadata={"kernelspec": kernel}), path)
    return path


@pytest.fixture(scope="module")
def asked(frozen, train):
    """Three systems, ten epochs each."""
    settings = {name: value for name, value in frozen.settings().items() if name not in ("system", "seed")}
    settings |= {"epochs": 10, "corpus_path": "none"}
    return {"systems": ["ipr", "baseline", "supervised"], "notebooks": [str(train)], "settings": settings}


@pytest.fixture(scope="module")
def workers():
    """Three of them, as `--jobs 3` starts them."""
    with cluster.here(3, cluster.share(3)) as client:
        yield client


@pytest.fixture(scope="module")
def alone(asked, tmp_path_factory):
    """The same runs, trained one after the other in this process."""
    place = tmp_path_factory.mktemp("alone")
    plan = batch.plan(None, asked, place, progress=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(cluster.share(3).threads)  # as a worker has: their number decides how sums are rounded
    try:
        return train_all([cell.config for cell in plan.grid.cells], place, progress=False)
    finally:
        torch.set_num_threads(threads)


def test_a_worker_is_killed_in_mid_run_and_the_table_is_the_same(workers, asked, alone, tmp_path):
    plan = batch.plan(None, asked, tmp_path, progress=False)
    killed = []

    def kill_one():
        first = cells.record(plan.todo[0].run)
        if not killed and first.status == "running" and plan.todo[0].run.epochs >= 3:
            killed.append(int(re.search(r"process (\d+)$", first.where)[1]))
            os.kill(killed[0], signal.SIGKILL)

    assert batch.run(plan, workers, watch=kill_one) == []
    runs = batch.runs_of(plan.grid, tmp_path)
    assert summary.summary(runs) == summary.summary(alone)
    assert all(run.labels.equals(other.labels) for run, other in zip(runs, alone, strict=True))
    records = [cells.record(run) for run in runs]
    assert [each.attempts for each in records] == [2, 1, 1]
    assert not records[0].where.endswith(f"process {killed[0]}")
    assert [bool(each.warm_up_of) for each in records] == [False, True, True]


def test_workers_at_an_address_do_the_same(workers, asked, alone, tmp_path, capsys):
    address = workers.scheduler.address
    assert address.startswith("tcp://127.0.0.1:")
    plan = batch.plan(None, asked | {"systems": ["baseline"]}, tmp_path, progress=False)
    with cluster.at(address) as client:
        assert batch.run(plan, client) == []
    assert batch.runs_of(plan.grid, tmp_path)[0].labels.equals(alone[1].labels)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://1"])
def test_an_address_where_nobody_is(tmp_path, monkeypatch, capsys, address):
    monkeypatch.setattr(cluster, "_REACHED", "1s")
    argv = ["--preset", "demo", "--synthetic-size", "64", "--test-size", "12", "--runs", str(tmp_path)]
    assert cli.main(["batch", "--systems", "ipr", *argv, "--dask", address]) == 2
    assert f"no Dask scheduler answers at {address}" in capsys.readouterr().err


# What each worker has.


def test_threads_and_memory_are_divided(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(16), raising=False)
    whole, third = cluster.share(1), cluster.share(3)
    assert (whole.threads, third.threads, cluster.share(40).threads) == (16, 5, 1)
    assert third.memory_gb == pytest.approx(whole.memory_gb / 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert cluster.share(3).threads == 2
    assert str(cluster.Share(2, 4.0)) == "2 threads, about 4.0 GB of memory each"


def test_one_gpu_is_shared_and_of_several_each_worker_has_one(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for count, gpus in ((0, ()), (1, ()), (3, ("0", "1", "2"))):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert cluster.share(2).gpus == gpus
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert cluster.share(2).gpus == ("2", "5")


def test_a_worker_has_its_threads_and_its_gpu(workers):
    def seen():
        import os

        from ipr_core.batch import cells

        with cells._gpu(("4", "7")):
            inside = os.environ["CUDA_VISIBLE_DEVICES"]
        return inside, os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["OMP_NUM_THREADS"]

    found = [workers.submit(seen, workers=[one], pure=False) for one in workers.scheduler_info()["workers"]]
    threads = str(cluster.share(3).threads)
    assert sorted(future.result() for future in found) == [
        ("4", None, threads),
        ("4", None, threads),
        ("7", None, threads),
    ]


def test_everything_listens_on_loopback(workers):
    own = psutil.Process()
    found = [c for one in (own, *own.children(recursive=True)) for c in one.net_connections("tcp")]
    listening = [connection.laddr for connection in found if connection.status == psutil.CONN_LISTEN]
    assert len(listening) >= 4  # a scheduler and three workers
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_workers_end_with_the_process_that_started_them(tmp_path):
    """Killed, it can end nothing itself."""
    code = (
        "import sys\nfrom time import sleep\nfrom ipr_core import cluster\n"
        "if __name__ == '__main__':\n"
        "    with cluster.here(1, cluster.share(1)) as client:\n"
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

JOB = cluster.Job("gpu", "emotion", "02:30:00", "16GB", 6, 1, "lo")


def script(system, job, logs):
    with cluster.job_cluster(system, job, logs) as made:
        return made.job_script()


def test_the_script_of_a_slurm_job(tmp_path):
    said = script("slurm", JOB, tmp_path)
    for line in ("-p gpu", "-A emotion", "-t 02:30:00", "--mem=15G", "--cpus-per-task=6", "--gres=gpu:1"):
        assert f"#SBATCH {line}\n" in said
    assert "export OMP_NUM_THREADS=6\n" in said
    assert f"{sys.executable} -m distributed.cli.dask_worker tcp://127.0.0.1:" in said
    assert "--nthreads 1 " in said
    assert "--memory-limit 0" in said


def test_the_script_of_a_pbs_job(tmp_path):
    said = script("pbs", JOB, tmp_path)
    for line in ("-q gpu", "-A emotion", "-l walltime=02:30:00", "-l select=1:ncpus=6:mem=16gb:ngpus=1"):
        assert f"#PBS {line}\n" in said
    assert "export OMP_NUM_THREADS=6\n" in said
    assert "--nthreads 1 " in said


@pytest.mark.parametrize("system", ["slurm", "pbs"])
def test_a_job_asks_for_no_gpu_or_account_that_nobody_named(system, tmp_path):
    said = script(system, cluster.Job(interface="lo"), tmp_path)
    asked = [line for line in said.splitlines() if line.startswith("#") and str(tmp_path) not in line]
    assert not [line for line in asked if "gpu" in line or re.search(r" -[AqpP] ", line)]


@pytest.mark.parametrize(("flag", "system"), [("--slurm", "slurm"), ("--pbs", "pbs")])
def test_the_command_line_asks_for_jobs(flag, system, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(cluster, "queued", lambda *given: seen.append(given))
    argv = ["batch", "table3", flag, "--jobs", "4", "--partition", "gpu", "--walltime", "02:30:00", "--memory", "16GB"]
    more = ["--gpus", "1", "--cores", "6", "--account", "emotion", "--interface", "lo"]
    cli._client(cli._asked([*argv, *more]), tmp_path)
    assert seen == [(system, 4, JOB, tmp_path / "jobs")]


def _slurm():
    """Whether a SLURM answers here."""
    try:
        return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=20).stdout.strip() != b""
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


@pytest.mark.skipif(not _slurm(), reason="no SLURM answers here: sinfo shows no partition")
def test_a_small_batch_through_slurm(asked, alone, tmp_path):
    """On one node, over loopback."""
    job = cluster.Job(walltime="00:10:00", memory="2GB", cores=1, interface="lo")
    plan = batch.plan(None, asked | {"systems": ["baseline"]}, tmp_path / "runs", progress=False)
    with cluster.queued("slurm", 1, job, tmp_path / "jobs") as client:
        assert batch.run(plan, client) == []
    (run,) = batch.runs_of(plan.grid, tmp_path / "runs")
    assert run.labels.equals(alone[1].labels)
    assert list((tmp_path / "jobs").glob("*.err"))
