# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A Boltzmann machine from the inside
#
# A machine that is small enough to know everything about: energies, modes, chains that get stuck, and three ways to
# its normaliser, one of them exact. For a lecture of an hour; it takes two minutes on a laptop.
#
# $$p(z) = \frac{e^{-E(z)}}{Z}, \qquad E(z) = -(a^\top \ell + b^\top r + \ell^\top W r), \qquad z = (\ell, r) \in \{0,
# 1\}^{N + M}$$

# %%
import dvae.quiet  # noqa: F401 (TensorFlow without its notes)

# isort: split
import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg
import tensorflow as tf

from samplers import annealed_importance, diagnostics, gibbs, log_z_estimates, population_annealing
from samplers.annealing_path import uniform_base
from samplers.annealing_schedules import linear_betas
from samplers.log_partition import all_states, exact_log_z, exact_sample
from samplers.rbm import RBM

plt.rcParams.update({"figure.figsize": (8, 3), "figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## A machine with memories
#
# Three patterns of 16 + 16 spins, orthogonal to each other, are stored as Hopfield would: couplings $J = c \sum_k p_k
# q_k^\top$. A pattern and its negative have the same energy, so there are six modes; small fields make some of them
# likelier. In units 0 and 1 the same machine has $W = 4J$ and biases that follow from it.

# %%
rng = np.random.default_rng(3)
N = M = 16
orthogonal = scipy.linalg.hadamard(N)[1:4].astype(float)
patterns_left, patterns_right = (orthogonal[:, rng.permutation(N)] for _ in range(2))
couplings = 0.11 * np.einsum("ki,kj->ij", patterns_left, patterns_right)
fields = 0.02 * patterns_left[0] + 0.01 * patterns_left[1]
rbm = RBM.of_spins(tf.constant(fields), tf.zeros(M, tf.float64), tf.constant(couplings))

fig, axes = plt.subplots(1, 2, figsize=(8, 2.6), width_ratios=[1, 1.2], layout="constrained")
axes[0].imshow(patterns_left, cmap="gray", aspect="auto")
axes[0].set(
    title="the three patterns, left side",
    xlabel="unit",
    xticks=range(0, N, 5),
    yticks=range(3),
    yticklabels=list("ABC"),
)
axes[0].spines[:].set_visible(True)
shown = axes[1].imshow(couplings, cmap="RdBu", vmin=-0.35, vmax=0.35)
axes[1].set(title="couplings J", xlabel="right unit", ylabel="left unit")
fig.colorbar(shown, ax=axes[1])
plt.show()

# %% [markdown]
# ## Everything about it
#
# With the right side summed out, $\sum_r e^{-E} = e^{-F(\ell)}$, and 65,536 left states are all there is: $Z =
# \sum_\ell e^{-F(\ell)}$.

# %%
left = tf.cast(all_states(N), tf.float64)
free_energy = rbm.free_energy(left).numpy()
log_z = float(exact_log_z(rbm))
p = np.exp(-free_energy - log_z)
print(f"log Z = {log_z:.4f} nats; the probabilities add up to {p.sum():.12f}")


def mode(left):
    """Which memory a left side is nearest to: 0, 1, 2; 3, 4, 5 their negatives."""
    overlap = (2 * np.asarray(left) - 1) @ patterns_left.T
    nearest = np.abs(overlap).argmax(-1)
    return nearest + 3 * (np.take_along_axis(overlap, nearest[..., None], -1)[..., 0] < 0)


names = ["A", "B", "C", "-A", "-B", "-C"]
exact_weights = np.bincount(mode(left), weights=p, minlength=6)
order = np.argsort(free_energy)
fig, axes = plt.subplots(1, 2, layout="constrained")
axes[0].semilogx(1 + np.arange(len(order)), free_energy[order], lw=1)
axes[0].set(title="free energies of all left states", xlabel="rank", ylabel="F, nats")
axes[1].bar(names, exact_weights)
axes[1].set(title="probability near each memory")
plt.show()

# %% [markdown]
# A Boltzmann machine spends its probability on few states, and which ones is a matter of energy *and* of number: a
# state of high energy of which there are many may weigh more than a single deep one.

# %%
energies = -np.log(p) - log_z  # F again, from the probabilities
bins = np.linspace(energies.min(), energies.max(), 40)
fig, ax = plt.subplots(layout="constrained")
ax.hist(energies, bins, weights=np.full(len(p), 1 / len(p)), alpha=0.5, label="states, all alike (beta = 0)")
ax.hist(energies, bins, weights=p, alpha=0.5, label="states, as the machine draws them (beta = 1)")
ax.set(xlabel="F, nats", ylabel="share")
ax.legend()
plt.show()

# %% [markdown]
# The two histograms hardly meet. That is why samples of the one say little about the other, and why one goes there in
# small steps.
#
# ## Chains that get stuck
#
# Block Gibbs sampling draws one side given the other: exact, parallel, and local. Four chains, each started in a
# memory:

# %%
chains = tf.cast((patterns_left[[0, 1, 2, 0]] * [[1], [1], [1], [-1]] + 1) / 2, tf.float64)
visited = []
for sweep in range(300):
    chains = gibbs.sweep(rbm, chains, tf.constant([1, sweep]), num_sweeps=tf.constant(1)).left
    visited.append(mode(chains))
visited = np.array(visited)

fig, ax = plt.subplots(layout="constrained")
for chain in range(4):
    ax.plot(visited[:, chain] + 0.12 * (chain - 1.5), lw=0.9, label=f"chain {chain + 1}")
ax.set(yticks=range(6), yticklabels=names, xlabel="sweeps", title="the memory that a chain is near")
ax.legend(loc="upper right", fontsize=7)
plt.show()
share_of_moves = (visited[1:] != visited[:-1]).mean()
print(f"a chain changes its memory in {share_of_moves:.1%} of the sweeps")

# %% [markdown]
# Between memories a chain must cross states of high energy. The integrated autocorrelation time says how many sweeps
# make one independent state; stronger couplings, a *colder* machine, make it much longer. R-hat compares chains with
# each other and should be near 1. Once for chains that start spread over the modes as they should be, once for chains
# that all start in A:

# %%
print("            spread over the modes          all in A")
print("scale   sweeps a state      R-hat       sweeps a state      R-hat")
in_a = tf.cast(np.tile((patterns_left[0] + 1) / 2, [200, 1]), tf.float64)
for scale in (0.5, 1.0, 1.5, 2.0):
    machine = RBM.of_spins(tf.constant(scale * fields), tf.zeros(M, tf.float64), tf.constant(scale * couplings))
    spread = exact_sample(machine, 200, tf.constant([2, 0])).left
    columns = [diagnostics.mixing(machine, start, num_sweeps=400, seed=tf.constant([2, 1])) for start in (spread, in_a)]
    numbers = [float(value) for found in columns for value in (found.autocorrelation_sweeps, found.split_r_hat)]
    print("{:5.1f} {:12.1f} {:14.3f} {:16.1f} {:14.3f}".format(scale, *numbers))

# %% [markdown]
# Read the coldest line twice: chains that all sit in one mode, and have seen nothing else, look better mixed than
# those that know of all modes. No diagnostic of the chains themselves can see a mode that none of them has visited.
#
# ## log Z, three ways
#
# **Annealed importance sampling** leads chains from the uniform distribution ($\log Z_0 = 32 \log 2$) to the machine.
# Every chain brings a weight whose mean is $Z / Z_0$; so $\log \hat Z$ is too low in expectation, and the more so the
# faster one goes. Twenty runs of 100 chains at each speed:

# %%
base = uniform_base(rbm)
speeds = (3, 10, 30, 100, 300)
estimates = np.array(
    [
        [
            float(
                annealed_importance.sample(
                    rbm, base, betas=linear_betas(T), num_chains=100, seed=tf.constant([T, run])
                ).log_z
            )
            for run in range(20)
        ]
        for T in speeds
    ]
)
fig, ax = plt.subplots(layout="constrained")
for T, runs in zip(speeds, estimates, strict=True):
    ax.plot(np.full(20, T) * np.exp(rng.normal(0, 0.04, 20)), runs - log_z, ".", color="C0", alpha=0.6)
ax.plot(speeds, estimates.mean(axis=1) - log_z, "k_", ms=18, label="mean of 20 runs")
ax.axhline(0, color="C3", lw=1, label="exact")
ax.set(xscale="log", xlabel="temperatures", ylabel="estimate - log Z, nats", title="AIS, 100 chains a run")
ax.legend()
plt.show()

# %% [markdown]
# **From both sides.** From samples of the machine itself (here exact ones) the same path can be walked backwards,
# which bounds log Z from *above*. Where the two meet, one knows.

# %%
states = exact_sample(rbm, 200, tf.constant([4, 0])).left
lower, upper = [], []
for T in speeds:
    sides = log_z_estimates.bracket(rbm, base, states, betas=linear_betas(T), num_chains=200, seed=tf.constant([4, T]))
    lower.append((float(sides.lower.log_z), float(sides.lower.standard_error)))
    upper.append((float(sides.upper.log_z), float(sides.upper.standard_error)))
lower, upper = np.array(lower), np.array(upper)
fig, ax = plt.subplots(layout="constrained")
for side, name in ((upper, "from above (backwards)"), (lower, "from below (forwards)")):
    ax.errorbar(speeds, side[:, 0] - log_z, 2 * side[:, 1], fmt="o-", capsize=3, label=name)
ax.axhline(0, color="C3", lw=1, label="exact")
ax.set(
    xscale="log",
    xlabel="temperatures",
    ylabel="estimate - log Z, nats",
    title="a bracket; bars are two standard errors",
)
ax.legend()
plt.show()

# %% [markdown]
# **Population annealing** resamples on the way: states that turn out unlikely are dropped, others copied. It ends
# with equally weighted states, so it is also a sampler, and one that does not depend on crossing barriers at low
# temperature: the population is spread over the modes while that is still easy.

# %%
population = population_annealing.sample(
    rbm, base, betas=linear_betas(100), num_particles=2000, seed=tf.constant([5, 0])
)
print(f"log Z: {float(population.log_z):.3f} +- {float(population.standard_error):.3f}, exact {log_z:.3f}")
print(f"{int(population.num_families)} of 2000 particles of the start have descendants")

one_chain, kept = tf.cast((patterns_left[:1] + 1) / 2, tf.float64), []
for sweep in range(100):  # as many sweeps as every particle has made
    one_chain = gibbs.sweep(rbm, one_chain, tf.constant([6, sweep]), num_sweeps=tf.constant(1)).left
    kept.append(mode(one_chain)[0])
bars = {
    "exact": exact_weights,
    "population": np.bincount(mode(population.left), minlength=6) / 2000,
    "one chain, 100 sweeps": np.bincount(kept, minlength=6) / len(kept),
}
fig, ax = plt.subplots(layout="constrained")
for i, (name, shares) in enumerate(bars.items()):
    ax.bar(np.arange(6) + 0.27 * (i - 1), shares, 0.25, label=name)
ax.set(xticks=range(6), xticklabels=names, ylabel="share", title="who has seen which memory?")
ax.legend()
plt.show()

# %% [markdown]
# In training a Boltzmann machine, exactly this population is kept: after every small change of the parameters it is
# reweighted, resampled, and moved by a few sweeps, instead of being annealed anew.
#
# ## To try
#
# * Couplings times 2 (`0.22`): which of the three ways fails first, and does its standard error say so?
# * A base of the machine's own means (`samplers.annealing_path.means_base`) in place of the uniform one.
# * Store eight patterns in 16 spins. How many modes are left?

# %%
assert abs(p.sum() - 1) < 1e-9
assert abs(float(population.log_z) - log_z) < 5 * float(population.standard_error)
assert lower[-1, 0] - 4 * lower[-1, 1] < log_z < upper[-1, 0] + 4 * upper[-1, 1]
