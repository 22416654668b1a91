"What a step costs: the counts are exact, the instruments measure, and memory is held"
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from numpygpt.cost import (STEPS, cpu_ms, extra_mb, hold_memory, once_ms, pairs, step_flops,
                           step_passes, step_products, widths)
from numpygpt.gradcheck import wrongs
from numpygpt.training import accumulate
from numpygpt.transformer import GPT, GPTConfig

SMALL = GPTConfig(vocab_size=11, context=6, n_layer=2, n_embd=16, n_head=4, n_kv_head=2)
CONFIGS = {"GQA": SMALL, "MHA": replace(SMALL, n_kv_head=4),
           "swiglu": replace(SMALL, activation="swiglu"), "hidden": replace(SMALL, n_hidden=23),
           "long": replace(SMALL, context=17), "blocks": replace(SMALL, context=300),
           "blocks twice": replace(SMALL, context=1100)}


class Counted(np.ndarray):
    "Counts the operations of every matrix product that it takes part in"
    flops = 0
    def __array_ufunc__(self, ufunc, method, *args, out=None, **kw):
        plain = lambda x: x.view(np.ndarray) if isinstance(x, Counted) else x
        if ufunc is np.matmul: Counted.flops += 2 * args[0].size * args[1].shape[-1]
        if out is not None: kw["out"] = tuple(map(plain, out))
        y = getattr(ufunc, method)(*map(plain, args), **kw)
        return y.view(Counted) if isinstance(y, np.ndarray) else y


@pytest.mark.parametrize("name", CONFIGS)
def test_operations_are_counted_to_the_last_one(name):
    config = CONFIGS[name]
    model = GPT(config, np.random.default_rng(0))
    for _, owner, key in model.slots(): setattr(owner, key, getattr(owner, key).view(Counted))
    ids, Counted.flops = np.zeros((3, config.context), int), 0
    accumulate(model, ids, ids, 3)
    assert Counted.flops == step_products(config, 3) and (
        name.startswith("blocks") or step_flops(config, 3) == Counted.flops)


@pytest.mark.parametrize("mistake", wrongs(step_flops), ids=lambda w: w.name)
def test_every_wrong_count_is_caught(mistake):
    assert mistake.thought
    assert all(mistake.code(c, 3) != step_flops(c, 3) for c in CONFIGS.values())


def test_passes_grow_with_the_batch_and_with_the_pieces():
    config, _ = STEPS["nano"]
    one, two = (step_passes(config, 12, pieces) for pieces in (1, 2))
    named = GPT(config, np.random.default_rng(0)).named_parameters()
    matrices = sum(w.size for w in named.values() if w.ndim == 2)
    assert two - one == 3 * matrices                         # one gradient is added to another
    assert step_passes(config, 24, 2) == 2 * one


def test_scores_in_blocks():
    "Blocks of 64 queries, two heads for each key: 64 (64 + 128 + 192 + 256) + 44 * 300 by hand"
    assert pairs(replace(SMALL, context=128)) == 128**2
    assert pairs(replace(SMALL, context=300)) == 64 * 640 + 44 * 300


def test_widths_are_those_of_the_arrays():
    assert widths(SMALL) == (16, 64, 24, 8) and widths(replace(SMALL, n_kv_head=None))[3] == 16


def test_the_clock_counts_work_and_not_sleep():
    assert once_ms(lambda: time.sleep(0.05)) < 40
    calls = []
    assert cpu_ms(lambda: calls.append(0), 4) >= 0 and len(calls) == 5


def test_memory_is_that_of_the_call():
    there = np.ones(1 << 20)
    two = lambda: [there.copy(), there.copy()]
    assert extra_mb(two) == pytest.approx(2 * 8.39, rel=0.01)
    with pytest.raises(ZeroDivisionError): extra_mb(lambda: 1 / 0)
    assert extra_mb(lambda: None) < 0.1


@pytest.mark.skipif(not hold_memory(False), reason="the C library is not glibc")
def test_held_memory_costs_no_page_faults():
    script = (
        "import resource, sys, numpy as np; from numpygpt.cost import hold_memory\n"
        "if sys.argv[1] == 'held': hold_memory()\n"
        "def use(): return sum(float((np.ones(1 << n, 'f4') + 1)[0]) for n in (16, 18, 20))\n"
        "use(); before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(20): use()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)")
    faults = {how: int(subprocess.run([sys.executable, "-c", script, how], capture_output=True,
                                      text=True, check=True).stdout) for how in ("held", "not")}
    assert faults["held"] < 100 and faults["held"] < faults["not"]
