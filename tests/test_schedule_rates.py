"Schedules, rate by rate: both ends of each line, floors, what ends and what does not"
import math
from functools import partial

import pytest

from numpygpt.schedules import constant, cosine, plateau, sequence, step_decay, warmup, wsd


def rates(schedule, n, *args, **kwargs):
    "The rates of the first n steps"
    return [schedule(t, *args, **kwargs) for t in range(n)]


def test_constant(): assert rates(constant, 3, 0.3) == [0.3] * 3


def test_step_decay():
    assert rates(step_decay, 7, 1.0, 2, 0.5) == [1, 1, .5, .5, .25, .25, .125]
    assert rates(step_decay, 3, 8.0, 1, 0.25) == [8, 2, .5]
    assert math.isclose(step_decay(5, 2.0, 5), 0.2)  # a tenth, unless told


def test_warmup():
    assert rates(warmup, 6, 2.0, 4) == [.5, 1, 1.5, 2, 2, 2]
    assert rates(warmup, 2, 2.0, 1) == rates(warmup, 2, 2.0, 0) == [2, 2]


def test_plateau():
    losses = [4, 3, 3, 3, 2, 2, 2, 2, 2]
    path = [plateau(losses[:n], 1.0, 0.5, 1) for n in range(10)]
    assert path == [1, 1, 1, 1, .5, .5, .5, .25, .25, .125]
    assert plateau(losses, 1.0, 0.5, 1, floor=0.25) == 0.25
    assert plateau([2.0] * 11, 1.0) == 1 and plateau([2.0] * 12, 1.0) == 0.1   # more than ten
    assert plateau([2.0] * 2, 0.1, 0.5, 0, floor=0.3) == 0.1  # a floor raises nothing


@pytest.mark.parametrize("second, rate", [(0.99995, 0.5), (0.9998, 1.0)])
def test_what_counts_as_better_on_a_plateau(second, rate):
    assert plateau([1.0, second], 1.0, 0.5, patience=0) == rate
    assert plateau([1.0, 0.9], 1.0, 0.5, patience=0, threshold=0.2) == 0.5
    assert plateau([1.0, 0.5], 1.0, 0.1, patience=0, threshold=0.5) == 0.1     # below, not at


def test_cosine():
    path = rates(cosine, 9, 4.0, 7, 2)
    root = math.sqrt(0.5)  # the cosine of 45 degrees
    assert path[:3] == [2, 4, 4] and path[6:] == [0, 0, 0]
    assert path[3:6] == pytest.approx([2 + 2 * root, 2, 2 - 2 * root], abs=1e-15)
    assert rates(cosine, 3, 1.0, 3) == pytest.approx([1, .5, 0], abs=1e-15)  # no warm-up


def test_cosine_with_a_floor():
    path = rates(cosine, 8, 4.0, 7, 2, 0.5)
    assert path[:3] == [2, 4, 4] and path[4] == pytest.approx(3) and path[6:] == [2, 2]
    assert rates(cosine, 4, 3.0, 3, floor=1.0) == [3, 3, 3, 3]


def test_wsd():
    assert rates(wsd, 12, 4.0, 10, 2, 4) == [2, 4, 4, 4, 4, 4, 3, 2, 1, 0, 0, 0]
    assert rates(wsd, 11, 4.0, 10, 2, 4, 0.5) == [2, 4, 4, 4, 4, 4, 3.5, 3, 2.5, 2, 2]
    assert rates(wsd, 6, 1.0, 5, decay=1) == [1, 1, 1, 1, 0, 0]


def test_wsd_without_a_decay_never_falls():
    assert rates(wsd, 9, 2.0, 5) == [2] * 9
    assert rates(wsd, 9, 2.0, 5, 2, floor=0.5) == [1] + [2] * 8
    assert rates(wsd, 9, 2.0, 4, 4) == [.5, 1, 1.5] + [2] * 6                  # all of it warm-up


def test_wsd_up_and_down_without_a_step_between():
    assert rates(wsd, 8, 1.0, 6, 2, 4) == [.5, 1, .75, .5, .25, 0, 0, 0]


@pytest.mark.parametrize("steps, up, down", [(10, 6, 9), (4, 3, 2), (4, 5, 0), (4, 0, 5),
                                             (4, -1, 2), (4, 2, -1)])
def test_wsd_refuses_lines_that_do_not_fit(steps, up, down):
    for step in (0, steps - 1, steps + 3):
        named = rf"warmup \({up}\).*decay \({down}\).*steps \({steps}\)"
        with pytest.raises(ValueError, match=named): wsd(step, 1.0, steps, up, down)


def test_sequence():
    stairs = partial(step_decay, lr=8.0, every=1, factor=0.5)
    parts = (3, partial(warmup, lr=1.0, steps=2)), (2, stairs), (None, lambda t: t)
    assert rates(sequence, 9, *parts) == [.5, 1, 1, 8, 4, 0, 1, 2, 3]
    assert rates(sequence, 3, (1, partial(constant, lr=0.5))) == [.5] * 3     # the last goes on


def test_the_last_step_of_a_run():
    "Step `steps` - 1 has the lowest rate, which is 0 where the floor is; none before it has rate 0"
    for steps in (3, 10, 101):
        for schedule in (cosine, partial(wsd, decay=steps - 1), partial(wsd, decay=1)):
            for floor in (0.0, 0.1, 1.0):
                path = rates(schedule, steps + 5, 0.3, steps, floor=floor)
                assert path[steps - 1:] == [0.3 * floor] * 6 and min(path[:steps - 1]) > 0
                assert all(type(rate) is float for rate in path)
        for schedule in (partial(constant, lr=1.0), partial(warmup, lr=1.0, steps=steps),
                         partial(step_decay, lr=1.0, every=2), lambda t: plateau([1.0] * t, 1.0),
                         partial(wsd, lr=1.0, steps=steps)):
            assert min(rates(schedule, steps)) > 0
