"Every layer's gradients against PyTorch's, and the stored ones are what PyTorch gives today"
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make parity` installs it")

import make_stored

OURS = {"smollm2", "inside"}    # of models: benchmarks/hub.py and benchmarks/runs.py write them
STORED = {path.stem: path for path in make_stored.OUT.glob("*.npz") if path.stem not in OURS}
FRESH = {**dict(make_stored.cases(np.random.default_rng(20))),
         "optimizers": make_stored.optimizer_traces(np.random.default_rng(21))}


def test_every_case_is_stored_and_no_other(): assert STORED.keys() == FRESH.keys()


@pytest.mark.parametrize("case", STORED)
def test_stored_values_are_pytorchs(case):
    with np.load(STORED[case]) as stored:
        assert set(stored) == set(FRESH[case])
        for name in stored:
            np.testing.assert_allclose(stored[name], FRESH[case][name], rtol=1e-9, atol=1e-11,
                                       err_msg=name)
