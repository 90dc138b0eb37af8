"""`python -m ipr_core` is `ipr`, also for launchers of several processes.

For example: `accelerate launch --num_processes 2 -m ipr_core train …`. The main process alone prints the results; each
process prints its own failure.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout

from ipr_core.cli import main

TOGETHER = ("train", "resume")
"""The commands that several processes can do together."""


def launched(argv: Sequence[str]) -> int:
    """Run the command line in one of several processes. returns: as `cli.main`"""
    if argv and argv[0] not in TOGETHER and not argv[0].startswith("-"):
        print(f"several processes can {' or '.join(TOGETHER)}; start `ipr {argv[0]}` without them", file=sys.stderr)
        return 2
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(sys.stdout if os.environ["RANK"] == "0" else nowhere):
            code = main(argv)
    except Exception:
        traceback.print_exc()
        code = 1
    if code == 0:
        from ipr_core.training import processes  # late, since it imports torch

        processes.leave()
    return code


if __name__ == "__main__":
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        sys.exit(main())
    code = launched(sys.argv[1:])
    if code:  # the other processes wait for this one, so it must not wait for them
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
