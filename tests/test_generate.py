"Edge cases of chapter 19: samplers, the loop with its cache, beam search"
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from numpygpt.course import chapters
from numpygpt.generate import (beam_search, distribution, evaluating, generate, length_factor,
                               penalise, sample, truncate)
from numpygpt.module import Flat
from numpygpt.transformer import GPT, GPTConfig

inf, nan = np.inf, np.nan


def rng(seed=0): return np.random.default_rng(seed)


def model(seed=0, scale=0.5, dtype="f8", **kw):
    "A small GPT with weights of order one, so that its text is not uniform"
    config = dict(vocab_size=11, context=12, n_layer=2, n_embd=16, n_head=4, n_kv_head=2)
    m = GPT(GPTConfig(**{**config, **kw}), rng(seed))
    flat = Flat(m, dtype)
    flat.w[:] = rng(seed + 1).normal(0, scale, len(flat))
    return m


# probabilities, settings of `truncate`, what is left (before it is scaled up)
CUTS = [
    ([.5, .3, .2], dict(), [.5, .3, .2]),
    ([.5, .3, .2], dict(top_k=1), [.5, 0, 0]),
    ([.5, .3, .2], dict(top_k=3), [.5, .3, .2]),
    ([.5, .3, .2], dict(top_k=99), [.5, .3, .2]),
    ([.25] * 4, dict(top_k=2), [.25, .25, 0, 0]),                       # a tie: the lower ids stay
    ([.2, .3, .3, .2], dict(top_k=3), [.2, .3, .3, 0]),
    ([.5, .3, .2], dict(top_p=1), [.5, .3, .2]),
    ([.5, .3, .2], dict(top_p=.5), [.5, 0, 0]),                         # reached exactly
    ([.5, .3, .2], dict(top_p=.51), [.5, .3, 0]),  # the token that crosses the line stays
    ([.5, .3, .2], dict(top_p=1e-12), [.5, 0, 0]),                      # always one
    ([.25] * 4, dict(top_p=.5), [.25, .25, 0, 0]),
    # 0.1 + ... + 0.1 falls short of 0.8 by rounding
    ([.1] * 10, dict(top_p=.8), [.1] * 8 + [0, 0]),
    ([1 - 1e-13, 1e-13], dict(top_p=1), [1 - 1e-13, 1e-13]),  # p = 1 keeps the thinnest tail
    ([1., 0, 0], dict(top_p=.9), [1, 0, 0]),
    ([.5, .3, .2], dict(min_p=0), [.5, .3, .2]),
    ([.5, .3, .2], dict(min_p=.6), [.5, .3, 0]),
    ([.5, .3, .2], dict(min_p=1), [.5, 0, 0]),
    ([.25] * 4, dict(min_p=1), [.25] * 4),                              # all are the best
    # p of what top_k left: .63 of .9 is .4 + .3
    ([.4, .3, .2, .1], dict(top_k=3, top_p=.7), [.4, .3, 0, 0]),
    ([.4, .3, .2, .1], dict(top_k=3, top_p=.9, min_p=.6), [.4, .3, 0, 0]),
    ([1.], dict(top_k=1, top_p=.1, min_p=1), [1]),                      # a vocabulary of one
]


@pytest.mark.parametrize("p, kw, left", CUTS)
def test_truncate(p, kw, left):
    left = np.array(left) / np.sum(left)
    before = np.array([p, p[::-1]])
    after = truncate(before.copy(), **kw)
    assert np.allclose(after[0], left, rtol=0, atol=1e-12)
    assert np.allclose(np.sort(after[1]), np.sort(left), rtol=0, atol=1e-12)  # rows do not meet
    # top-p cuts what it has cut again
    assert np.allclose(truncate(after, **kw) > 0, after > 0) or "top_p" in kw


