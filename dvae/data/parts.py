"""What a source of data gives: a training split, and those of the others that it has; and examples set aside."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dvae.errors import UserError

SPLIT_SEED = 2020  # of which examples are set aside: the same for every run, so that runs can be compared


class Parts(NamedTuple):
    """Arrays as a source has them, not yet checked.

    Attributes:
      train, valid, test: examples; None where the source has no such split.
      source: what an error names.
    """

    train: np.ndarray
    valid: np.ndarray | None
    test: np.ndarray | None
    source: str

    def complete(self, *, valid_fraction: float | None, test_fraction: float | None) -> tuple[Parts, dict[str, float]]:
        """With the splits that are missing set aside from the training examples, and which those are, by name.

        The examples are drawn without replacement by `SPLIT_SEED`, first for the test, then for validation, each in
        the order that they had. A fraction is of all examples given for training; at least one example is taken.

        Raises:
          UserError: a split is missing and no fraction says how many to set aside, or none are left to train on.
        """
        fractions = {"test": test_fraction, "valid": valid_fraction}
        missing = {name: fraction for name, fraction in fractions.items() if getattr(self, name) is None}
        for name, fraction in missing.items():
            if fraction is None:
                setting = f"{name}_fraction"
                rule = f"{self.source}: has no {name} split; {{{setting}}} sets a tenth of the training examples aside"
                raise UserError(rule, mentions={setting: 0.1})
        if not missing:
            return self, {}
        train = self.train
        if train.ndim == 0:
            raise UserError(f"{self.source}: array train has shape (), must be [n, D], [n, H, W] or [n, H, W, 1]")
        order = np.random.default_rng(SPLIT_SEED).permutation(len(train))
        found: dict[str, np.ndarray] = {}
        for name, fraction in missing.items():
            num = max(1, round(float(fraction or 0) * len(train)))
            found[name], order = train[np.sort(order[:num])], order[num:]
        if not len(order):
            raise UserError(f"{self.source}: has {len(train)} examples, of which none are left to train on")
        valid, test = found.get("valid", self.valid), found.get("test", self.test)
        set_aside = {name: float(fraction or 0) for name, fraction in missing.items()}
        return Parts(train[np.sort(order)], valid, test, self.source), set_aside
