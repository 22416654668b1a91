"LoRA: gradients, merging, frozen weights, adapters in files"
import json

import numpy as np
import pytest

from numpygpt.gradcheck import certify
from numpygpt.linear import Linear
from numpygpt.lora import LoRA, adapters, load_adapter, lora, merge, save_adapter
from numpygpt.module import Flat
from numpygpt.transformer import GPT, GPTConfig

SHAPES = {
    "gpt2": dict(position="learned", attn_bias=True, mlp_bias=True, tied=True),
    "llama": dict(norm="rmsnorm", activation="swiglu", mlp_bias=False, n_kv_head=2),
    "qwen2": dict(norm="rmsnorm", activation="swiglu", mlp_bias=False, qkv_bias=True, tied=True),
    "qwen3": dict(norm="rmsnorm", activation="swiglu", mlp_bias=False, qk_norm=True, head_dim=6)}


def small(name="llama", seed=0, **more):
    base = dict(vocab_size=11, context=8, n_layer=2, n_embd=8, n_head=4, n_hidden=12)
    return GPT(GPTConfig(**base | SHAPES[name] | more), np.random.default_rng(seed))


def tuned(model, seed=1, **settings):
    "With adapters that change something"
    lora(model, **settings, rng=seed)
    rng = np.random.default_rng(seed)
    for a in adapters(model).values(): a.B[...] = rng.normal(size=a.B.shape)
    return model


IDS = np.random.default_rng(2).integers(0, 11, (2, 8))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (2, 2, 3, 5)])
def test_its_gradients(shape, bias):
    rng = np.random.default_rng(3)
    layer = LoRA(Linear(5, 7, rng, bias), 2, 6.0, rng)
    assert certify(layer, rng.normal(size=shape)).ok


@pytest.mark.parametrize("name", SHAPES)
def test_the_gradients_of_a_whole_model(name):
    model = tuned(small(name), on=("q", "v", "up"), rank=2)
    found = certify(model, IDS, limit=4, scale=0.5)
    assert found.ok, found
    assert {p.rpartition(".")[2] for p in found.shapes} == {"A", "B"}


def test_a_new_adapter_changes_nothing_and_B_alone_has_a_gradient():
    model = small()
    before = model(IDS)
    assert np.array_equal(lora(model, rng=0)(IDS), before)
    model.backward(np.random.default_rng(4).normal(size=before.shape).astype("f4"))
    for a in adapters(model).values(): assert a.dB.any() and not a.dA.any()


def test_frozen_weights_have_no_gradient_and_keep_their_arrays():
    model = small()
    before = model.named_parameters()
    flat = Flat(lora(model, rank=2, rng=0))
    model.backward(np.ones_like(model(IDS)))
    for _, part in model.modules():
        if not isinstance(part, LoRA): assert not [n for n in vars(part) if n in ("dW", "dg", "db")]
    now = {p.replace(".base.", "."): w for p, w in model.named_parameters().items()}
    assert all(now[p] is w for p, w in before.items())
    assert len(flat) == sum(a.A.size + a.B.size for a in adapters(model).values())


@pytest.mark.parametrize("on", [("q", "v"), ("k",), ("o", "up", "gate", "down")])
def test_merged_weights_compute_the_same(on):
    model = tuned(small(), on=on, rank=3, alpha=5)
    for _, owner, name in model.slots(): setattr(owner, name, getattr(owner, name).astype("f8"))
    before = model(IDS)
    assert merge(model) is model and not adapters(model)
    np.testing.assert_allclose(model(IDS), before, rtol=1e-12, atol=1e-12)
    assert not any(part.frozen for _, part in model.modules())
    model.backward(np.ones_like(before))
    assert model.blocks[0].attn.q.dW.any()


def test_merging_leaves_the_old_arrays_alone():
    model = tuned(small())
    W = model.blocks[0].attn.q.base.W
    copy = W.copy()
    merge(model)
    assert np.array_equal(W, copy) and not np.array_equal(model.blocks[0].attn.q.W, copy)


@pytest.mark.parametrize("settings, said", [
    (dict(rank=0), "rank must be a whole number from 1 up, got 0"),
    (dict(rank=2.5), "rank must be a whole number"),
    (dict(alpha=0), "alpha must be above 0"),
    (dict(on=("q", "w")), "on must name some of q, k, v, o, up, gate, down"),
    (dict(on="q"), "on must name some of"), (dict(on=()), "on must name some of")])
def test_settings_that_do_not_fit(settings, said):
    model = small()
    with pytest.raises(ValueError, match=said): lora(model, **settings)
    assert not adapters(model) and not any(part.frozen for _, part in model.modules())


def test_adapters_come_once():
    with pytest.raises(ValueError, match=r"merge\(model\) comes first"): lora(tuned(small()))


