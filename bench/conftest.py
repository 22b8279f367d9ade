"""What the benchmarks share: one thread for everything, and the two backends side by side in one group.

    pytest bench --benchmark-group-by=group --benchmark-columns=median,iqr,rounds
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import workloads


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    with workloads.one_thread():
        yield


@pytest.fixture(params=workloads.BACKENDS)
def backend(request):
    return request.param


@pytest.fixture
def race(benchmark, request, backend):
    """Time a call, in one group with the other backend's."""

    def run(function, *arguments):
        benchmark.group = request.node.name.replace(f"{backend}-", "")
        function(*arguments)  # what the first call allocates, later ones reuse
        benchmark(function, *arguments)

    return run
