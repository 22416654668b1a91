"The three schedulers against PyTorch's, rate by rate"
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make parity` installs it")
from torch.optim import lr_scheduler

from numpygpt import schedules

LR, N = 0.3, 60


def rates(make, losses=None):
    "The learning rate of each step under a scheduler of PyTorch, made for an optimizer"
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    scheduler, seen = make(optimizer), []
    for i in range(N):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*([losses[i]] if losses is not None else []))
    return seen


def test_in_steps():
    theirs = rates(lambda o: lr_scheduler.StepLR(o, 7, 0.3))
    ours = [schedules.step_decay(i, LR, 7, 0.3) for i in range(N)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("patience", [0, 2, 5])
def test_on_a_plateau(patience):
    losses = 2 + np.exp(-np.arange(N) / 8) + np.random.default_rng(0).normal(0, 0.02, N)
    theirs = rates(lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=patience,
                                                            min_lr=0.01), losses)
    ours = [schedules.plateau(losses[:i], LR, 0.5, patience, floor=0.01) for i in range(N)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert len(set(ours)) > 1


def test_a_cosine():
    theirs = rates(lambda o: lr_scheduler.CosineAnnealingLR(o, N - 1, eta_min=0.1 * LR))
    ours = [schedules.cosine(i, LR, N, floor=0.1) for i in range(N)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_a_cosine_with_warm_up():
    def both(o):
        warm = lr_scheduler.LinearLR(o, 0.1, 1.0, 9)
        return lr_scheduler.SequentialLR(o, [warm, lr_scheduler.CosineAnnealingLR(o, N - 11)], [10])
    ours = [schedules.cosine(i, LR, N, 10) for i in range(N)]
    np.testing.assert_allclose(ours, rates(both), rtol=1e-9, atol=1e-12)