@pytest.mark.parametrize("logits, kw, p", [
    ([0, 0, 0], dict(temperature=0), [1, 0, 0]),  # greedy; the lower id in a tie
    ([0, 2, 2], dict(temperature=0), [0, 1, 0]),
    ([0, 1, 2], dict(temperature=1e-320), [0, 0, 1]),
    ([0, 1, 2], dict(temperature=1e300), [1 / 3] * 3),
    ([1e4, 0, -1e4], dict(), [1, 0, 0]),
    ([-1e300, -1e300], dict(), [.5, .5]),
    ([0, -inf, 0], dict(), [.5, 0, .5]),                                # a forbidden token
    (np.log([1, 2, 5]), dict(temperature=.5), np.array([1, 4, 25]) / 30),
])
def test_distribution(logits, kw, p):
    got = distribution(np.array([logits], "f8"), **kw)
    assert got.dtype == np.float64 and np.allclose(got, [p], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kw, word", [
    (dict(temperature=-.1), "temperature"), (dict(temperature=nan), "temperature"),
    (dict(temperature=inf), "temperature"),
    (dict(top_k=0), "top_k"), (dict(top_k=2.5), "top_k"), (dict(top_k=-1), "top_k"),
    (dict(top_p=0), "top_p"), (dict(top_p=1.1), "top_p"), (dict(top_p=nan), "top_p"),
    (dict(min_p=-.1), "min_p"), (dict(min_p=1.1), "min_p"), (dict(temperature=0, min_p=2), "min_p"),
])
def test_bad_settings(kw, word):
    with pytest.raises(ValueError, match=word): sample(np.zeros((1, 3)), rng(), **kw)
    with pytest.raises(ValueError, match=word):
        generate(model(), [1], 3, **kw)       # at the call, not at the first token


@pytest.mark.parametrize("logits",
                         [[[nan, 0]], [[inf, 0]], [[-inf, -inf]], [0, 1], [[0, 1], [nan, 1]]])
def test_bad_logits(logits):
    for temperature in (0, 1):
        with pytest.raises(ValueError, match="logits"):
            sample(np.array(logits, float), rng(), temperature)


@pytest.mark.parametrize("kw", [dict(), dict(temperature=.5), dict(temperature=3.), dict(top_k=3),
                                dict(top_p=.8), dict(min_p=.2)])
def test_sample_matches_its_distribution(kw):
    z, n = rng(1).normal(0, 1.5, 8), 20_000
    q = distribution(z[None], **kw)[0]
    seen = np.bincount(sample(np.tile(z, (n, 1)).astype("f4"), rng(2), **kw), minlength=8)
    assert not seen[q == 0].any()
    E = n * q[q > 0]
    assert chi2.sf(((seen[q > 0] - E) ** 2 / E).sum(), len(E) - 1) > 1e-4


def test_sample_is_pure():
    z = rng(3).normal(size=(4, 9))
    before = z.copy()
    a, b = sample(z, rng(5), top_p=.9), sample(z, rng(5), top_p=.9)
    assert (a == b).all() and (z == before).all() and a.shape == (4,) and a.dtype.kind == "i"


class Edge:
    "A generator whose every number is the largest below 1"
    def random(self, n): return np.full(n, np.nextafter(1, 0))


def test_sample_never_draws_the_impossible():
    for z in ([0, 0, -inf], [0, -1e9, -inf], list(rng(4).normal(size=50)) + [-inf]):
        p = distribution(np.array([z]))[0]
        assert p[sample(np.array([z]), Edge())[0]] > 0


def test_penalise():
    z, ids = np.array([[2., 1, -1, 0], [3., -3, 1, 1]]), np.array([[0, 0, 2], [1, 1, 1]])
    before = z.copy()
    assert np.allclose(penalise(z, ids, 2), [[1, 1, -2, 0], [3, -6, 1, 1]]) and (z == before).all()
    assert (penalise(z, ids, 1) == z).all() and (penalise(z, ids[:, :0], 3) == z).all()
    assert (penalise(z, ids, 1.5) <= z).all()
    assert penalise(z.astype("f4"), ids, 1.2).dtype == np.float32
    for bad in (0, -1, nan, inf):
        with pytest.raises(ValueError, match="penalty"): penalise(z, ids, bad)


@pytest.mark.parametrize("ids, word", [
    ([], "empty"), (np.zeros((2, 0), int), "empty"), ([1.5], "token ids"),
    (np.zeros((1, 1, 1), int), "shape"),
    (3, "shape"), ("text", "shape"), ([11], "0 to 10"), ([-1], "0 to 10"),
])
def test_bad_prompts(ids, word):
    with pytest.raises(ValueError, match=word): list(generate(model(), ids, 3))


@pytest.mark.parametrize("n", [-1, 2.5, "3"])
def test_bad_n_tokens(n):
    with pytest.raises(ValueError, match="n_tokens"): generate(model(), [1], n)


