"""One private Ray cluster, and one workspace with a tiny trained run, for the whole test session of this folder."""

import gc
import warnings
from contextlib import ExitStack

import pytest
import ray

from curation.tables import Workspace
from jobs.cluster import joined


@pytest.fixture(scope="session")
def local_ray():
    """Two CPUs, so that pools of two actors run also on smaller machines."""
    with ExitStack() as stack:
        with warnings.catch_warnings():  # where Ray gave up its first start, it left processes that nobody waited for
            warnings.simplefilter("ignore", ResourceWarning)
            stack.enter_context(joined())
            gc.collect()
        yield ray.cluster_resources()


@pytest.fixture(scope="session")
def trained_workspace(tmp_path_factory) -> Workspace:
    """Tests add samples to it; each asks for prompts of its own."""
    from tests.jobs.trained import train_tiny

    return train_tiny(tmp_path_factory.mktemp("trained"))
