"""The replicas of a training: who has which rows of a batch, and how what each has found is put together.

Every replica has all of the state, and the same bits of it. In a step each differentiates its rows of the batch; then
one sum over all replicas makes the mean of gradients, moving averages and metrics, and the batch's chains; and each
updates its state with that. The numbers that an example draws are those it would draw on one device
(`samplers.random.RowsSeed`), and the prior's particles are drawn by every replica, the same everywhere: to move them
again costs less than to exchange them, and resampling is of all of them.

`tf.distribute` only carries: variables are TensorFlow's plain ones, made outside the scope of a strategy. No piece that
XLA compiles can have a reduction over CPUs in it, so reductions stand between pieces.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from dvae.errors import PeerError, UserError
from dvae.workers import Workers, connecting
from samplers.random import RowsSeed, Seed
from samplers.tracing import plain


class Replicas:
    """A single one: what it has found is all there is.

    Attributes:
      num: replicas, of all processes.
      devices: where those of this process compute; None for TensorFlow's choice.
      first: number of the first of them.
      is_chief: whether this process is the one that writes.
    """

    num: int = 1
    devices: Sequence[str | None] = (None,)
    first: int = 0
    is_chief: bool = True

    def check_batch(self, batch_size: int) -> None:
        """Raises `UserError` if a batch cannot be divided."""
        if batch_size % self.num:
            raise UserError(f"must be divisible by the number of replicas ({self.num})", batch_size=batch_size)
        if batch_size // self.num < 2:
            raise UserError(
                f"must be at least 2 for each replica ({2 * self.num} for {self.num})", batch_size=batch_size
            )

    @plain
    def rows(self, number: int, batch: tf.Tensor) -> tf.Tensor:
        """Those of a batch `[B, ...]` that are the local replica's of a number."""
        size = batch.shape[0] // self.num
        first = (self.first + number) * size
        return batch if self.num == 1 else batch[first : first + size]

    def seed(self, number: int, seed: tf.Tensor, batch_size: int) -> Seed:
        """Of a whole batch, for its `rows`."""
        return seed if self.num == 1 else RowsSeed(seed, (self.first + number) * (batch_size // self.num), batch_size)

    @plain
    def run(self, function: Callable[[int], Any]) -> list[Any]:
        """What a function of their numbers returns for the local replicas, each on its device."""
        return [function(0)]

    @plain
    def exchange(
        self, number: int, means: Sequence[tf.Tensor], rows: tf.Tensor
    ) -> tuple[Sequence[tf.Tensor], tf.Tensor]:
        """Within `run`: the means over all replicas of float32 tensors, and the rows of all.

        Args:
          number: of the replica.
          means: of the same shapes everywhere.
          rows: uint8 `[rows, ...]`.

        Returns:
          The same, `rows` as `[B, ...]`.
        """
        return means, rows

    def share(self, variables: Sequence[Sequence[tf.Variable]]) -> None:
        """Gives variables the values that the first replica's have.

        Args:
          variables: of every local replica, in the same order.
        """

    def agree(self, message: Sequence[int]) -> list[int]:
        """The sum of what all processes say; whoever comes first waits.

        Raises:
          PeerError: another process has ended.
        """
        return list(message)

    @contextlib.contextmanager
    def telling_of_peers(self) -> Iterator[None]:
        """Within it, that another process has ended is a `PeerError`, and not whatever TensorFlow makes of it."""
        yield


class ReplicasOfStrategy(Replicas):
    """Those of a `tf.distribute` strategy.

    Args:
      strategy: made before anything was asked of TensorFlow.
      first: number of the first replica of this process.
      is_chief: whether it is the first process.
    """

    def __init__(self, strategy: tf.distribute.Strategy, *, first: int = 0, is_chief: bool = True) -> None:
        self._strategy = strategy
        self.num = strategy.num_replicas_in_sync
        self.devices = strategy.extended.worker_devices
        self.first, self.is_chief = first, is_chief
        self._agree = tf.function(self._sum_of_processes, autograph=False)
        self._share = tf.function(self._from_the_first, autograph=False)

    @plain
    def run(self, function: Callable[[int], Any]) -> list[Any]:
        @plain
        def of_replica() -> Any:
            context = tf.distribute.get_replica_context()
            number = int(tf.get_static_value(context.replica_id_in_sync_group)) - self.first
            with tf.device(self.devices[number]):
                return function(number)

        found = self._strategy.run(of_replica)
        if len(self.devices) == 1:
            return [found]
        by_leaf = [self._strategy.experimental_local_results(leaf) for leaf in tf.nest.flatten(found)]
        return [tf.nest.pack_sequence_as(found, list(leaves)) for leaves in zip(*by_leaf, strict=True)]

    @plain
    def exchange(
        self, number: int, means: Sequence[tf.Tensor], rows: tf.Tensor
    ) -> tuple[Sequence[tf.Tensor], tf.Tensor]:
        # One vector: a reduction costs a round trip, however little is in it. Bytes are exact in float32, and so is
        # their sum with zeros.
        size = rows.shape[0]
        first = (self.first + number) * size
        others = [[first, self.num * size - first - size]] + [[0, 0]] * (rows.shape.rank - 1)
        placed = tf.pad(tf.cast(rows, tf.float32), others)
        sums = self._sums([*means, placed])
        return [total / self.num for total in sums[:-1]], tf.cast(sums[-1], tf.uint8)

    @plain
    def _sums(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Over all replicas, of tensors of one type; within `run`."""
        sizes = [math.prod(tensor.shape) for tensor in tensors]
        # The identity has a device, which TensorFlow asks for: within a loop of a graph a tensor may have none.
        vector = tf.identity(tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0))
        total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, vector)
        parts = zip(tf.split(total, sizes), tensors, strict=True)
        return [tf.reshape(part, tensor.shape) for part, tensor in parts]

    def share(self, variables: Sequence[Sequence[tf.Variable]]) -> None:
        with self.telling_of_peers():
            self._share([list(of_replica) for of_replica in variables])

    @plain
    def _from_the_first(self, variables: Sequence[Sequence[tf.Variable]]) -> None:
        def of_replica(number: int) -> list[tf.Tensor]:
            values = [_reducible(variable) for variable in variables[number]]
            if self.first + number:
                values = [tf.zeros_like(value) for value in values]
            found: dict[int, tf.Tensor] = {}
            for dtype in sorted({value.dtype for value in values}, key=lambda dtype: dtype.name):
                places = [place for place, value in enumerate(values) if value.dtype == dtype]
                found |= dict(zip(places, self._sums([values[place] for place in places]), strict=True))
            return [found[place] for place in range(len(values))]

        for device, of_device, values in zip(self.devices, variables, self.run(of_replica), strict=True):
            with tf.device(device):
                for variable, value in zip(of_device, values, strict=True):
                    variable.assign(tf.cast(value, variable.dtype))

    def agree(self, message: Sequence[int]) -> list[int]:
        if len(self.devices) == self.num:
            return list(message)
        with self.telling_of_peers():
            return self._agree(tf.constant(message)).numpy().tolist()

    @plain
    def _sum_of_processes(self, message: tf.Tensor) -> tf.Tensor:
        return self.run(lambda number: self._sums([tf.zeros_like(message) if number else message])[0])[0]

    @contextlib.contextmanager
    def telling_of_peers(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            if len(self.devices) == self.num or not isinstance(error, _LOST):
                raise
            raise PeerError("another worker has ended") from error


# What TensorFlow reports where a peer has gone.
_LOST = (
    tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError
)  # fmt: skip


def _reducible(variable: tf.Variable) -> tf.Tensor:
    """Its value, in a type that can be summed over processes."""
    value = tf.convert_to_tensor(variable)
    return tf.cast(value, tf.int32) if value.dtype in (tf.uint8, tf.bool, tf.uint32) else value


def mirrored(num_devices: int | None = None) -> Replicas:
    """All devices of this machine: its GPUs; where there is none, so many logical CPUs.

    Raises:
      UserError: there are not so many.
    """
    if gpus := tf.config.list_logical_devices("GPU") if tf.config.list_physical_devices("GPU") else []:
        if num_devices and num_devices > len(gpus):
            raise UserError(f"must be at most the number of GPUs ({len(gpus)})", num_devices=num_devices)
        names = [gpu.name for gpu in gpus[:num_devices]]
    else:
        names = _logical_cpus(num_devices)
    return ReplicasOfStrategy(tf.distribute.MirroredStrategy(names)) if len(names) > 1 else Replicas()


def _logical_cpus(num: int | None) -> list[str]:
    if num:
        [cpu] = tf.config.list_physical_devices("CPU")
        try:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * num)
        except RuntimeError:  # TensorFlow has been used before; perhaps there are as many already
            if len(tf.config.list_logical_devices("CPU")) < num:
                raise UserError(
                    "must be set before anything else uses TensorFlow in this process", num_devices=num
                ) from None
    return [device.name for device in tf.config.list_logical_devices("CPU")[:num]]


def multi_worker(workers: Workers) -> Replicas:
    """All devices of several processes, which must be waiting for each other now.

    Raises:
      UserError: TensorFlow has been used before.
    """
    if len(workers.addresses) == 1:
        return mirrored()
    try:
        with connecting():
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise UserError(
            f"must be chosen before anything else uses TensorFlow in this process ({error})", strategy="multi_worker"
        ) from error
    first = workers.number * len(strategy.extended.worker_devices)
    return ReplicasOfStrategy(strategy, first=first, is_chief=workers.is_chief)
