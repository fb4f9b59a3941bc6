"""Runs on as many machines as there are, by Dask.

A cluster of one's own on this machine, or one that runs already (`tcp://...`), whose workers see the same folders. A
run whose worker is lost is begun again on another, where it continues from its last checkpoint; so does a whole sweep
that was interrupted.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import tqdm

from dvae.errors import UserError
from dvae.tables.jobs import work
from dvae.tables.plan import Run

if TYPE_CHECKING:
    from distributed import Client, Future

_LOSSES = 100  # of workers, that a run survives
_LOOK_EVERY = 2.0  # seconds


@contextlib.contextmanager
def connected(*, scheduler: str | None, num_workers: int) -> Iterator[Client]:
    """A client of a cluster that runs, or of one on this machine for as long as this lasts.

    Raises:
      UserError: Dask is not installed, or no scheduler answers there.
    """
    try:
        import dask  # noqa: PLC0415
        from distributed import Client, LocalCluster  # noqa: PLC0415
    except ImportError as error:
        raise UserError("several workers need Dask: pip install 'discrete-vae[cluster]'") from error
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout="20s")
        except (OSError, ValueError) as error:
            raise UserError(f"no scheduler answers there ({error})", scheduler=scheduler) from error
        with client:
            yield client
        return
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": _LOSSES}),
        LocalCluster(n_workers=num_workers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


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
    with tqdm.tqdm(total=total, desc=f"{len(runs)} runs", unit=" steps") as bar:
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
