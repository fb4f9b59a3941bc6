"""The order in which training sees the examples."""

import numpy as np

from dvae.errors import UserError


class BatchOrder:
    """Batches of distinct examples, in an order that is a pure function of (seed, epoch).

    Epoch e visits the examples in the permutation drawn with SeedSequence([seed, e]), in num_examples // batch_size
    batches; the remainder, another one in every epoch, is dropped. No batch holds an example twice, which the table of
    persistent chains relies on, and a resumed run sees the batches that an unbroken one would have seen.
    """

    def __init__(self, *, num_examples: int, batch_size: int, seed: int):
        """Args: the number of training examples, the number in a batch, and the run's seed."""
        if batch_size < 1:
            raise UserError("must be at least 1", batch_size=batch_size)
        if batch_size > num_examples:
            raise UserError(f"must be at most the number of training examples ({num_examples})", batch_size=batch_size)
        if seed < 0:
            raise UserError("must be at least 0", seed=seed)
        self.num_examples = num_examples
        self.batch_size = batch_size
        self.seed = seed
        self._epoch = -1
        self._batches = np.empty((0, batch_size), np.int32)

    @property
    def batches_per_epoch(self) -> int:
        """The number of steps that an epoch takes."""
        return self.num_examples // self.batch_size

    def indices(self, first_step: int, num_steps: int) -> np.ndarray:
        """The examples of the steps first_step, ..., first_step + num_steps - 1, int32 [num_steps, batch_size]."""
        indices = np.empty((num_steps, self.batch_size), np.int32)
        done = 0
        while done < num_steps:
            epoch, first = divmod(first_step + done, self.batches_per_epoch)
            batches = self._batches_of(epoch)[first : first + num_steps - done]
            indices[done : done + len(batches)] = batches
            done += len(batches)
        return indices

    def _batches_of(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:  # only the last epoch used is kept
            generator = np.random.default_rng(np.random.SeedSequence([self.seed, epoch]))
            order = generator.permutation(self.num_examples)[: self.batches_per_epoch * self.batch_size]
            self._batches = order.astype(np.int32).reshape(self.batches_per_epoch, self.batch_size)
            self._epoch = epoch
        return self._batches
