"""One private Ray cluster for the whole test session of this folder."""

import pytest
import ray

from jobs.cluster import joined


@pytest.fixture(scope="session")
def local_ray():
    """Two CPUs, so that pools of two actors run also on smaller machines."""
    with joined():
        yield ray.cluster_resources()
