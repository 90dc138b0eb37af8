"""Parts of a work on a CPU's cores."""

import os
import threading

import pytest
import torch

from ipr_core.training.cores import on_cores


@pytest.fixture
def three():
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


def test_every_part_is_worked_on_once():
    done = []
    on_cores(done.append, range(20))
    assert sorted(done) == list(range(20))


def test_a_part_has_one_torch_thread_and_the_caller_and_new_threads_keep_theirs(three):
    counts = []
    on_cores(lambda _: counts.append((torch.get_num_threads(), threading.get_ident())), range(9))
    assert {count for count, _ in counts} == {1}
    assert threading.get_ident() not in {thread for _, thread in counts}
    assert torch.get_num_threads() == 3
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [3]


def test_three_parts_are_worked_on_at_the_same_time(three):
    meeting = threading.Barrier(3)
    on_cores(lambda _: meeting.wait(timeout=20), range(3))  # breaks unless all three are there


def test_what_fails_in_a_part_is_told():
    with pytest.raises(ZeroDivisionError):
        on_cores(lambda part: 1 / part, [1, 0, 2])


def test_a_forked_process_has_threads_of_its_own():
    on_cores(lambda _: None, range(2))
    child = os.fork()
    if child == 0:
        threading.Timer(20, os._exit, (1,)).start()  # it would wait for threads that are not there
        on_cores(lambda _: None, range(2))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
