"""Runs on as many machines as there are.

One whose worker is lost is begun again on another, where it continues from its last checkpoint; so does a whole sweep
that was interrupted.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dvae.bars import progress_bar
from dvae.tables.jobs import work
from dvae.tables.plan import Run

if TYPE_CHECKING:
    from distributed import Client, Future

_LOOK_EVERY = 2.0  # seconds


def run_all(runs: Sequence[Run], client: Client, *, say: Callable[[str], None] = print) -> dict[str, str]:
    """Trains and evaluates what is not finished.

    Args:
      runs: each has a folder of its own, which every worker sees.
      client: of the cluster.
      say: told of every run that has finished or failed.

    Returns:
      The last line of each run that failed, by its name.
    """
    from distributed import wait  # noqa: PLC0415

    jobs = [run.job() for run in runs]
    futures: dict[Future, str] = {
        client.submit(work, job, key=f"{job.name}-{time.time_ns()}"): job.name for job in jobs if not job.is_done()
    }
    failed: dict[str, str] = {}
    total = sum(run.config.num_steps for run in runs)
    with progress_bar(total=total, desc=f"{len(runs)} runs", unit=" steps") as bar:
        while futures:
            with contextlib.suppress(TimeoutError):
                wait(list(futures), timeout=_LOOK_EVERY, return_when="FIRST_COMPLETED")
            for future in [future for future in futures if future.done()]:
                name = futures.pop(future)
                problem = future.exception()
                if problem is not None:
                    failed[name] = str(problem)
                bar.clear()
                say(f"{name}: {'failed: ' + failed[name] if name in failed else 'finished'}")
            bar.update(sum(run.steps_done() for run in runs) - bar.n)
    return failed