@pytest.mark.parametrize("kw", [
    dict(), dict(n_kv_head=1), dict(n_kv_head=4), dict(position="learned"),
    dict(position="sinusoidal"), dict(position="none"),
    dict(norm="rmsnorm", activation="swiglu", tied=True), dict(attn_bias=True, dropout=.5),
    dict(context=1), dict(context=2), dict(context=3),
])
@pytest.mark.parametrize("prompt", [1, 5, 12, 30])
def test_cache_changes_nothing(kw, prompt):
    m, ids = model(**kw), rng(7).integers(0, 11, (2, prompt))
    a, b = (np.array(list(generate(m, ids, 30, rng=3, use_cache=c, repetition_penalty=1.1)))
            for c in (True, False))
    assert a.shape == (30, 2) and (a == b).all()


@pytest.mark.parametrize("kw", [dict(), dict(n_kv_head=1), dict(position="learned"),
                                dict(position="sinusoidal"), dict(position="none")])
@pytest.mark.parametrize("cut", [(1,) * 12, (12,), (5, 1, 1, 5), (2, 3, 7)])
def test_logits_of_every_prefix(kw, cut):
    m, ids = model(**kw).eval(), rng(8).integers(0, 11, (3, 12))
    whole, cache, at = m(ids), m.new_cache(3), 0
    for n in cut:
        gap = np.abs(m(ids[:, at:at + n], cache) - whole[:, at:at + n]).max()
        assert gap <= 1e-12, (gap, at)
        at += n
    with pytest.raises(ValueError, match="context"): m(ids[:, :1], cache)


def test_same_seed_same_text_and_plain_integers():
    m = model()
    a, b, c = (list(generate(m, [1, 2], 20, rng=r)) for r in (4, 4, rng(4)))
    assert a == b == c and all(type(t) is int for t in a)
    assert a != list(generate(m, [1, 2], 20, rng=5))
    assert a == [int(t[0]) for t in generate(m, [[1, 2]], 20, rng=4)]
    # without a seed, too
    assert list(generate(m, [1, 2], 0)) == [] and len(list(generate(m, [1, 2], 3))) == 3


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint64"])
def test_prompts_of_any_integer_type(dtype):
    m = model()
    found = list(generate(m, np.array([1, 2], dtype), 9, rng=1))
    assert found == list(generate(m, [1, 2], 9, rng=1))


def test_greedy_rows_do_not_meet():
    m, ids = model(), rng(9).integers(0, 11, (4, 6))
    together = np.array(list(generate(m, ids, 25, temperature=0)))
    assert all(list(generate(m, row, 25, temperature=0)) == list(column)
               for row, column in zip(ids, together.T))


def test_stop():
    m = model()
    free = list(generate(m, [1], 40, rng=2))
    stop = free[7]
    first = free.index(stop)
    for s in (stop, (stop,), {stop}, np.array([stop])):
        assert list(generate(m, [1], 40, rng=2, stop=s)) == free[:first + 1]
    # no n_tokens: it ends by itself
    rows = np.array(list(generate(m, np.ones((5, 1), int), rng=2, stop=(0, 1, 2))))
    for row in rows.T:
        end = np.flatnonzero(np.isin(row, (0, 1, 2)))[0]
        assert (row[end:] == row[end]).all()  # who has ended repeats the end
    assert np.isin(rows[-1], (0, 1, 2)).all() and not np.isin(rows[-2], (0, 1, 2)).all()


def test_repetition_penalty_keeps_tokens_apart():
    m = model()
    plain, apart = (list(generate(m, [1], 11, temperature=0, repetition_penalty=p))
                    for p in (1, 1e6))
    assert len(set(apart)) >= len(set(plain)) and len(set(apart)) >= 5


def test_modes_come_back():
    m = model(dropout=.5).train()
    m.blocks[0].eval()
    modes = [(part, part.training) for _, part in m.modules()]
    def same(): return all(part.training == mode for part, mode in modes)
    text = generate(m, [1], 5, rng=1)
    assert same()                                            # nothing has happened yet
    next(text)
    assert not m.training and not same()
    text.close()
    assert same()
    list(generate(m, [1], 5, rng=1)), beam_search(m, [1], 3)
    assert same()
    with pytest.raises(ValueError): list(generate(m, [99], 5))
    assert same()
    with pytest.raises(KeyError), evaluating(m): raise KeyError
    assert same()


def naive_log_p(m, prompt, new):
    z = m(np.array([prompt + new]))[0, len(prompt) - 1:-1]
    z = z - z.max(-1, keepdims=True)
    z = z - np.log(np.exp(z).sum(-1, keepdims=True))
    return z[np.arange(len(new)), new].sum()


def endings(V, n, stop, new=()):
    if new and new[-1] in stop or len(new) == n: return [list(new)]
    return [e for t in range(V) for e in endings(V, n, stop, (*new, t))]


