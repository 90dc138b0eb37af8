"""Workers in jobs of SLURM and PBS: their scripts, refusals in the system's words, and jobs that end too early."""

import itertools
import os
import re
import subprocess
import sys
from time import monotonic

import pytest

from helpers.batches import plan_of
from helpers.queues import CANCELS, LISTS, SUBMITS, put_commands
from ipr_core import cli
from ipr_core.batch import commands, credentials, jobs, workers
from ipr_core.batch.jobs import SYSTEMS, Job, Jobs, WorkersError
from ipr_core.batch.plan import run_plan, runs_of
from ipr_core.batch.workers import job_workers
from ipr_core.cli import batches
from ipr_core.options import parse

JOB = Job("gpu", "emotion", "02:30:00", "16GB", 6, 1, "lo")


@pytest.fixture
def empty_path(tmp_path, monkeypatch):
    """Leave no command on the path but those that a test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


# Scripts.


@pytest.fixture(scope="module")
def security(tmp_path_factory):
    return credentials.for_workers(credentials.temporary(), tmp_path_factory.mktemp("keys"))


def script(system, job, logs, security):
    return jobs.script(SYSTEMS[system], job, logs, "tls://127.0.0.1:9", "ipr-1", security, logs / "ipr-1.end")


def test_the_script_of_a_slurm_job(tmp_path, security):
    text = script("slurm", JOB, tmp_path, security)
    for line in ("-p gpu", "-A emotion", "-t 02:30:00", "--mem=15G", "--cpus-per-task=6", "--gres=gpu:1"):
        assert f"#SBATCH {line}\n" in text
    assert "export OMP_NUM_THREADS=6\n" in text
    assert f"{sys.executable} -m distributed.cli.dask_worker tls://127.0.0.1:9" in text
    assert "--nthreads 1 " in text
    assert "--memory-limit 0" in text
    assert f"--tls-key {security.tls_worker_key}" in text


def test_the_script_of_a_pbs_job(tmp_path, security):
    text = script("pbs", JOB, tmp_path, security)
    for line in ("-q gpu", "-A emotion", "-l walltime=02:30:00", "-l select=1:ncpus=6:mem=16gb:ngpus=1"):
        assert f"#PBS {line}\n" in text
    assert "export OMP_NUM_THREADS=6\n" in text
    assert "--nthreads 1 " in text


@pytest.mark.parametrize("system", ["slurm", "pbs"])
def test_a_job_asks_for_no_gpu_or_account_that_nobody_named(system, tmp_path, security):
    text = script(system, Job(interface="lo"), tmp_path, security)
    lines = [line for line in text.splitlines() if line.startswith("#") and str(tmp_path) not in line]
    assert not [line for line in lines if "gpu" in line or re.search(r" -[AqpP] ", line)]


@pytest.mark.parametrize(("flag", "system"), [("--slurm", "slurm"), ("--pbs", "pbs")])
def test_the_command_line_asks_for_jobs(flag, system, options, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(workers, "job_workers", lambda *args: calls.append(args))
    argv = ["batch", "table3", flag, "--jobs", "4", "--partition", "gpu", "--walltime", "02:30:00", "--memory", "16GB"]
    resources = ["--gpus", "1", "--cores", "6", "--account", "emotion", "--interface", "lo"]
    plan = plan_of(options, tmp_path)
    args = parse([*argv, *resources], {"batch": batches.batch})
    batches.workers_of(args, len(plan.unfinished), plan.runs)
    assert calls == [(system, 2, JOB, tmp_path / "jobs")]  # no more jobs than cells


# Refusals, in the system's own words.

REFUSALS = {
    "partition": ("slurm", 'echo "sbatch: error: invalid partition specified: gpu" >&2; exit 1', "invalid partition"),
    "account": ("slurm", 'echo "Invalid account or account/partition combination" >&2; exit 1', "Invalid account or"),
    "on stdout": ("pbs", 'echo "qsub: Unknown queue MSG=no such queue"; exit 170', "code 170: qsub: Unknown queue"),
    "silent": ("slurm", "exit 3", "sbatch ended with code 3 and printed nothing"),
    "no number": ("slurm", 'echo "job is being looked at, 3 are before you"', "names none, but prints: job is being"),
    "nothing": ("pbs", "exit 0", "qsub names none, but prints: nothing"),
    "binary": ("slurm", r'printf "\377\376 no\n" >&2; exit 1', "�� no"),
}
COMMANDS = {"slurm": "sbatch", "pbs": "qsub"}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_system_that_takes_no_job_ends_the_batch_in_its_words(case, tmp_path, monkeypatch):
    system, text, words = REFUSALS[case]
    put_commands(tmp_path / "bin", monkeypatch, **{COMMANDS[system]: text})
    with pytest.raises(WorkersError, match=re.escape(words)), job_workers(system, 2, Job(interface="lo"), tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]  # no key is left


def test_a_refusal_is_exit_code_1_and_no_run_is_begun(tmp_path, monkeypatch, capsys):
    put_commands(tmp_path / "bin", monkeypatch, qsub='echo "qsub: Job violates queue limits" >&2; exit 188')
    small = ["--preset", "demo", "--synthetic-size", "64", "--test-size", "12", "--pbs", "--interface", "lo"]
    assert cli.main(["batch", "--systems", "ipr", *small, "--runs", str(tmp_path / "runs")]) == 1
    message = capsys.readouterr().err
    assert "PBS takes no job: qsub ended with code 188: qsub: Job violates queue limits" in message
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["jobs"]


def test_a_missing_command_is_named(tmp_path, empty_path):
    with pytest.raises(WorkersError, match="SLURM takes no job: sbatch is not installed here"):
        fake_jobs(tmp_path).start()


def test_a_command_that_cannot_be_run_is_named(tmp_path, empty_path, monkeypatch):
    folder = put_commands(tmp_path / "bin", monkeypatch, sbatch="exit 0")
    (folder / "sbatch").write_bytes(b"\x7fELF of another machine")
    with pytest.raises(WorkersError, match="sbatch cannot be run: Exec format error"):
        fake_jobs(tmp_path).start()
    (folder / "sbatch").chmod(0o644)
    with pytest.raises(WorkersError, match="sbatch cannot be run: Permission denied"):
        fake_jobs(tmp_path).start()


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "TIMEOUT", 0.5)
    put_commands(tmp_path / "bin", monkeypatch, sbatch="echo connecting; sleep 1234 & sleep 1234")
    start = monotonic()
    with pytest.raises(WorkersError, match="sbatch did not end within 0 s: connecting"):
        fake_jobs(tmp_path).start()
    assert monotonic() - start < 10
    assert "sleep 1234" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout


def test_a_command_that_leaves_a_process_in_the_background_is_not_waited_for(tmp_path, monkeypatch):
    put_commands(tmp_path / "bin", monkeypatch, sbatch="sleep 30 & echo Submitted batch job 7")
    start = monotonic()
    fake_jobs(tmp_path).start()
    assert monotonic() - start < 10


def test_an_interface_that_this_machine_does_not_have_is_refused(tmp_path):
    with (
        pytest.raises(workers.RunError, match="--interface is ib7, which this machine does not have"),
        job_workers("slurm", 1, Job(interface="ib7"), tmp_path),
    ):
        pass


# Jobs that end, wait, or are lost. Time is a number here.


@pytest.fixture
def clock(monkeypatch):
    """Return a function: seconds → the time is later by so many."""
    now = [0.0]
    monkeypatch.setattr(jobs, "monotonic", lambda: now[0])

    def later(seconds):
        now[0] += seconds

    return later


def fake_jobs(folder, count=1, system="slurm"):
    """Return jobs whose script is empty and whose workers never come."""
    logs = folder / "jobs"
    logs.mkdir(exist_ok=True)
    return Jobs(SYSTEMS[system], count, lambda worker, end: "", set, folder, logs)


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """Return a function: what commands answer → those that were run, each a list of words; jobs are numbered from 1."""

    def answer(listing, refusal=None):
        calls, numbers = [], itertools.count(1)

        def run(words, timeout=None):
            calls.append([os.path.basename(word) for word in words])
            if words[0] in ("sbatch", "qsub"):
                if refusal and len([call for call in calls if call[0] == words[0]]) > 1:
                    raise commands.CommandError(refusal)
                return f"Submitted batch job {next(numbers)}" if words[0] == "sbatch" else f"{next(numbers)}.server"
            if words[0] in ("squeue", "qstat"):
                if isinstance(listing, Exception):
                    raise listing
                return listing
            return ""

        monkeypatch.setattr(commands, "run", run)
        return calls

    return answer


def look(batch, clock, seconds, times):
    """Look after the jobs several times, with so many seconds in between."""
    for _ in range(times):
        clock(seconds)
        batch.check()


def submissions(calls):
    return sum(call[0] in ("sbatch", "qsub") for call in calls)


def test_jobs_that_end_before_their_worker_comes_end_the_batch_after_three_tries(queue, clock, tmp_path):
    calls = queue(listing="")
    batch = fake_jobs(tmp_path, count=2)
    batch.start()
    (tmp_path / "jobs" / "dask-worker-6.err").write_text("one\n/bad/python: No such file or directory\n")
    with pytest.raises(WorkersError, match=r"3 times in a row; job 6 ended.*\n.*\n/bad/python: No such file"):
        look(batch, clock, 6, times=100)
    assert submissions(calls) == 6


def test_the_exit_code_that_a_job_notes_ends_it_before_the_queue_does(queue, clock, tmp_path):
    queue(listing="1 RUNNING main\n2 RUNNING main\n3 RUNNING main")
    batch = fake_jobs(tmp_path)
    batch.start()
    for number in range(1, 4):
        (tmp_path / f"ipr-{number}.end").write_text("127\n")
    with pytest.raises(WorkersError, match="job 3 ended with code 127 and left no log in"):
        look(batch, clock, 6, times=4)


@pytest.mark.parametrize(
    "listing", ["1 PENDING main", "1 CONFIGURING main", commands.CommandError("squeue: no answer")]
)
def test_a_job_that_waits_is_no_failure_however_long(queue, clock, tmp_path, listing):
    calls = queue(listing)
    batch = fake_jobs(tmp_path)
    batch.start()
    look(batch, clock, 600, times=50)
    assert submissions(calls) == 1


@pytest.mark.parametrize("state", ["C", "F"])
def test_a_pbs_job_that_is_listed_as_ended_has_ended(queue, clock, tmp_path, state):
    table = "Job id  Name  User  Time Use S Queue\n------- ----- ----- -------- - -----\n"
    calls = queue(listing=f"{table}1.server  dask  me  0 {state} batch\n2.server dask me 0 Q batch")
    batch = fake_jobs(tmp_path, system="pbs")
    batch.start()
    look(batch, clock, 60, times=20)
    assert submissions(calls) == 2


def test_where_nothing_lists_the_queue_a_job_has_two_minutes_to_begin(queue, clock, tmp_path):
    queue(commands.CommandMissingError("squeue is not installed here"))
    batch = fake_jobs(tmp_path)
    batch.start()
    clock(100)
    batch.check()
    with pytest.raises(WorkersError, match="before their worker comes"):
        look(batch, clock, 130, times=3)


def test_a_worker_that_came_makes_up_for_those_that_did_not(queue, clock, tmp_path):
    calls, connected = queue(listing=""), set()
    batch = fake_jobs(tmp_path)
    batch._workers = lambda: set(connected)
    batch.start()
    for name in ("ipr-2", "ipr-4", "ipr-6", "ipr-8"):
        look(batch, clock, 20, times=1)  # the job before has ended early
        connected.add(name)
        look(batch, clock, 20, times=1)
        connected.clear()
        look(batch, clock, 20, times=1)
    assert submissions(calls) == 9


def test_a_worker_that_is_lost_without_its_job_is_replaced(queue, clock, tmp_path):
    calls = queue(listing="1 RUNNING main\n2 RUNNING main")
    batch = fake_jobs(tmp_path)
    batch._workers = lambda: {"ipr-1"}
    batch.start()
    clock(6)
    batch.check()
    batch._workers = lambda: set()
    clock(30)
    batch.check()
    assert submissions(calls) == 1
    clock(60)
    batch.check()
    assert submissions(calls) == 2
    assert ["scancel", "1"] in calls


def test_fewer_jobs_than_asked_for_are_enough(queue, clock, tmp_path, caplog):
    calls = queue("1 RUNNING main", refusal="sbatch: error: QOSMaxSubmitJobPerUserLimit")
    batch = fake_jobs(tmp_path, count=3)
    batch.start()
    look(batch, clock, 6, times=10)
    assert "QOSMaxSubmitJobPerUserLimit" in caplog.text
    assert submissions(calls) == 3  # the job, its refused neighbour, and one more try after a minute


def test_every_job_is_cancelled_at_the_end(queue, tmp_path):
    calls = queue("")
    batch = fake_jobs(tmp_path, count=2)
    batch.start()
    batch.cancel()
    assert calls[-1] == ["scancel", "1", "2"]


# Whole batches in jobs.


def test_a_small_batch_in_jobs_that_this_machine_runs(options, data, tmp_path, monkeypatch):
    put_commands(tmp_path / "my bin", monkeypatch, sbatch=SUBMITS, squeue=LISTS, scancel=CANCELS)
    plan = plan_of(options | {"systems": ["baseline"]}, tmp_path / "my runs")
    with job_workers("slurm", 1, Job(cores=1, interface="lo"), tmp_path / "my runs" / "jobs") as slurm:
        assert run_plan(plan, slurm) == []
    assert [run.finished for run in runs_of(plan.grid, plan.runs)] == [True]
    assert list((tmp_path / "my runs" / "jobs").iterdir()) == []


def test_jobs_whose_script_fails_end_the_batch(options, tmp_path, monkeypatch):
    bad = SUBMITS.replace(
        'nohup sh "$1"', 'sed -i "s|^/.* -m distributed|/no/python -m distributed|" "$1"; nohup sh "$1"'
    )
    put_commands(tmp_path / "bin", monkeypatch, sbatch=bad, squeue=LISTS, scancel=CANCELS)
    monkeypatch.setattr(jobs, "LOOK_SECONDS", 0.2)
    plan = plan_of(options, tmp_path / "runs")
    with (
        pytest.raises(WorkersError, match="ended with code 127"),
        job_workers("slurm", 1, Job(interface="lo"), tmp_path / "jobs") as slurm,
    ):
        run_plan(plan, slurm)


def _slurm():
    """Tell whether a SLURM answers here."""
    try:
        return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=20).stdout.strip() != b""
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


@pytest.mark.skipif(not _slurm(), reason="no SLURM answers here: sinfo shows no partition")
def test_a_small_batch_through_slurm(options, data, tmp_path):
    """On one node, over loopback."""
    job = Job(walltime="00:10:00", memory="2GB", cores=1, interface="lo")
    plan = plan_of(options | {"systems": ["baseline"]}, tmp_path / "runs")
    with job_workers("slurm", 1, job, tmp_path / "jobs") as slurm:
        assert run_plan(plan, slurm) == []
    assert [run.finished for run in runs_of(plan.grid, plan.runs)] == [True]
    assert list((tmp_path / "jobs").glob("*.err"))
