"""The models in slow NumPy float64, written from the papers' formulas. Imports nothing of the project.

Weights are a dictionary from names of this file's own to float64 arrays (`weights_of`); a machine is a tuple as in
`reference`. Random numbers are arguments; the last section draws those that the compiled code draws.
"""

import math

import numpy as np
import tensorflow as tf
from scipy import special

import reference

sigmoid = special.expit


# Relaxations.


def pwl(logits, rho, beta):
    q = sigmoid(logits)
    slope = beta / (4 * (q * (1 - q) + 0.01))
    return np.minimum(np.maximum(0.5 + slope * (rho - (1 - q)), 0), 1)


def concrete(logits, rho, beta):
    rho = np.minimum(np.maximum(rho, 1e-5), 1 - 1e-5)
    return sigmoid(beta * (logits + np.log(rho / (1 - rho))))


def spike_and_exponential(logits, rho, beta):
    q, excess = sigmoid(logits), rho - sigmoid(-logits)
    return np.where(excess > 0, np.log(1 + np.expm1(beta) * np.maximum(excess, 0) / q) / beta, 0)


def log_normal(y, mean, scale):
    return -0.5 * ((y - mean) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)


# Components of mixtures: `log r(zeta | 0)` and `log r(zeta | 1)`, each written out.


def exponential(zeta, beta):
    normaliser = np.log(beta) - np.log(1 - np.exp(-beta))
    return normaliser - beta * zeta, normaliser - beta * (1 - zeta)


def uniform_exponential(zeta, beta):
    off, on = exponential(zeta, beta)
    return np.log(0.95 * np.exp(off) + 0.05), np.log(0.95 * np.exp(on) + 0.05)


def power_function(zeta, beta):
    return np.log(zeta ** (1 / beta - 1) / beta), np.log((1 - zeta) ** (1 / beta - 1) / beta)


def gaussian(zeta, beta):
    return log_normal(zeta, 0, beta**-0.5), log_normal(zeta, 1, beta**-0.5)


def gaussian_integral(zeta, shift, scale):
    return log_normal(zeta, shift, scale), log_normal(zeta, 1 + shift, scale)


# Networks.


def _layers(prefix, stack):
    for number in range(0, len(stack.layers), 3):
        yield f"{prefix}/{number // 3}", stack.layers[number]
        yield f"{prefix}/{number // 3}/norm", stack.layers[number + 1]


def _named_layers(model):
    posterior = getattr(model, "posterior", None)
    if posterior is not None:
        yield from _layers("encoder/hidden", posterior.encoder)
    yield from _layers("decoder/hidden", model.likelihood.decoder)
    yield "decoder/outputs", model.likelihood.head
    if posterior is None:
        return
    if hasattr(posterior, "coupling_norm"):
        yield from [("encoder/outputs", posterior.head), ("encoder/coupling", posterior.coupling_norm)]
    else:
        for number, layer in enumerate(posterior.group_heads):
            yield from _layers(f"encoder/group/{number}/hidden", posterior.group_hidden[number])
            yield f"encoder/group/{number}", layer
            if hasattr(posterior.relaxations[number], "weights"):
                yield f"encoder/group/{number}/relaxation", posterior.relaxations[number]


def variables_of(model):
    """The variables of a model by this file's names, `prior/a`, `encoder/hidden/0/kernel`, and so on."""
    prior = {}
    if hasattr(model, "prior"):
        prior = {"prior/a": model.prior.bias_left, "prior/b": model.prior.bias_right, "prior/W": model.prior.pairwise}
    layers = {f"{name}/{variable.name}": variable for name, layer in _named_layers(model) for variable in layer.weights}
    return prior | layers


def weights_of(model):
    return {name: variable.numpy().astype(float) for name, variable in variables_of(model).items()}


def randomize(model, seed, *, scale=0.7):
    """Gives every variable a value that nothing starts from, so that no term is absent by accident."""
    rng = np.random.default_rng(seed)
    for name, variable in variables_of(model).items():
        positive = name.endswith(("gamma", "moving_variance"))
        value = rng.uniform(0.5, 1.5, variable.shape) if positive else rng.normal(scale=scale, size=variable.shape)
        variable.assign(value)