@pytest.mark.parametrize("stop", [(), (2,), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("alpha", [0, .6, 1, 2])
def test_wide_beam_is_exhaustive(stop, alpha):
    m = model(vocab_size=3, seed=3).eval()
    every = sorted(endings(3, 4, stop),
                   key=lambda e: -naive_log_p(m, [0, 1], e) / length_factor(len(e), alpha))
    found = beam_search(m, [0, 1], 4, width=200, length_penalty=alpha, stop=stop)
    assert [new for new, _ in found] == every
    assert all(abs(score - naive_log_p(m, [0, 1], new)) < 1e-12 for new, score in found)


def test_beam_edges():
    m = model()
    assert beam_search(m, [1, 2], 6, width=1)[0][0] == list(generate(m, [1, 2], 6, temperature=0))
    assert len(beam_search(m, [1, 2], 1, width=4)) == 4
    assert len(beam_search(m, [1, 2], 1, width=99)) == 11
    assert beam_search(m, [[1, 2]], 3) == beam_search(m, np.array([1, 2]), 3)
    # a full context still has room for one token
    assert len(beam_search(m, [1] * 12, 1)[0][0]) == 1
    for args, word in ((([[1], [2]], 3), "one sequence"), (([1], 0), "at least 1"),
                       (([1], 3, 0), "at least 1"), (([1] * 12, 2), "context"), (([], 2), "empty")):
        with pytest.raises(ValueError, match=word): beam_search(m, *args)


def test_length_factor():
    assert length_factor(1, .6) == 1 and length_factor(7, 0) == 1
    assert abs(length_factor(7, 1) - 2) < 1e-15


def test_float32_model_agrees_too():
    m = model(dtype="f4", scale=.2)
    a, b = (list(generate(m, [1, 2, 3], 40, rng=0, use_cache=c)) for c in (True, False))
    assert a == b


PLAIN = {}
for _, source in next(c for c in chapters() if c.module == "generate").cells():
    if source.startswith("def loop_truncate"): exec(source.split("\n\n")[0], PLAIN)
ENDS = dict(top_k=[None, 1, 2, 12, 13, 99],
            top_p=[None, 1e-300, 1e-13, 1e-12, 1e-6, .25, .5, .75, 1 - 1e-9, 1, 1.5],
            min_p=[None, 0, 1e-300, 1e-13, 1e-12, .25, .5, 1])


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=12, max_size=12).filter(any),
                min_size=1, max_size=3),
       st.fixed_dictionaries({name: st.sampled_from(values) for name, values in ENDS.items()}))
def test_the_plain_rules_and_the_fast_ones_agree_at_the_ends(counts, kw):
    "Rows with ties and zeros; each rule at both ends of its range, in every combination"
    p = np.array(counts) / np.sum(counts, -1, keepdims=True)
    fast = truncate(p.copy(), **kw)
    plain = np.array([PLAIN["loop_truncate"](list(row), **kw) for row in p])
    assert ((fast > 0) == (plain > 0)).all() and np.allclose(fast, plain, rtol=0, atol=1e-12)
    assert (fast > 0).any(-1).all()                          # never empty
    for bad in (0, 1 + 1e-9):
        with pytest.raises(ValueError, match="top_p"): distribution(p, top_p=bad)


@pytest.mark.parametrize("lines", [
    "from numpygpt import generate; f = generate",
    "import numpygpt; f = numpygpt.generate",
    "import numpygpt.generate; f = numpygpt.generate",
    "import numpygpt.generate; from numpygpt import generate; f = generate",
    "from numpygpt import generate as f; import numpygpt.generate; assert numpygpt.generate is f",
    "from numpygpt.generate import generate; f = generate",
    "import numpygpt.generate as f; assert f.beam_search and f.generate",
    "from numpygpt import beam_search, generate as f; assert f.beam_search is beam_search",
])
def test_the_module_may_be_called_as_the_function(lines):
    "In an interpreter of its own: what was imported before decides which of the two a name is"
    program = [lines, "import numpy as np", "from numpygpt import GPT, GPTConfig",
               "shape = GPTConfig(vocab_size=5, context=4, n_layer=1, n_embd=4, n_head=1)",
               "m = GPT(shape, np.random.default_rng(0))",
               "print(list(f(m, [1, 2], 3, rng=4)))",
               "print([int(column[0]) for column in f(m, ids=[[1, 2]], n_tokens=3, rng=4)])"]
    words = [sys.executable, "-c", "\n".join(program)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == second and first.count(",") == 2
