import os

import pytest

from manual import MANUAL

# `make scenarios` runs them with clusters of all these sizes.
SIZES = [3, 4, 5] if os.environ.get("SURF_ALL_SIZES") else [3]


@pytest.fixture(params=SIZES)
def size(request):
    return request.param


@pytest.fixture
def make_manual(make_cluster):
    """make_manual(count): a started cluster without a leader, which only `surfctl leader` makes."""
    def make(count):
        c = make_cluster(count, MANUAL)
        c.wait_answering()
        return c

    return make
