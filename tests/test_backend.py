"The same code on another device: a fake one that refuses to mix, and CuPy where there is a GPU"
import ast
from pathlib import Path

import numpy as np
import pytest

import numpygpt
from fake_device import CUPY, Array, Device
from numpygpt.backend import get_device, to_cpu, to_gpu, use, using, xp
from numpygpt.generate import generate
from numpygpt.losses import cross_entropy
from numpygpt.module import Flat
from numpygpt.optimizers import OPTIMIZERS, clip_grad_norm
from numpygpt.transformer import GPT, GPTConfig

VARIANTS = [dict(n_kv_head=2, tied=True),
            dict(norm="rmsnorm", activation="swiglu", position="learned", dropout=0.2),
            dict(position="sinusoidal", activation="relu", attn_bias=True), dict(activation="silu")]


def real_cupy():
    try: import cupy
    except ImportError: return None
    return "cupy" if cupy.cuda.is_available() else None


no_gpu = pytest.mark.skipif(real_cupy() is None, reason="no GPU here: CuPy was not tried")
DEVICES = [Device(), pytest.param(real_cupy(), marks=no_gpu)]


def train_and_generate(variant, optimizer):
    "Two steps, then greedy text: losses, gradient norms, tokens, weights"
    model = GPT(GPTConfig(vocab_size=13, context=8, n_layer=2, n_embd=16, n_head=4, **variant),
                np.random.default_rng(0))
    flat, rng, seen = Flat(model), np.random.default_rng(1), []
    opt = OPTIMIZERS[optimizer](flat, 1e-2)
    for _ in range(2):
        x, y = (xp.asarray(a) for a in rng.integers(0, 13, (2, 3, 8)))
        flat.zero_grad()
        loss, dlogits = cross_entropy(model(x), y)
        model.backward(dlogits)
        seen += [float(loss), clip_grad_norm(flat.dw, 0.5)]
        opt.step()
    ids = list(generate(model, xp.asarray(np.array([1, 2, 3])), 12, np.random.default_rng(2),
                        temperature=0.9, top_k=5, repetition_penalty=1.2))
    return seen, [int(i) for i in ids], model.state_dict()


@pytest.mark.parametrize("device", DEVICES, ids=["fake device", "CuPy"])
@pytest.mark.parametrize("variant, optimizer",
                         list(zip(VARIANTS, ["adamw", "sgd", "adam", "adamw"])))
def test_training_and_generation_are_the_same_on_a_device(device, variant, optimizer):
    here = train_and_generate(variant, optimizer)
    with using(device): there = train_and_generate(variant, optimizer)
    np.testing.assert_allclose(there[0], here[0], rtol=2e-5)
    assert there[1] == here[1]
    for path, w in here[2].items():
        np.testing.assert_allclose(there[2][path], w, rtol=1e-3, atol=2e-5, err_msg=path)


def test_the_fake_device_refuses_to_mix():
    with using(Device()):
        x = xp.ones(3)
        assert isinstance(x, Array) and get_device() == "gpu"
        for mix in (lambda: x + np.ones(3), lambda: np.ones(3) + x, lambda: np.exp(x),
                    lambda: np.asarray(x), lambda: xp.exp(np.ones(3)), lambda: xp.vecdot(x, x),
                    lambda: xp.sum(x, where=x > 0)):
            with pytest.raises((TypeError, AttributeError)): mix()
        assert to_cpu(x).tolist() == [1, 1, 1]


def uses(tree):
    "(dotted name, keywords, line) of every xp.<name> in a module"
    calls = {id(node.func): [k.arg for k in node.keywords]
             for node in ast.walk(tree) if isinstance(node, ast.Call)}
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or id(node) in inner: continue
        parts, at = [], node
        while isinstance(at, ast.Attribute): parts, at = [at.attr, *parts], at.value
        if isinstance(at, ast.Name) and at.id == "xp" and parts != ["asnumpy"]:
            yield ".".join(parts), calls.get(id(node), []), node.lineno


@pytest.mark.parametrize("path", sorted(Path(numpygpt.__file__).parent.glob("*.py")),
                         ids=lambda p: p.stem)
def test_every_xp_name_is_in_cupy(path):
    for name, keywords, line in uses(ast.parse(path.read_text(encoding="utf-8"))):
        assert name in CUPY, f"{path.name}:{line}: CuPy has no {name}"
        known = CUPY[name]
        if known is None: continue
        assert set(keywords) <= set(known), \
            f"{path.name}:{line}: {name} with {keywords}; CuPy has {known}"


def test_a_made_up_name_is_noticed():
    found = list(uses(ast.parse("y = xp.linalg.made_up(x, axis=1) + xp.vecdot(a, b)")))
    assert [f[:2] for f in found] == [("linalg.made_up", ["axis"]), ("vecdot", [])]
    assert not any(f[0] in CUPY for f in found)


def test_asking_for_a_gpu_without_one_says_what_to_do():
    if real_cupy(): pytest.skip("there is a GPU here")
    for ask in (lambda: use("cupy"), lambda: to_gpu(np.ones(3))):
        with pytest.raises(RuntimeError, match="CuPy.*use\\('numpy'\\)"): ask()
    assert get_device() == "cpu"
    with using("auto"): assert get_device() == "cpu"
    with pytest.raises(ValueError, match="must be one of numpy, cupy, auto; got 'torch'"):
        use("torch")