@pytest.mark.parametrize("name", SHAPES)
def test_an_adapter_goes_out_and_comes_back(name, tmp_path):
    model = tuned(small(name), rank=2, alpha=3)
    save_adapter(model, tmp_path / "a")
    back = load_adapter(small(name), tmp_path / "a")
    np.testing.assert_allclose(back(IDS), model(IDS), rtol=0, atol=2e-6)
    if name != "gpt2":                                   # there q, k, v share a matrix
        mine, theirs = (m.state_dict(frozen=False) for m in (model, back))
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(mine[p], theirs[p]) for p in mine)
    save_adapter(back, tmp_path / "a")                   # over the old one
    np.testing.assert_allclose(load_adapter(small(name), tmp_path / "a")(IDS), model(IDS), rtol=0,
                               atol=2e-6)


def test_the_names_are_those_of_peft(tmp_path):
    from safetensors.numpy import load_file
    save_adapter(tuned(small(), rank=2), tmp_path / "a")
    found = load_file(tmp_path / "a" / "adapter_model.safetensors")
    head = "base_model.model.model.layers.1.self_attn.v_proj.lora_"
    assert found[f"{head}A.weight"].shape == (2, 8) and found[f"{head}B.weight"].shape == (4, 2)
    assert len(found) == 2 * 2 * 2
    h = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert h["r"] == 2 and h["lora_alpha"] == 16 and h["target_modules"] == ["q_proj", "v_proj"]


def changed(folder, **entries):
    (folder / "digests.json").unlink()
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize("entries, said", [
    (dict(use_dora=True), "use_dora = True, which is not known"),
    (dict(rank_pattern={"q_proj": 4}), "rank_pattern"), (dict(bias="all"), "bias = 'all'"),
    (dict(peft_type="IA3"), "peft_type = 'IA3'"), (dict(r=None), "lacks r"),
    (dict(something_new=3), "something_new = 3"), (dict(init_lora_weights="pissa"), "pissa"),
    (dict(r=4), "lora_A.weight is .2, 8. where .4, 8. is needed")])
def test_what_a_config_asks_for_that_is_not_known(entries, said, tmp_path):
    save_adapter(tuned(small(), rank=2), tmp_path / "a")
    changed(tmp_path / "a", **entries)
    model = small()
    with pytest.raises(ValueError, match=said): load_adapter(model, tmp_path / "a")
    assert not adapters(model) and not any(part.frozen for _, part in model.modules())


def test_what_is_off_asks_for_nothing(tmp_path):
    save_adapter(tuned(small(), rank=2), tmp_path / "a")
    changed(tmp_path / "a", use_dora=False, modules_to_save=None, rank_pattern={}, new_thing=[])
    assert adapters(load_adapter(small(), tmp_path / "a"))


def test_tensors_that_have_no_place_are_named(tmp_path):
    from safetensors.numpy import load_file, save_file
    save_adapter(tuned(small(), rank=2), tmp_path / "a")
    path = tmp_path / "a" / "adapter_model.safetensors"
    (tmp_path / "a" / "digests.json").unlink()
    found = load_file(path)
    lost = found.pop("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight")
    save_file(found, path)
    with pytest.raises(ValueError, match="missing .*layers.0.self_attn.q_proj.lora_B"):
        load_adapter(small(), tmp_path / "a")
    save_file(found | {"base_model.model.lm_head.lora_A.weight": lost}, path)
    with pytest.raises(ValueError, match="left over base_model.model.lm_head.lora_A"):
        load_adapter(small(), tmp_path / "a")


def test_an_adapter_is_put_nowhere_else(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other things"):
        save_adapter(tuned(small()), tmp_path)
    with pytest.raises(ValueError, match="has no adapters"): save_adapter(small(), tmp_path / "b")


def test_blocks_that_compute_again_give_the_same_bits():
    found = []
    for recompute in (False, True):
        model = tuned(small(recompute=recompute))
        model.backward(np.ones_like(model(IDS)))
        found.append(model.named_gradients())
    assert all(np.array_equal(g, found[1][p]) for p, g in found[0].items())


def test_packed_weights_run_beside_an_adapter_and_say_that_they_do_not_learn(tmp_path):
    from numpygpt import hub, packed
    hub.export(small(), tmp_path / "base")
    save_adapter(tuned(small(), rank=2), tmp_path / "a")
    ids = IDS[:1]
    whole = load_adapter(hub.read_model(tmp_path / "base"), tmp_path / "a")(ids)
    model, _ = packed.load(tmp_path / "base", "int8")
    near = load_adapter(model, tmp_path / "a")(ids)
    assert 0 < np.abs(near - whole).max() < 0.1 * np.abs(whole).max()
    model.train()
    with pytest.raises(ValueError, match="to train it"): model.backward(np.ones_like(model(ids)))
    with pytest.raises(ValueError, match="to change it"): merge(model)
