"Weights in two bytes or in one: the same numbers, the derived errors, the promised memory"
import json
import subprocess
import sys

import numpy as np
import pytest

from numpygpt import GPT, Flat, GPTConfig, hub, packed, save
from numpygpt.generate import generate
from numpygpt.packed import Packed, quantise, to_bfloat16, widen
from numpygpt.transformer import attention_maps

LLAMA = dict(vocab_size=53, context=32, n_layer=2, n_embd=24, n_head=4, n_kv_head=2, n_hidden=40,
             norm="rmsnorm", activation="swiglu", mlp_bias=False, rope_dtype="float32")
GPT2 = dict(vocab_size=53, context=32, n_layer=2, n_embd=24, n_head=4, n_hidden=40, tied=True,
            position="learned", attn_bias=True)
SHAPES = {"tied": LLAMA | dict(tied=True), "with a head": LLAMA, "gpt2": GPT2,
          "biases": LLAMA | dict(qkv_bias=True, tied=True)}
IDS = np.random.default_rng(3).integers(53, size=(2, 11))


def halved(source, target):
    "A published folder once more, its weights rounded to bfloat16, as its publisher would"
    target.mkdir()
    (target / hub.CONFIG).write_bytes((source / hub.CONFIG).read_bytes())
    header, data = {}, b""
    for name, t in hub.read_tensors(source).items():
        part = to_bfloat16(t.read()).tobytes()
        header[name] = {"dtype": "BF16", "shape": t.shape,
                        "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (target / hub.SINGLE).write_bytes(len(text).to_bytes(8, "little") + text + data)
    return target


@pytest.fixture(params=SHAPES)
def folders(request, tmp_path):
    model = GPT(GPTConfig(**SHAPES[request.param]), np.random.default_rng(0)).eval()
    rng = np.random.default_rng(1)
    for w in model.named_parameters().values(): w += rng.normal(0, 0.1, w.shape)
    hub.export(model, tmp_path / "full")
    return tmp_path / "full", halved(tmp_path / "full", tmp_path / "half")


def near(a, b, bound): assert np.abs(a - b).max() <= bound * np.abs(b).max()


def test_bfloat16_is_the_same_model(folders):
    "The numbers are those of the file; a product of tiles is that of the same tiles in float32"
    _, half = folders
    ours, theirs = packed.load(half, "bfloat16")[0], hub.read_model(half)
    for path, w in ours.named_parameters().items():
        plain = theirs.named_parameters()[path]
        if isinstance(w, packed.Turned): w, plain = w.T, plain.T
        if isinstance(w, Packed): w = w[np.arange(len(w))]
        assert np.array_equal(w, plain), path
    assert ours.named_parameters().keys() == theirs.named_parameters().keys()
    assert ours.n_params == theirs.n_params and not ours.training
    near(ours(IDS), theirs(IDS), 1e-6)


def test_float32_is_rounded_where_bfloat16_is_asked_for(folders):
    ours, theirs = (packed.load(folder, "bfloat16")[0].named_parameters() for folder in folders)
    for path, w in ours.items():
        if isinstance(w, np.ndarray): continue                # gains and biases stay float32
        table, same = (w, theirs[path]) if isinstance(w, Packed) else (w.T, theirs[path].T)
        assert np.array_equal(table.numbers, same.numbers)
        assert table.numbers.dtype == np.uint16


@pytest.mark.parametrize("n, m, rows", [(300, 96, 1), (300, 96, 5), (16, 8, 1), (53, 24, 1)])
def test_a_tile_is_multiplied_as_float32_would_be(n, m, rows, monkeypatch):
    monkeypatch.setattr(packed, "TILE", 96 * 32)
    monkeypatch.setattr(packed, "SLAB", 96 * 128)
    rng = np.random.default_rng(0)
    bits = to_bfloat16(rng.normal(size=(n, m)))
    x = rng.normal(size=(rows, m)).astype("f4")
    y = x @ Packed(bits).T
    assert np.array_equal(y, x @ Packed(widen(bits)).T) and y.dtype == np.float32
    near(y, x @ widen(bits).T, 1e-6)


def test_threads_change_nothing(monkeypatch):
    "Whichever thread takes a tile, the tile is the same"
    monkeypatch.setattr(packed, "TILE", 1 << 12)
    table = Packed(to_bfloat16(np.random.default_rng(0).normal(size=(2000, 64))))
    x = np.ones((1, 64), "f4")
    class Three:
        num_threads, asked = 3, []
        def set_num_threads(self, n): self.asked.append(n)
    alone = x @ table.T
    monkeypatch.setattr(packed, "blas", lambda: [Three()])
    assert all(np.array_equal(x @ table.T, alone) for _ in range(20))
    assert Three.asked[:2] == [1, 3]                          # put back


def test_int8_keeps_its_bound(folders):
    full, _ = folders
    ours, theirs = packed.load(full, "int8")[0], hub.read_model(full)
    x = np.random.default_rng(2).normal(size=(7, 24)).astype("f4")
    seen = 0
    for path, w in ours.named_parameters().items():
        if not isinstance(w, packed.Turned) or w.shape[0] != 24: continue
        plain = theirs.named_parameters()[path]
        bound = np.abs(x).sum(-1)[:, None] * np.abs(plain).max(0) / 254
        assert (np.abs(x @ w - x @ plain) <= bound * 1.0001 + 1e-6).all(), path
        assert np.abs(x @ w - x @ plain).max() > 0
        seen += 1
    assert seen >= 8
    near(ours(IDS), theirs(IDS), 0.1)


def test_an_outlier_costs_its_own_row_only():
    w = np.random.default_rng(0).normal(size=(4, 50)).astype("f4")
    w[2, 0] = 1e4
    q, scale = quantise(w)
    off = np.abs(q * scale[:, None] - w)
    assert (off <= scale[:, None] / 2 * 1.0001).all() and off[[0, 1, 3]].max() < 0.02
    assert q.dtype == np.int8 and np.abs(q.astype(int)).max(1).tolist() == [127] * 4
    zeros = quantise(np.zeros((2, 3), "f4"))
    assert not zeros[0].any() and zeros[1].tolist() == [1, 1]
    with pytest.raises(ValueError, match="finite"): quantise(np.full((1, 2), np.inf, "f4"))


@pytest.mark.parametrize("bits, rounded", [
    (0x3F800000, 0x3F80), (0x3F807FFF, 0x3F80), (0x3F808000, 0x3F80), (0x3F808001, 0x3F81),
    (0x3F818000, 0x3F82), (0xBF818000, 0xBF82), (0x3FFF8000, 0x4000), (0x7F7FFFFF, 0x7F80),
    (0x7F800000, 0x7F80), (0x80000000, 0x8000), (0x00018000, 0x0002), (0x7FFFFFFF, 0x7FC0)])
def test_rounding_to_bfloat16(bits, rounded):
    assert to_bfloat16(np.array([bits], np.uint32).view("f4")).tolist() == [rounded]


def test_every_bfloat16_comes_back():
    bits = np.arange(1 << 16).astype(np.uint16)
    number = ~np.isnan(widen(bits))
    assert np.array_equal(to_bfloat16(widen(bits))[number], bits[number])
    assert np.array_equal(widen(bits)[:4].view(np.uint32), np.arange(4) << 16)


def test_written_and_read_like_any_model(folders):
    full, half = folders
    for precision in packed.PRECISIONS:
        model, tokenizer = packed.load(half, precision, context=20)
        assert tokenizer is None and model.config.context == 20
        made = list(generate(model, IDS[0], 9, 0, temperature=0))
        again = list(generate(model, IDS[0], 9, 0, temperature=0, use_cache=False))
        assert made == again and len(made) == 9
    assert attention_maps(model, IDS).shape == (2, 2, 4, 11, 11)


def test_our_own_folders(tmp_path):
    own, tokenizer = packed.load(precision="bfloat16")
    assert tokenizer is not None and isinstance(own.emb.W, Packed)
    near(own(IDS), hub.load()[0](IDS), 0.05)
    model = GPT(GPTConfig(**GPT2), np.random.default_rng(0)).eval()
    save(tmp_path / "ours", model)
    near(packed.load(tmp_path / "ours", "int8")[0](IDS), model(IDS), 0.05)
    assert np.array_equal(packed.load(tmp_path / "ours")[0](IDS), model(IDS))


def test_it_cannot_be_trained_or_changed_and_says_so(folders, tmp_path):
    model = packed.load(folders[1], "bfloat16")[0]
    def step():
        model.train()
        model.backward(np.ones_like(model(IDS)))
    def frozen_step():
        model.freeze()
        step()
    for what in (step, frozen_step, lambda: Flat(model), model.state_dict,
                 lambda: save(tmp_path / "new", model), lambda: hub.export(model, tmp_path / "x"),
                 lambda: model.load_state_dict(hub.read_model(folders[1]).state_dict())):
        model.freeze(False)
        with pytest.raises(ValueError, match="load the folder with precision='float32'") as error:
            what()
        assert "\n" not in str(error.value)


def test_an_unknown_precision_is_named(folders):
    with pytest.raises(ValueError, match="one of float32, bfloat16, int8; got 'int4'"):
        packed.load(folders[0], "int4")


def test_bytes_of_a_token_are_those_of_the_matrices(folders):
    model = hub.read_model(folders[0])
    sizes = [w.nbytes for path, w in model.named_parameters().items()
             if w.ndim == 2 and (path != "emb.W" or model.config.tied) and path != "pos.W"]
    assert packed.token_bytes(model.config) == sum(sizes)
    keys = sum(c.k[:, :, :9].nbytes + c.v[:, :, :9].nbytes for c in model.new_cache(1))
    assert packed.token_bytes(model.config, 4, 9) == sum(sizes) + keys


MEMORY = """
import sys
from numpygpt import packed
def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
before = anonymous()
model, _ = packed.load(sys.argv[1], sys.argv[2])
print((anonymous() - before) / (4 * model.n_params))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted by Linux here")
def test_memory_after_loading(tmp_path):
    "As shares of the float32 bytes, beside the pages of the file; a process each"
    shape = LLAMA | dict(vocab_size=8192, n_embd=512, n_hidden=1536, n_layer=4, tied=True)
    hub.export(GPT(GPTConfig(**shape), np.random.default_rng(0)), tmp_path / "full")
    half = halved(tmp_path / "full", tmp_path / "half")
    for precision, most in {"float32": 1.1, "int8": 0.35, "bfloat16": 0.1}.items():
        done = subprocess.run([sys.executable, "-c", MEMORY, half, precision], check=True,
                              capture_output=True, text=True)
        assert float(done.stdout) < most, (precision, done.stdout)
