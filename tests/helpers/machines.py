"""Machines as the samplers take them, and the reference machines that lie outside the repository."""

import os
import pathlib

import numpy as np
import pytest
import scipy.io
import tensorflow as tf

from samplers.rbm import RBM


def as_rbm(machine, dtype=tf.float32):
    """From a tuple `(a, b, W)` of arrays."""
    return RBM(*(tf.constant(parameter, dtype) for parameter in machine))


def reference_data(name):
    """The path of a reference file; skips the test where there is none."""
    folder = os.environ.get("DVAE_REFERENCE_DATA")
    if folder is None or not pathlib.Path(folder, name).exists():
        pytest.skip(f"set the environment variable DVAE_REFERENCE_DATA to a folder that holds {name}")
    return pathlib.Path(folder, name)


def multimodal_4x4():
    """Weights up to 60; exact log Z = 59.6749019652."""
    arrays = np.load(reference_data("rbm_4x4_multimodal.npz"))
    return arrays["bias_left"], arrays["bias_right"], arrays["weights"]


def mnist_784x15():
    """Trained on MNIST; exact log Z = 215.138405525316."""
    arrays = scipy.io.loadmat(reference_data("rbm_mnist_784x15.mat"))
    return arrays["visbiases"].ravel(), arrays["hidbiases"].ravel(), arrays["vishid"]
