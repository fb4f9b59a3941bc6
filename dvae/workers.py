"""The processes of a training on several machines: who they are, by TF_CONFIG, and waiting until all are there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from dvae.errors import PeerError, UserError

_VARIABLE = "TF_CONFIG"
_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
_JOBS = ("chief", "worker")  # in TensorFlow's order: the first of them is the chief
# Seconds until all must be there; and from then on until TensorFlow has connected them.
_PATIENCE, _PATIENCE_CONNECTING = 600.0, 120


class Workers(NamedTuple):
    """Who takes part.

    Attributes:
      addresses: `host:port` of all, the chief's first.
      number: of this process among them.
    """

    addresses: tuple[str, ...]
    number: int

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes."""
        return self.number == 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Workers:
        """As `TF_CONFIG` says, in the form that TensorFlow documents.

        Raises:
          UserError: there is none, or it is not of that form.
        """
        try:
            described = json.loads(environment[_VARIABLE])
            cluster, task = described["cluster"], described["task"]
            addresses = {job: [str(address) for address in _listed(cluster.get(job, []))] for job in _JOBS}
            kind, index = task["type"], int(task["index"])
            if set(cluster) - set(_JOBS):
                raise _wrong(f"has a job of the kind {min(set(cluster) - set(_JOBS))!r}")
            if kind not in _JOBS or not 0 <= index < len(addresses[kind]):
                raise _wrong(f"has no address for task {index} of {kind!r}")
            named = (*addresses["chief"], *addresses["worker"])
            for address in named:
                _host_and_port(address)
            if len(set(named)) < len(named):
                raise _wrong("has one address twice")
        except KeyError as error:
            raise _wrong("is not set" if error.args == (_VARIABLE,) else f"has no {error}") from error
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, UserError):
                raise
            raise _wrong(f"is {environment[_VARIABLE][:100]!r}") from error
        return cls(named, index + (len(addresses["chief"]) if kind == "worker" else 0))

    def wait(self, say: Callable[[str], None], *, patience: float = _PATIENCE) -> None:
        """Until all others can be reached; they wait for this one at its address meanwhile.

        TensorFlow waits too, but for an hour, and so that no signal ends it.

        Args:
          say: told who is waited for.
          patience: seconds.

        Raises:
          PeerError: one has not come in time.
          UserError: another program is at this one's address.
        """
        end = time.monotonic() + patience
        missing = [address for number, address in enumerate(self.addresses) if number != self.number]
        has_said = False
        with _listening(self.addresses[self.number]):
            while missing := [address for address in missing if not _answers(address)]:
                if time.monotonic() > end:
                    raise PeerError(
                        f"{', '.join(missing)} did not come in {patience:.0f} s; start the job again",
                        strategy="multi_worker",
                    )
                if not has_said:
                    say(f"waiting for {len(missing)} other workers, {patience:.0f} s at the most: {', '.join(missing)}")
                has_said = True
                time.sleep(0.2)


@contextlib.contextmanager
def connecting() -> Iterator[None]:
    """Within it TensorFlow connects processes of which each has seen all others.

    If one is lost in these seconds, it would wait for an hour without letting any thread of Python run. So the system's
    own alarm ends the process (status 142) if it does not come out of it. It also takes SIGTERM for itself, which is
    given back to whom it was of.
    """
    handler = signal.getsignal(signal.SIGTERM)
    alarm = getattr(signal, "alarm", lambda _: None)  # Windows has none
    alarm(_PATIENCE_CONNECTING)
    try:
        yield
    finally:
        alarm(0)
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _wrong(what: str) -> UserError:
    return UserError(f"{_VARIABLE} {what}; it must be of the form {_EXAMPLE}", strategy="multi_worker")


def _listed(addresses: Any) -> list[Any]:
    if not isinstance(addresses, list):
        raise TypeError("must be a list")
    return addresses


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not 0 < int(port) < 2**16:
        raise ValueError("must be host:port")
    return host.strip("[]"), int(port)


def _answers(address: str) -> bool:
    try:
        socket.create_connection(_host_and_port(address), timeout=2).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _listening(address: str) -> Iterator[None]:
    """A socket at the port, which TensorFlow takes over afterwards."""
    _, port = _host_and_port(address)
    try:
        # The host may be this machine's name in another network: as TensorFlow, at all of its addresses.
        listener = socket.create_server(("", port))
    except OSError as error:
        raise UserError(
            f"port {port} of {address} cannot be had ({error.strerror})", strategy="multi_worker"
        ) from error
    with listener:
        yield
