"Published folders that are cut off or something else: one line each; the right one opens"
import json

import numpy as np
import pytest

from numpygpt import GPT, GPTConfig, hub, load, save
from numpygpt.files import DIGESTS

SHAPE = dict(vocab_size=53, context=32, n_layer=2, n_embd=16, n_head=4, n_kv_head=2, n_hidden=24,
             norm="rmsnorm", activation="swiglu", mlp_bias=False, tied=True, rope_dtype="float32")
IDS = np.random.default_rng(3).integers(53, size=(2, 11))


@pytest.fixture
def tiny(tmp_path):
    model = GPT(GPTConfig(**SHAPE), np.random.default_rng(0)).eval()
    hub.export(model, tmp_path / "tiny")
    (tmp_path / "tiny" / DIGESTS).unlink()                   # others publish without
    return model, tmp_path / "tiny"


def config(folder, **changes):
    path = folder / hub.CONFIG
    h = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in h.items() if v is not ...}))


def index(folder):
    names = list(hub.read_tensors(folder))
    (folder / hub.SINGLE).unlink()
    (folder / hub.INDEX).write_text(json.dumps(
        {"weight_map": dict.fromkeys(names, "one.safetensors")}))


def instead(name, data):
    def change(folder):
        (folder / hub.SINGLE).unlink()
        (folder / name).write_bytes(data)
    return change


def small_vocabulary(folder):
    from numpygpt import BPETokenizer
    made = BPETokenizer.train("the sea and the ship and the shore " * 9, 260)
    made.save(folder / "tokenizer.json")


BAD = {"cut off": (lambda f: (f / hub.SINGLE).write_bytes((f / hub.SINGLE).read_bytes()[:-9]),
                   "cut off"),
       "a missing shard": (index, "one.safetensors is missing"),
       "no hidden_size": (lambda f: config(f, hidden_size=...), "lacks hidden_size"),
       "no kind": (lambda f: config(f, model_type=...), "no model_type"),
       "T5": (lambda f: config(f, model_type="t5"), "'t5'"),
       "an image model": (lambda f: config(f, model_type="vit"), "'vit'"),
       "another RoPE": (lambda f: config(f, rope_scaling={"rope_type": "yarn"}), "'yarn'"),
       "another activation": (lambda f: config(f, hidden_act="relu"), "hidden_act"),
       "a block more": (lambda f: config(f, num_hidden_layers=3), "missing model.layers.2"),
       "a block less": (lambda f: config(f, num_hidden_layers=1), "left over model.layers.1"),
       "packed": (lambda f: config(f, quantization_config={"bits": 4}), "unpacked"),
       "more tokens than rows": (small_vocabulary, "do not belong together"),
       "GGUF": (instead("model.gguf", b"GGUF" + bytes(60)), "GGUF"),
       "a pickle in a zip": (instead("pytorch_model.bin", b"PK\3\4" + bytes(60)), "pickle"),
       "a pickle": (instead("pytorch_model.bin", b"\x80\2" + bytes(60)), "pickle"),
       "nothing": (lambda f: (f / hub.SINGLE).unlink(), "download the weights"),
       "no JSON": (lambda f: (f / hub.CONFIG).write_text('{"model_type": '), "cannot be read")}


@pytest.mark.parametrize("name", BAD)
def test_bad_folders_get_one_line(tiny, name):
    _, folder = tiny
    change, says = BAD[name]
    change(folder)
    with pytest.raises((ValueError, OSError)) as error: load(folder)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_what_was_written_is_read(tiny):
    model, folder = tiny
    again, tokenizer = load(folder)
    assert tokenizer is None and np.array_equal(again(IDS), model(IDS))
    assert not again.training and hub.said(again.config) == hub.said(model.config)
    assert load(folder, context=8)[0].config.context == 8
    with pytest.raises(ValueError, match="choose 1 to 32"): load(folder, context=33)


def test_our_own_folders_open_by_the_same_door(tiny, tmp_path):
    model, _ = tiny
    save(tmp_path / "ours", model)
    assert np.array_equal(load(tmp_path / "ours")[0](IDS), model(IDS))
    assert load()[1] is not None and hub.end_ids(tmp_path / "ours") == ()


def test_no_gradients_before_they_are_asked_for(tiny):
    again = hub.read_model(tiny[1])
    assert not any("dW" in vars(m) for _, m in again.modules())
