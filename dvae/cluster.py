"""A cluster of Dask: of one's own on this machine, or one that runs already.

Slurm, Kubernetes and SSH clusters of Dask all give an address, `tcp://...`. The workers see the same folders.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dvae.errors import UserError

if TYPE_CHECKING:
    from distributed import Client

_LOSSES = 100  # of workers, that a task survives


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
    # absl shows what the root logger gets: every connection that is made would have a line.
    logging.getLogger("distributed").setLevel(logging.WARNING)
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
        LocalCluster(  # any free port: the usual one may be another cluster's
            n_workers=num_workers, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def wanted(*, scheduler: str | None, num_workers: int | None) -> Iterator[Client | None]:
    """`connected`, if either is given; else no client.

    Raises:
      UserError: both are given.
    """
    if scheduler is not None and num_workers is not None:
        raise UserError("give one of the two", scheduler=scheduler, num_workers=num_workers)
    if scheduler is None and num_workers is None:
        yield None
        return
    with connected(scheduler=scheduler, num_workers=num_workers or 1) as client:
        yield client
