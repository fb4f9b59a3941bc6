"""Plain PyTorch doing what one training iteration of DVAE## does: the yardstick for `training_iteration.py`.

Written the way a researcher would write it by hand: eager PyTorch, `torch.nn`, `torch.optim.Adam`. It does the same
arithmetic as the project (a prior population of 1000 particles moved by 40 sweeps, 10 binary and one
relaxed sweep of the posterior, batch 100, PWL relaxation, weight decay, Adam). It is a yardstick of time, not a second
implementation of the model: nothing else uses it.
"""

from __future__ import annotations

import argparse
import time

import torch

PIXELS, HIDDEN, BATCH, PARTICLES = 784, 200, 100, 1000
PRIOR_SWEEPS, GIBBS_SWEEPS = 40, 10
RELAXATION_BETA, WEIGHT_DECAY = 4.0, 1e-4


def network(inputs: int, outputs: int) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for width in (HIDDEN, HIDDEN):
        layers += [
            torch.nn.Linear(inputs, width),
            torch.nn.BatchNorm1d(width, eps=1e-2, momentum=0.01),
            torch.nn.Tanh(),
        ]
        inputs = width
    return torch.nn.Sequential(*layers, torch.nn.Linear(inputs, outputs))


def relax(logits: torch.Tensor) -> torch.Tensor:
    q = torch.sigmoid(logits)
    slope = RELAXATION_BETA / (4 * (q * (1 - q) + 0.01))
    return torch.clamp(0.5 + slope * (torch.rand_like(q) - (1 - q)), 0, 1)


def bernoulli(logits: torch.Tensor) -> torch.Tensor:
    return (torch.rand_like(logits) < torch.sigmoid(logits)).to(logits.dtype)


class TrainingIteration:
    """Attributes: `side`, latents on each side of the prior."""

    def __init__(self, side: int = 100) -> None:
        torch.manual_seed(0)
        self.side = side
        self.encoder = network(PIXELS, 2 * side + side**2)
        self.coupling_norm = torch.nn.BatchNorm1d(side**2, eps=1e-2, momentum=0.01)
        self.decoder = network(2 * side, PIXELS)
        self.bias_left = torch.nn.Parameter(torch.zeros(side))
        self.bias_right = torch.nn.Parameter(torch.zeros(side))
        self.weights = torch.nn.Parameter(torch.zeros(side, side))
        self.images = (torch.rand(50_000, PIXELS) < 0.13).to(torch.uint8)
        self.chains = (torch.rand(50_000, side) < 0.5).to(torch.uint8)
        self.population = (torch.rand(PARTICLES, side) < 0.5).float()
        self.old = [p.detach().clone() for p in (self.bias_left, self.bias_right, self.weights)]
        modules = [self.encoder, self.coupling_norm, self.decoder]
        self.decayed = [m.weight for net in modules for m in net.modules() if hasattr(m, "weight")] + [self.weights]
        parameters = [p for m in modules for p in m.parameters()] + [self.bias_left, self.bias_right, self.weights]
        self.optimiser = torch.optim.Adam(parameters, lr=3e-3, eps=1e-3)

    @staticmethod
    def minus_free_energy(left: torch.Tensor, a: torch.Tensor, b: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return left @ a + torch.nn.functional.softplus(b + left @ w).sum(-1)

    @torch.no_grad()
    def move_population(self) -> None:
        a, b, w = self.bias_left, self.bias_right, self.weights
        log_weights = self.minus_free_energy(self.population, a, b, w) - self.minus_free_energy(
            self.population, *self.old
        )
        cumulative = torch.cumsum(torch.softmax(log_weights, 0), 0)
        positions = (torch.arange(PARTICLES) + torch.rand(1)) / PARTICLES
        left = self.population[torch.searchsorted(cumulative, positions).clamp_max(PARTICLES - 1)]
        for _ in range(PRIOR_SWEEPS):
            right = bernoulli(b + left @ w)
            left = bernoulli(a + right @ w.T)
        self.population = left
        self.old = [p.detach().clone() for p in (a, b, w)]

    def step(self, index: torch.Tensor) -> float:
        self.move_population()
        x = self.images[index].float()
        outputs = self.encoder(x - 0.13)
        u_left, u_right, j = outputs.split([self.side, self.side, self.side**2], dim=1)
        j = self.coupling_norm(j).reshape(-1, self.side, self.side) * (1.5 / self.side**0.5)
        w, a, b = 4 * j, 2 * (u_left - j.sum(2)), 2 * (u_right - j.sum(1))
        with torch.no_grad():
            left = self.chains[index].float()
            for _ in range(GIBBS_SWEEPS):
                right = bernoulli(b + torch.einsum("bn,bnm->bm", left, w))
                left = bernoulli(a + torch.einsum("bm,bnm->bn", right, w))
            self.chains[index] = left.to(torch.uint8)
        zeta_right = relax(b + torch.einsum("bn,bnm->bm", left, w))
        left_logits = a + torch.einsum("bm,bnm->bn", zeta_right, w)
        zeta_left, mean_left = relax(left_logits), torch.sigmoid(left_logits)
        logits = self.decoder(torch.cat([zeta_left, zeta_right], 1))
        reconstruction = -torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)

        def score(a, b, w):  # minus the energy of the Rao-Blackwellised relaxed sample
            equation = "bn,nm,bm->b" if w.dim() == 2 else "bn,bnm,bm->b"
            pairs = torch.einsum(equation, mean_left, w, zeta_right)
            return (mean_left * a).sum(1) + (zeta_right * b).sum(1) + pairs

        log_q = score(a.detach(), b.detach(), w.detach())
        log_z = self.minus_free_energy(self.population, self.bias_left, self.bias_right, self.weights).mean()
        log_p = score(self.bias_left, self.bias_right, self.weights) - log_z
        loss = -(reconstruction - (log_q - log_p)).mean() + WEIGHT_DECAY * sum((v**2).sum() / 2 for v in self.decayed)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warmup", type=int, default=5)
    arguments = parser.parse_args()
    iteration = TrainingIteration()
    order = torch.randperm(50_000)[: BATCH * (arguments.steps + arguments.warmup)].reshape(-1, BATCH)
    for index in order[: arguments.warmup]:
        iteration.step(index)
    start = time.perf_counter()
    for index in order[arguments.warmup :]:
        iteration.step(index)
    print(f"{1e3 * (time.perf_counter() - start) / arguments.steps:.2f} ms per iteration")


if __name__ == "__main__":
    main()
