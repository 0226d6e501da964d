"""A pool that is shut down ends at once, whatever is still on its way to a worker."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import time
from parplan.plugins.executors.processes import Processes

pool = Processes().create(2)
for _ in range(2):
    pool.submit(time.sleep, 600)
for _ in range(4):
    pool.submit(len, bytes(5_000_000))  # more than a pipe holds
time.sleep(1)
pool.shutdown(wait=False, cancel_futures=True)
"""


def test_what_no_worker_has_read_does_not_keep_the_program_waiting() -> None:
    """Before Python 3.11.5 a pool whose workers were killed waited for its own queue for ever."""
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)
