"""Every relaxation with its formula in NumPy: that of the transform, or the log-densities of the two components.

A relaxation that is missing here fails a test.
"""

import reference_models
from models.mixtures import Gaussian, GaussianIntegral, OverlappingExponential, PowerFunction, UniformExponential
from models.relaxations import Concrete, PiecewiseLinear, SpikeAndExponential

TRANSFORMS = {
    PiecewiseLinear: reference_models.pwl,
    Concrete: reference_models.concrete,
    SpikeAndExponential: reference_models.spike_and_exponential,
}
MIXTURES = {
    OverlappingExponential: reference_models.exponential,
    UniformExponential: reference_models.uniform_exponential,
    PowerFunction: reference_models.power_function,
    Gaussian: reference_models.gaussian,
    GaussianIntegral: reference_models.gaussian_integral,
}
