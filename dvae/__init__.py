"""Discrete variational autoencoders with Boltzmann machine priors: experiments, from data to evaluation."""
