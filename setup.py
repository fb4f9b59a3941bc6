"""Which packages, programs and data files there are. All else of the metadata is in `pyproject.toml`."""

from setuptools import find_packages, setup

setup(
    packages=find_packages(include=["dvae", "dvae.*", "models", "models.*", "samplers", "samplers.*"]),
    py_modules=["run_training", "run_eval"],
    package_data={
        "dvae": ["py.typed"],
        "dvae.report": ["page.html.j2"],
        "dvae.tables": ["published/*.csv"],
        "models": ["py.typed"],
        "samplers": ["py.typed"],
    },
)
