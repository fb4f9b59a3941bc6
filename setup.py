from setuptools import find_packages, setup

_PLOTS = ["matplotlib>=3.9"]
_CLUSTER = ["distributed>=2025.1"]

setup(
    name="discrete-vae",
    version="0.1.0",
    description="Discrete variational autoencoders with Boltzmann machines (DVAE## and its kin) in TensorFlow 2",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["dvae", "dvae.*", "models", "models.*", "samplers", "samplers.*"]),
    package_data={
        "dvae": ["py.typed"],
        "dvae.report": ["page.html.j2"],
        "dvae.tables": ["published/*.csv"],
        "models": ["py.typed"],
        "samplers": ["py.typed"],
    },
    py_modules=["run_training", "run_eval"],
    install_requires=[
        "absl-py>=2.1",
        "filelock>=3.30",
        "jinja2>=3.1",
        "keras>=3.10",
        "numpy>=2.0",
        "plotly>=6.0",
        "scikit-learn>=1.5",
        "scipy>=1.14",
        "tensorboard>=2.20",
        "tensorflow>=2.20",
        "tensorflow-probability>=0.25",
        "tf-keras>=2.20",
        "tqdm>=4.66",
    ],
    extras_require={
        "plots": _PLOTS,
        "cluster": _CLUSTER,
        "dev": [*_PLOTS, *_CLUSTER, "mypy>=1.15", "pre-commit>=4", "pytest>=8", "pytest-xdist>=3.6", "ruff>=0.9"],
    },
)
