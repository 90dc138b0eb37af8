"""Two processes of one run that talk through gloo on loopback, as a launcher starts them."""

import multiprocessing
import os
import socket

import torch

from ipr_core.training import processes

LOOPBACK = {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
TWO = dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), "2")


def as_rank(rank: int, port: int, works) -> None:
    """What a launcher does for one of two processes."""
    os.environ |= LOOPBACK | TWO | {"MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    for work, arguments in works:
        work(*arguments)
    processes.leave()


def by_two(works) -> None:
    """Functions with their arguments, one after another in each of two processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ipr_core.training.advance", "accelerate"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = [context.Process(target=as_rank, args=(rank, port, works)) for rank in (0, 1)]
    for process in started:
        process.start()
    for process in started:
        process.join(200)
        process.kill()  # nothing where it has ended
    assert [process.exitcode for process in started] == [0, 0]
