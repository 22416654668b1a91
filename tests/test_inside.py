"""Chapter 39: terms that add up, whatever the model is made of; scores and ranks worked out by
hand; other maps with the same output; and the stored runs, which say what the chapter says"""
import json
from pathlib import Path

import numpy as np
import pytest

from numpygpt.checkpoint import load
from numpygpt.inside import (attention_only, by_head, copy_loss, copying, entry, follows,
                             logit_parts, nats, parts, prefix_matching, previous_token, rank_range,
                             read_out, repeated, thinned)
from numpygpt.losses import cross_entropy
from numpygpt.module import Flat
from numpygpt.transformer import GPT, GPTConfig, attention_maps

ROOT = Path(__file__).resolve().parents[1]
SMALL = dict(vocab_size=13, context=9, n_layer=2, n_embd=24, n_head=4)
KINDS = {"GQA, RoPE, tied": dict(n_kv_head=2, tied=True),
         "Llama": dict(norm="rmsnorm", activation="swiglu", mlp_bias=False, n_kv_head=1),
         "GPT-2": dict(position="learned", attn_bias=True),
         "sinusoidal": dict(position="sinusoidal"),
         "norms in the heads": dict(qk_norm=True), "window": dict(window=3),
         "texts apart": dict(text_end=0), "texts apart, learned": dict(text_end=0,
                                                                      position="learned"),
         "BERT": dict(causal=False), "long": dict(context=300, n_kv_head=2)}


def model_and_ids(seed=0, **kw):
    "A model in double precision with weights of order one, and (2, T) token ids"
    config, rng = GPTConfig(**SMALL | kw), np.random.default_rng(seed)
    model = GPT(config, rng)
    flat = Flat(model, "f8")
    flat.w[:] = rng.normal(0, 0.3, len(flat))
    return model, rng.integers(13, size=(2, config.context))


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_add_up_to_the_logits(kind):
    model, ids = model_and_ids(**KINDS[kind])
    found, wanted = parts(model, ids), model(ids)
    names = ["emb", *(f"{i}.{p}" for i in range(2) for p in "0123" + "b" * model.config.attn_bias),
             *(f"{i}.mlp" for i in range(2))]
    assert sorted(found) == sorted(names) and model.training
    assert abs(read_out(model, sum(found.values())) - wanted).max() < 1e-10
    votes = logit_parts(model, found)
    assert set(votes) - set(found) == ({"norm.b"} if model.config.norm == "layernorm" else set())
    assert abs(sum(votes.values()) - wanted).max() < 1e-10


def test_a_part_that_is_replaced_is_seen_by_what_follows():
    model, ids = model_and_ids()
    before, other = parts(model, ids), np.full(24, 0.7)
    after = parts(model, ids, {"0.2": other})
    assert list(after) == list(before) and after["0.2"] is other
    same = [name for name in before if name != "0.2" and np.array_equal(before[name], after[name])]
    assert same == ["emb", "0.0", "0.1", "0.3"]             # heads of a layer do not see each other
    with pytest.raises(ValueError, match=r"no parts \['2.0'\]: choose from emb, 0.0, "):
        parts(model, ids, {"2.0": other})
    assert (parts(model, ids, {"emb": 0 * before["emb"]})["emb"] == 0).all()
    assert np.allclose(parts(model, ids, {"0.2": before["0.2"]})["1.mlp"], before["1.mlp"])


def test_heads_are_those_of_the_attention_maps():
    model, ids = model_and_ids(n_kv_head=2)
    x, rope, first = entry(model, ids)
    block = model.blocks[0]
    a, v, adds = by_head(block.attn, block.norm1(x), rope, first)
    assert np.allclose(a, attention_maps(model, ids)[0]) and np.allclose(v[:, 0], v[:, 1])
    assert adds.shape == (2, 4, 9, 24)
    assert np.allclose(adds.sum(1), block.attn(block.norm1(x), rope))


def test_nats_are_those_of_cross_entropy():
    rng = np.random.default_rng(0)
    z, y = 5 * rng.normal(size=(2, 7, 13)), rng.integers(13, size=(2, 7))
    assert np.isclose(nats(z, y).mean(), cross_entropy(z, y)[0])
    assert np.isfinite(nats(1e4 * z, y)).all()


def test_attention_alone_stays_alone():
    config = GPTConfig(vocab_size=8, context=16, n_layer=2, n_embd=16, n_head=2)
    for _, model in copying(config, 0, 3, batch=2): pass
    found = parts(model, np.arange(8)[None])
    assert not found["0.mlp"].any() and not found["1.mlp"].any() and found["1.1"].any()
    assert not {p for p in model.named_gradients() if "mlp" in p or "norm2" in p}


def test_repeated_sequences_repeat_and_their_periods_differ():
    ids, period = repeated(np.random.default_rng(0), 40, 30, 64, 5, 9)
    assert set(period[:, 0]) == {5, 6, 7, 8, 9}
    for row, (p,) in zip(ids, period): assert np.array_equal(row[p:], row[:-p])
    assert len(set(ids[0, :period[0, 0]])) > 2


def test_the_score_by_hand():
    "a b b a b: query 2 finds a b at 1 and key 2 after it; query 3 key 1; query 4 keys 2 and 3"
    ids = np.array([[0, 1, 1, 0, 1]])
    assert [*zip(*np.nonzero(follows(ids)[0]))] == [(2, 2), (3, 1), (4, 2), (4, 3)]
    a = np.arange(25.0).reshape(1, 1, 1, 5, 5)
    assert prefix_matching(a, ids) == (12 + 16 + 22 + 23) / 3
    assert previous_token(a) == (5 + 11 + 17 + 23) / 4
    with pytest.raises(ValueError, match="no token comes twice"):
        prefix_matching(a, np.arange(5)[None])


