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
# # Digits in ten minutes
#
# A discrete variational autoencoder from the first line to a likelihood that can be checked: DVAE##, 16 binary
# latents, 8 x 8 digits. Prior and posterior are restricted Boltzmann machines. Run it twice: the second time the
# training is there already.

# %%
import dvae.quiet

# isort: split
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import dvae
from models.posterior import BASES
from samplers.log_partition import exact_log_z, exact_sample

plt.rcParams.update({"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False, "image.cmap": "gray"})

# %% [markdown]
# ## Data
#
# Grey levels are taken for probabilities of a white pixel; training draws black and white images afresh in every
# batch.

# %%
data = dvae.load_dataset("digits")
print(data.train.shape, data.valid.shape, data.test.shape, "of", data.image_shape)


def show(*rows, title="", labels=()):
    """Rows of images under a title, each with a name at its left."""
    fig, axes = plt.subplots(
        len(rows), len(rows[0]), figsize=(8, 0.9 * len(rows) + 0.3), squeeze=False, layout="constrained"
    )
    for i, (row, images) in enumerate(zip(axes, rows, strict=True)):
        for ax, image in zip(row, images, strict=True):
            ax.imshow(np.reshape(image, data.image_shape), vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(labels[i] if labels else "", fontsize=8)
    fig.suptitle(title, fontsize=10)
    plt.show()


show(data.train[:10], data.train[10:20], title="training images")

# %% [markdown]
# ## Train
#
# 1000 steps of 100 images: a minute or two, of which 20 seconds are compilation. Everything is written to `log_dir`;
# should you interrupt it, the same cell goes on.

# %%
config = dvae.configure(model="dvaess", dataset="digits", num_steps=1000, log_dir="runs/notebook")
results = dvae.train(config)

# %% [markdown]
# ## What has been learned
#
# NLL is the mean of $-\log p(x)$ over test images, in nats: once by 4000 importance samples from the posterior, with
# the standard error over images, and once exactly, all $2^{16}$ latent states added up. They should agree.

# %%
print(f"{results['nll']:.3f} +- {results['nll_standard_error']:.3f} by sampling, {results['exact_nll']:.3f} exactly")
gap = -results["elbo"] - results["exact_nll"]
print(f"ELBO {results['elbo']:.3f}, so q is {gap:.2f} nats from the true posterior (KL)")
print(f"of 4000 samples {results['effective_sample_size']:.0f} count")

# %%
trained = dvae.trained_model("runs/notebook")
model, prior = trained.model, trained.model.prior.rbm()
seed = tf.constant([0, 1])

dreams = exact_sample(prior, 20, seed)  # with 8 + 8 units; larger machines: population annealing
dreamt = model.likelihood.mean(tf.concat(dreams, axis=-1), training=False).numpy()
show(dreamt[:10], dreamt[10:], title="samples from the prior: pixel probabilities")

# %% [markdown]
# ## Encode and decode
#
# Every image has a Boltzmann machine of its own for a posterior. A draw from it is 16 bits; the decoder makes an
# image of them.

# %%
images = data.test[:10].astype("float32")
encoding = model.posterior.encode(images, training=False)
# How an RBM posterior is best drawn from, the evaluation has found out: so many temperatures from there.
how = {"num_temperatures": results["posterior_temperatures"], "base": BASES.index(results["posterior_base"])}
z, log_q = model.posterior.sample(encoding, num_samples=1000, seed=seed, **how)
by_draw = model.likelihood.mean(z, training=False).numpy()
show(
    images, by_draw[0], by_draw[1], by_draw.mean(axis=0),
    labels=["image", "draw 1", "draw 2", "mean"], title="test images, two draws of q(z | x), mean of 1000",
)  # fmt: skip

# %% [markdown]
# A factorial posterior would draw every bit by itself. A Boltzmann machine need not: covariances over 1000 draws, of
# that image of the ten whose latents hang together most. Most bits are decided by the image; of those that are not,
# some are decided together.

# %%
covariances = np.array([np.cov(z[:, i].numpy().T) for i in range(len(images))])
off_diagonal = np.abs(covariances * (1 - np.eye(16)))
i = off_diagonal.max(axis=(1, 2)).argmax()
couplings = model.posterior.parameters(encoding, seed=seed)["weights"].numpy()[i]
limit = np.abs(couplings).max()

fig, axes = plt.subplots(1, 3, figsize=(8, 2.6), layout="constrained")
axes[0].imshow(images[i].reshape(data.image_shape))
axes[0].set(title="image", xticks=[], yticks=[])
shown = axes[1].imshow(couplings, cmap="RdBu", vmin=-limit, vmax=limit)
axes[1].set(title="couplings of its posterior", xlabel="right unit", ylabel="left unit")
fig.colorbar(shown, ax=axes[1])
shown = axes[2].imshow(covariances[i], cmap="RdBu", vmin=-0.25, vmax=0.25)
axes[2].set(title="covariances of its latents", xlabel="unit", ylabel="unit")
fig.colorbar(shown, ax=axes[2])
plt.show()

# %% [markdown]
# ## Does the prior fit what the encoder makes?
#
# If it does, latents of test images have the energies of latents that the prior draws. Where the two histograms part,
# samples look unlike data.

# %%
latents, _ = model.posterior.sample(
    model.posterior.encode(data.test.astype("float32"), training=False), num_samples=10, seed=seed, **how
)
encoded = prior.energy(*prior.split(latents)).numpy().ravel()
drawn = prior.energy(*exact_sample(prior, 3000, seed)).numpy()
bins = np.linspace(min(encoded.min(), drawn.min()), max(encoded.max(), drawn.max()), 40)
fig, ax = plt.subplots(figsize=(8, 2.6), layout="constrained")
ax.hist(encoded, bins, density=True, alpha=0.5, label="latents of test images")
ax.hist(drawn, bins, density=True, alpha=0.5, label="latents from the prior")
ax.set(xlabel="E(z), nats", ylabel="density")
ax.legend()
plt.show()
print(f"log Z: {results['log_z']:.4f} by annealed importance sampling, {float(exact_log_z(prior)):.4f} exactly")

# %% [markdown]
# ## From one digit to another
#
# Binary latents have no straight line between them; one flips bits. From the first image's latents to the second's,
# a bit or two at a time:

# %%
start, end = z[0, 0].numpy(), z[0, 1].numpy()
differing = np.flatnonzero(start != end)
path = [start]
for bits in np.array_split(differing, 8):
    path.append(np.where(np.isin(np.arange(16), bits), end, path[-1]))
on_the_way = model.likelihood.mean(tf.constant(np.array(path), tf.float32), training=False).numpy()
show(on_the_way, title=f"{len(differing)} bits differ")

# %% [markdown]
# ## To try
#
# * `model="pwl"`, a directed posterior, in another `log_dir`: which one has the better exact NLL? Over three seeds?
# * `num_latents=8` and `32`: where does the NLL stop falling?
# * `dataset="binarized_mnist", num_steps=10000, recipe="fast"`.

# %%
assert abs(results["nll"] - results["exact_nll"]) < 0.2
assert abs(results["log_z"] - float(exact_log_z(prior))) < 0.01