def dense(weights, name, x):
    return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]


def batch_norm(weights, name, x, *, training):
    mean, variance = weights[f"{name}/moving_mean"], weights[f"{name}/moving_variance"]
    if training:
        mean, variance = x.mean(axis=0), ((x - x.mean(axis=0)) ** 2).mean(axis=0)
    return weights[f"{name}/gamma"] * (x - mean) / np.sqrt(variance + 0.01) + weights[f"{name}/beta"]


def hidden(weights, prefix, x, *, training):
    number = 0
    while f"{prefix}/{number}/kernel" in weights:
        x = dense(weights, f"{prefix}/{number}", x)
        x = np.tanh(batch_norm(weights, f"{prefix}/{number}/norm", x, training=training))
        number += 1
    return x


def is_penalised(name):
    """Kernels, the scales of the stacks (not those of the couplings), and the prior's couplings."""
    return name.endswith(("kernel", "norm/gamma", "prior/W"))


def weight_decay(weights, strength):
    penalised = [value for name, value in weights.items() if is_penalised(name)]
    return strength / 2 * sum(np.sum(value**2) for value in penalised)


# Likelihood and posteriors.


def log_bernoulli(x, logits):
    """Summed over the last axis."""
    return np.sum(x * special.log_expit(logits) + (1 - x) * special.log_expit(-logits), axis=-1)


def bernoulli_entropy(logits):
    """Summed over the last axis."""
    return np.sum(special.entr(sigmoid(logits)) + special.entr(sigmoid(-logits)), axis=-1)


def log_likelihood(weights, mean_pixel, x, z, *, training):
    """`x [B, D]`, `z [K, B, units]`; `[K, B]`."""
    mean = np.clip(np.asarray(mean_pixel, float), 0.001, 0.999)
    rows = hidden(weights, "decoder/hidden", np.reshape(z, [-1, np.shape(z)[-1]]), training=training)
    logits = dense(weights, "decoder/outputs", rows) + np.log(mean / (1 - mean))
    return log_bernoulli(x, logits.reshape([*np.shape(z)[:-1], -1]))


def mean_images(weights, mean_pixel, z):
    """`E[x | z]`, `[rows, D]`, moving averages in use."""
    mean = np.clip(np.asarray(mean_pixel, float), 0.001, 0.999)
    rows = hidden(weights, "decoder/hidden", z, training=False)
    return sigmoid(dense(weights, "decoder/outputs", rows) + np.log(mean / (1 - mean)))


def prior_of(weights):
    return weights["prior/a"], weights["prior/b"], weights["prior/W"]


def directed(weights, mean_pixel, x, draw, *, num_samples, training):
    """Ancestral sampling: `z, logits [K, B, units]`; `draw(number, outputs)` gives group `number`, `[K, B, size]`."""
    context = np.stack([hidden(weights, "encoder/hidden", x - mean_pixel, training=training)] * num_samples)
    z, logits, number = context[..., :0], context[..., :0], 0
    while f"encoder/group/{number}/kernel" in weights:
        name = f"encoder/group/{number}"
        rows = np.concatenate([context, z], axis=-1).reshape(num_samples * len(x), -1)
        outputs = dense(weights, name, hidden(weights, f"{name}/hidden", rows, training=training))
        outputs = outputs.reshape(num_samples, len(x), -1)
        drawn = draw(number, outputs)
        z = np.concatenate([z, drawn], axis=-1)
        logits = np.concatenate([logits, outputs[..., : drawn.shape[-1]]], axis=-1)
        number += 1
    return z, logits


