"""Shared by all tests: they need no optimised code."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Most of the time goes to compilation; the tests need no optimised code, and the older emitters are done sooner.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")

import pytest

# Files whose tests are of one parameter, and share nothing among those of different ones.
_APART = ("test_every_task.py", "test_compiled.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """What shares a fixture stays in one worker: the tests of a file; of `_APART`, those of one parameter.

    (xdist's `--dist loadgroup` groups nothing with pytest 9.2: https://github.com/pytest-dev/pytest-xdist/issues/1386)
    """
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 (where pytest runs without it, this is not called)

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            return file + test.partition("[")[2] if file.endswith(_APART) else file

    return Together(config, log)


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Small finished runs (`helpers/runs.py`), in a folder of all workers; `make test` names one for all its parts."""
    import runs  # noqa: PLC0415 (it takes TensorFlow)

    base = tmp_path_factory.getbasetemp()
    folder = os.environ.get("DVAE_SHARED_RUNS") or (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
    return runs.Shared(pathlib.Path(folder) / "shared")
