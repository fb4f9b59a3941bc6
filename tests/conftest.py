"""Shared by all tests: they need no optimised code."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Most of the time goes to compilation; the tests need no optimised code, and the older emitters are done sooner.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What shares a fixture stays in one worker: the tests of a file; where they are of finished runs, of one run."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            case = item.callspec.params.get("finished", "") if hasattr(item, "callspec") else ""
            item.add_marker(pytest.mark.xdist_group(f"{item.path.name}{case}"))