def rbm_posterior(weights, mean_pixel, x, num_left, num_right, *, training):
    """The machine of every example."""
    inputs = hidden(weights, "encoder/hidden", x - mean_pixel, training=training)
    outputs, num_biases = dense(weights, "encoder/outputs", inputs), num_left + num_right
    normal = batch_norm(weights, "encoder/coupling", outputs[:, num_biases:], training=training)
    machines = []
    for fields, row in zip(outputs[:, :num_biases], normal, strict=True):
        a, b, w = 2 * fields[:num_left], 2 * fields[num_left:], np.zeros([num_left, num_right])
        for i in range(num_left):
            for j in range(num_right):
                coupling = row[i * num_right + j] * 1.5 / math.sqrt(num_left)
                w[i, j] = 4 * coupling
                a[i] -= 2 * coupling
                b[j] -= 2 * coupling
        machines.append((a, b, w))
    return machines


def log_posterior(weights, mean_pixel, x, *, num_units, num_groups):
    """`log q(z | x)` of every state (of an RBM with as many units left as right), `[2^units, B]`."""
    states = np.repeat(reference.all_states(num_units)[:, None], len(x), axis=1)
    if "encoder/coupling/gamma" in weights:
        sides = num_units // 2, num_units // 2
        machines = rbm_posterior(weights, mean_pixel, x, *sides, training=False)
        return np.stack([np.log(reference.joint(machine)).ravel() for machine in machines], axis=1)
    groups = np.split(states, num_groups, axis=-1)
    draw = lambda number, _: groups[number]  # noqa: E731
    _, logits = directed(weights, mean_pixel, x, draw, num_samples=len(states), training=False)
    return log_bernoulli(states, logits)


def gibbs_sweeps(machine, left, uniforms):
    """`left [N]`, one row of `uniforms [sweeps, M + N]` a sweep: right units first. A unit is on if u < p."""
    a, b, w = machine
    for row in uniforms:
        right = (row[: len(b)] < sigmoid(b + left @ w)).astype(float)
        left = (row[len(b) :] < sigmoid(a + w @ right)).astype(float)
    return left


def relaxed_sweeps(machine, left, rhos, relax):
    """`zeta` and its Rao-Blackwellised `means`, `[N + M]`; `rhos`: a pair `(rho_right, rho_left)` for each sweep."""
    a, b, w = machine
    for rho_right, rho_left in rhos:
        right = relax(b + left @ w, rho_right)
        logits = a + w @ right
        left = relax(logits, rho_left)
    return np.concatenate([left, right]), np.concatenate([sigmoid(logits), right])


def energies(machines, z):
    """Of `z [K, B, units]` under one machine for all, or a list with one for each example; `[K, B]`."""
    machines = machines if isinstance(machines, list) else [machines] * z.shape[1]
    rows = [[reference.energy(m, *np.split(unit, [len(m[0])])) for m, unit in zip(machines, k, strict=True)] for k in z]
    return np.array(rows)


# Random numbers as the project draws them, by NumPy's own Threefry; seeds are split by TensorFlow.


def uniform(shape, seed, *, dtype=tf.float32):
    return reference.uniform(tuple(shape), np.asarray(seed), double=dtype == tf.float64)


def split(seed, num):
    return tf.unstack(tf.random.split(seed, num, alg="philox"))


def sweep_uniforms(num_right, num_left, batch, num_chains, *, seed, num_sweeps):
    """Of `num_sweeps` Gibbs sweeps in float32, `[sweeps, *batch, M + N, chains]`: 16 bits of a word for each unit.

    The chains of one machine are two halves, each with a seed of its own.
    """
    halves = [num_chains] if batch else [num_chains // 2, num_chains - num_chains // 2]
    parts = []
    for half, half_seed in zip(halves, split(seed, len(halves)), strict=True):
        sweeps = []
        for i in range(num_sweeps):
            words = reference.words((*batch, max(num_right, num_left), half), half_seed.numpy() + np.array([0, i]))
            right, left = words[..., :num_right, :] % 65536, words[..., :num_left, :] // 65536
            sweeps.append((np.concatenate([right, left], axis=-2) + 0.5) / 65536)
        parts.append(np.stack(sweeps))
    return np.concatenate(parts, axis=-1)
