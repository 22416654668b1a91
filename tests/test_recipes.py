"What a run chooses besides its model: the backend, AdamW, a schedule, how long a gradient may be"
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from numpygpt import schedules
from numpygpt.linear import Linear
from numpygpt.module import Flat
from numpygpt.optimizers import AdamW, clip_grad_norm


def backend_in(folder, **variables):
    "What a new interpreter in the folder says: the library behind `xp`, or the error"
    env = {k: v for k, v in os.environ.items() if k != "NUMPYGPT_BACKEND"} | variables
    code = ("import sys; from numpygpt.backend import xp, get_device; "
            "print(xp.__name__, get_device(), 'dotenv' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env,
                          capture_output=True, text=True)
    return done.stdout.split() if done.returncode == 0 else done.stderr


def test_the_backend_is_numpy_unless_a_dotenv_file_or_the_environment_says_otherwise(tmp_path):
    assert backend_in(tmp_path) == ["numpy", "cpu", "False"]
    (tmp_path / ".env").write_text('OTHER=1\nNUMPYGPT_BACKEND="torch"\n')
    # an error that names what came and what there is
    assert "torch" in backend_in(tmp_path) and "numpy" in backend_in(tmp_path)
    assert backend_in(tmp_path, NUMPYGPT_BACKEND="numpy") == ["numpy", "cpu", "False"]
    (tmp_path / ".env").write_text("NUMPYGPT_BACKEND=numpy\n")
    assert backend_in(tmp_path) == ["numpy", "cpu", "True"]


def test_adamw_step_by_step():
    "Two steps against the formulas of the paper, written out; decay on the matrix alone"
    layer, rng = Linear(3, 2, np.random.default_rng(0)), np.random.default_rng(1)
    lr, decay, (b1, b2) = 0.1, 0.5, (0.8, 0.9)
    flat = Flat(layer, "f8")
    optimizer = AdamW(flat, lr, (b1, b2), 1e-8, decay)
    w = {path: p.copy() for path, p in layer.named_parameters().items()}
    m, v = {p: 0 for p in w}, {p: 0 for p in w}
    for t in (1, 2):
        flat.dw[:] = rng.normal(size=len(flat))
        for path, g in layer.named_gradients().items():
            m[path], v[path] = b1 * m[path] + (1 - b1) * g, b2 * v[path] + (1 - b2) * g * g
            step = (m[path] / (1 - b1**t)) / (np.sqrt(v[path] / (1 - b2**t)) + 1e-8)
            w[path] = w[path] - lr * decay * w[path] * (w[path].ndim > 1) - lr * step
        optimizer.step()
        for path, p in layer.named_parameters().items():
            np.testing.assert_allclose(p, w[path], rtol=1e-12)


def test_schedule_in_steps():
    assert [schedules.step_decay(i, 1.0, 3, 0.5) for i in range(7)] == [1, 1, 1, .5, .5, .5, .25]


def test_schedule_on_a_plateau():
    rates = [schedules.plateau([5, 4, 4, 4, 4, 3, 3, 3, 3][:n], 1.0, 0.5, 2, floor=0.3)
             for n in range(10)]
    # the third loss that is no better cuts; then the floor
    assert rates == [1, 1, 1, 1, 1, .5, .5, .5, .5, .3]


def test_schedule_of_a_cosine():
    rates = np.array([schedules.cosine(i, 2.0, 110, 10, 0.1) for i in range(130)])
    np.testing.assert_allclose(rates[:10], 2 * np.arange(1, 11) / 10)
    assert math.isclose(rates[10], 2) and math.isclose(rates[109], 0.2)
    assert (rates[109:] == rates[109]).all()
    assert (np.diff(rates[10:110]) < 0).all()
    # half a cosine is odd about its middle
    np.testing.assert_allclose(rates[10:110] + rates[10:110][::-1], 2.2)


@pytest.mark.parametrize("longest", [0.0, 0.5, 5.0, 50.0, math.inf])
def test_clipping_shortens_and_keeps_the_direction(longest):
    dw = np.random.default_rng(0).normal(size=300)
    before = dw.copy()
    norm = clip_grad_norm(dw, longest)
    assert math.isclose(norm, np.linalg.norm(before)) and type(norm) is float
    np.testing.assert_allclose(dw, before * min(1, longest / norm), rtol=1e-12)
    if longest > norm: assert (dw == before).all()


def test_clipping_leaves_zeros_and_what_is_not_finite():
    assert clip_grad_norm(zeros := np.zeros(3), 1.0) == 0 and not zeros.any()
    assert math.isinf(clip_grad_norm(endless := np.array([np.inf, 1]), 1.0)) and endless[1] == 1
    with pytest.raises(ValueError, match="max_norm must be 0 or more"): clip_grad_norm(zeros, -1)
