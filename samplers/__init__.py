"""Restricted Boltzmann machines and how to sample them, in pure TensorFlow: no Keras, no flags, no files."""
