"""Models small enough to enumerate: 6 pixels, 4 latents, two hidden layers of 3 units."""

import numpy as np
import tensorflow as tf

import reference_models
from dvae.building import Networks, build_autoencoder
from dvae.settings.complete import complete

# A pixel that is always off and one that is always on.
MEAN_PIXEL = np.array([0.2, 0.7, 0.5, 0.0, 1.0, 0.4], np.float32)
EXAMPLES = MEAN_PIXEL[None]  # of this mean
BETA = {"dvaess": 4.0, "gumbolt": 2.0, "pwl": 4.0, "dvae_spike_exp": 3.0, "dvaepp_exp": 5.0, "dvaepp_power": 5.0}
BETA |= {"dvaes_gauss_int": 5.0, "dvaes_gauss": 5.0, "dvaes_exp": 5.0, "dvaes_unexp": 5.0, "dvaes_power": 5.0}


def config(name, **settings):
    """Complete settings of a published system."""
    defaults = {"num_latents": 4, "hidden_units": 3, "hidden_layers": 2, "batch_size": 4, "num_particles": 5}
    defaults |= {"num_steps": 1000, "test_samples": 1, "eval_every": 1, "valid_examples": 1, "beta": BETA[name]}
    defaults |= {"learning_rate": 3e-3, "shared_context": True}
    return complete({"model": name} | defaults | settings)


def model(name, *, seed=0, scale=0.7, likelihood=None, examples=None, **settings):
    """Every variable, moving averages too, has a random value that nothing starts from."""
    examples = EXAMPLES if examples is None else examples
    made = build_autoencoder(config(name, **settings), examples, Networks(likelihood=likelihood))
    reference_models.randomize(made, seed, scale=scale)
    return made


def sample_relaxed(model, x, num_samples=1):
    """Relaxed samples of `x [B, D]` from an encoder in training."""
    chains = tf.zeros([num_samples, len(x), model.posterior.chain_units])
    encoding = model.posterior.encode(x, training=True)
    return model.posterior.sample_relaxed(encoding, num_samples=num_samples, seed=tf.constant([1, 2]), chains=chains)