def test_a_perfect_head_scores_one_and_one_that_finds_the_token_nothing():
    ids, period = repeated(np.random.default_rng(1), 5, 20, 1000, 6, 9)
    perfect = follows(ids) / np.maximum(follows(ids).sum(-1, keepdims=True), 1)
    assert np.isclose(prefix_matching(perfect[None, :, None], ids), 1)
    assert prefix_matching(np.eye(20)[None, None, None].repeat(5, 1), ids) == 0


def test_the_loss_of_told_tokens_alone():
    config = GPTConfig(vocab_size=8, context=16, n_layer=1, n_embd=16, n_head=2)
    model = attention_only(config, np.random.default_rng(0))
    ids, period = repeated(np.random.default_rng(1), 4, 12, 8, 3, 6)
    lost = nats(model(ids[:, :-1]), ids[:, 1:])
    told = [lost[b, i] for b in range(4) for i in range(11) if i >= period[b, 0]]
    assert np.allclose(copy_loss(model, ids, period)[1], np.mean(told)) and model.training


def test_ranks_are_those_that_the_data_allow():
    rng = np.random.default_rng(0)
    draws = rng.integers(40, size=(500, 40))
    hard = 10 * rng.normal(size=40)                          # the same texts are hard without each
    rises = hard + np.array([[3.0], [1.0], [2.0]]) + 0.01 * rng.normal(size=(3, 40))
    assert rank_range(rises, draws).tolist() == [[1, 1], [3, 3], [2, 2]]
    noise = np.stack([hard, -hard, np.roll(hard, 20)])
    assert (rank_range(noise - noise.mean(1, keepdims=True), draws) == [1, 3]).all()


@pytest.mark.parametrize("S, D", [(40, 5), (7, 5), (6, 5), (3, 5), (30, 1)])
def test_another_map_has_the_same_output(S, D):
    rng = np.random.default_rng(S)
    a, v = rng.dirichlet(np.full(S, 0.3)), rng.normal(size=(S, D))
    kept = a.copy()
    other = thinned(a, v)
    assert np.array_equal(a, kept) and (other >= 0).all() and (other > 0).sum() <= D + 1
    assert np.isclose(other.sum(), 1) and np.allclose(other @ v, a @ v, atol=1e-12)
    assert np.array_equal(other, a) == (S <= D + 1)


def test_weights_of_every_size_leave_the_output_alone():
    "A softmax of large scores: the smallest weights are far below rounding of the largest"
    rng = np.random.default_rng(7)
    a, v = np.exp(8 * rng.normal(size=90)), rng.normal(size=(90, 6)) * 10.0 ** np.arange(-3, 3)
    a /= a.sum()
    other = thinned(a, v)
    assert (other > 0).sum() <= 7 and abs(other.sum() - 1) < 1e-12
    assert (abs(other @ v - a @ v) < 1e-12 * abs(v).max(0)).all()


def test_values_that_are_all_alike_leave_few_keys():
    other = thinned(np.full(9, 1 / 9), np.ones((9, 3)))
    assert (other > 0).sum() <= 4 and np.isclose(other.sum(), 1)


@pytest.fixture(scope="module")
def stored(): return dict(np.load(ROOT / "nbs" / "stored" / "inside.npz"))


@pytest.fixture(scope="module")
def runs(script): return script("runs")


def test_the_stored_runs_are_those_of_the_command(stored, runs):
    assert stored["steps"].tolist() == runs.LOOKS.tolist() and len(stored["seeds"]) == 3
    for n_layer, name in ((1, "one"), (2, "two")):
        config = GPTConfig(n_layer=n_layer, **runs.COPIER)
        assert GPTConfig(**json.loads(str(stored[f"{name} config"]))) == config
    ids, period = repeated(np.random.default_rng(99), 64, 64, 64)
    for step, model in copying(config, 1, 20):
        if step not in stored["steps"]: continue
        assert np.allclose(copy_loss(model, ids, period), stored["two losses"][1, :, step // 20],
                           atol=0.02)


def test_two_layers_change_in_each_seed_and_one_layer_in_none(stored):
    for name, expected in (("two", True), ("one", False)):
        for told, scores in zip(stored[f"{name} losses"][:, 1], stored[f"{name} prefix"]):
            assert ((told[:-5] - told[5:]).max() > np.log(64) / 2) == expected
            assert (scores[-1].max() > 0.7) == expected and scores[0].max() < 0.1
            if not expected: assert told.min() > 3


def test_the_stored_maps_and_weights_belong_to_the_first_seed(stored):
    config = GPTConfig(**json.loads(str(stored["two config"])))
    model = attention_only(config, np.random.default_rng(0))
    model.load_state_dict({k.removeprefix("model "): w for k, w in stored.items()
                           if k.startswith("model ")}, frozen=False)
    maps = attention_maps(model, stored["ids"][None])[:, 0]
    assert abs(maps - stored["maps"][-1] / 255).max() < 0.02
    ids, period = repeated(np.random.default_rng(99), 64, 64, 64)
    assert np.allclose(copy_loss(model, ids, period), stored["two losses"][0, :, -1], atol=0.02)


def test_the_model_of_the_package_has_no_induction_head():
    "The chapter says so; another model would need another text"
    model, _ = load()
    twice = np.tile(np.random.default_rng(3).integers(256, 512, size=(16, 64)), 2)
    assert prefix_matching(attention_maps(model, twice), twice).max() < 0.05
