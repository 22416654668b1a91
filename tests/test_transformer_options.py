"""What a GPT can be asked for besides its shape: gradient checkpointing, pictures of attention,
attention both ways"""
import tracemalloc
from dataclasses import replace

import matplotlib
import numpy as np
import pytest

from numpygpt.activations import softmax
from numpygpt.attention import causal, split
from numpygpt.gradcheck import dot_test
from numpygpt.losses import cross_entropy
from numpygpt.module import Flat
from numpygpt.optimizers import AdamW
from numpygpt.replicas import Replicas
from numpygpt.rope import rotate
from numpygpt.training import accumulate
from numpygpt.transformer import GPT, Block, GPTConfig, Recomputed, attention_maps, plot_attention

matplotlib.use("agg")
SHAPE = dict(vocab_size=13, context=9, n_layer=3, n_embd=16, n_head=4)
CONFIGS = {"GPT-2": dict(position="learned", attn_bias=True, tied=True, dropout=0.3),
           "Llama": dict(norm="rmsnorm", activation="swiglu", n_kv_head=2, dropout=0.2),
           "both ways": dict(n_kv_head=1, position="sinusoidal", activation="silu", causal=False,
                             dropout=0.1)}
config = pytest.mark.parametrize("name", CONFIGS)


def make(name=None, dtype="f4", **more):
    "A GPT with weights of order one, and its Flat"
    model = GPT(GPTConfig(**{**SHAPE, **CONFIGS.get(name, {}), **more}), np.random.default_rng(0),
                np.random.default_rng(1))
    flat = Flat(model, dtype)
    flat.w[:] = np.random.default_rng(2).normal(0, 0.4, len(flat))
    return model, flat


def batch(size=6, T=9): return np.random.default_rng(3).integers(0, 13, (2, size, T))


def three_steps(run, flat, optimizer):
    "Losses, gradients and weights of three steps, as bytes: equal only if every bit is"
    seen = []
    for _ in range(3):
        flat.zero_grad()
        seen += [np.float64(run(*batch())).tobytes(), flat.dw.tobytes()]
        optimizer.step()
    return [*seen, flat.w.tobytes()]


@config
def test_recomputing_changes_no_bit(name):
    """Three steps with dropout: the masks of the second forward pass are those of the first,
    and the generator ends where it would have"""
    def train(recompute):
        model, flat = make(name, recompute=recompute)
        assert {type(b) for b in model.blocks} == {Recomputed if recompute else Block}
        losses = three_steps(lambda x, y: accumulate(model, x, y, 2), flat, AdamW(flat))
        return losses, model.drop.rng.bit_generator.state
    kept, again = train(False), train(True)
    # and each step differs from the others
    assert kept == again and len({*kept[0]}) == len(kept[0])


@config
def test_recomputing_changes_no_bit_with_two_workers(name):
    def train(recompute, workers):
        model, flat = make(name, recompute=recompute)
        with Replicas(model, flat, workers) as team:
            return three_steps(lambda x, y: team.accumulate(x, y, 2), flat, AdamW(flat))
    assert train(False, 1) == train(True, 1) == train(True, 2)


@config
def test_recomputed_gradients_pass_the_dot_test(name):
    options = {**SHAPE, **CONFIGS[name], "recompute": True}
    errors = dot_test(GPT(GPTConfig(**options), np.random.default_rng(0)), batch()[0],
                      per_tensor=True, scale=0.3)
    assert max(errors.values()) <= 1e-12, errors


def test_forgetting_the_generator_would_show():
    """The certificate of the tests above:
    with other masks in the second pass the gradient is another"""
    def gradient(spoil):
        model, flat = make("GPT-2", recompute=True)
        loss, dlogits = cross_entropy(model(batch()[0]), batch()[1])
        if spoil:
            for block in model.blocks:
                block._saved = (*block._saved[:-1], np.random.default_rng(9).bit_generator.state)
        model.backward(dlogits)
        return flat.dw.copy()
    right, wrong = gradient(False), gradient(True)
    assert np.linalg.norm(right - wrong) > 0.1 * np.linalg.norm(right)


def test_recomputing_needs_less_memory():
    "Two blocks more cost what two blocks keep; recomputed, they cost their inputs"
    def peak(recompute, layers):
        model, _ = make(n_layer=layers, n_embd=32, context=64, recompute=recompute)
        x, y = batch(8, 64)
        tracemalloc.start()
        model.backward(cross_entropy(model(x), y)[1])
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found
    kept, again = ((peak(recompute, 8), peak(recompute, 6)) for recompute in (False, True))
    one_input = 8 * 64 * 32 * 4
    assert again[0] < kept[0] / 2
    assert kept[0] - kept[1] > 2 * 10 * one_input and again[0] - again[1] < 2 * 2 * one_input


@config
def test_a_recomputed_model_is_the_same_when_it_does_not_train(name):
    plain, other = make(name)[0].eval(), make(name, recompute=True)[0].eval()
    ids = batch()[0]
    assert (plain(ids) == other(ids)).all()
    assert all(part._saved is None for _, part in other.modules() if "_saved" in vars(part))
    if plain.config.causal:
        caches = plain.new_cache(6), other.new_cache(6)
        assert all((plain(ids[:, i:i + 1], caches[0]) == other(ids[:, i:i + 1], caches[1])).all()
                   for i in range(9))


def maps_by_definition(model, ids):
    """The weights of each head, from the inputs of each layer and a softmax of scores,
    one head at a time"""
    c, found = model.config, []
    model.eval()
    T, D, G = ids.shape[1], c.n_embd // c.n_head, c.n_head // c.n_kv_head
    x = model.emb(ids)
    if model.pos: x = model.pos(x)
    if model.table is not None: x = x + model.table[:T].astype(x.dtype)
    rope = model.rope and tuple(t[:T] for t in model.rope)
    for block in model.blocks:
        n = block.norm1(x)
        q, k = (split(part(n), c.n_kv_head, D) for part in (block.attn.q, block.attn.k))
        if rope: q, k = rotate(q, *rope), rotate(k, *rope)
        heads = []
        for h in range(c.n_head):
            s = q[:, h // G, h % G] @ k[:, h // G, 0].swapaxes(-1, -2) / np.sqrt(D)
            heads.append(softmax(np.where(causal(T), s, -np.inf) if c.causal else s))
        found.append(np.stack(heads, 1))
        x = block(x, rope)
    return np.stack(found)


@pytest.mark.parametrize("name", [*CONFIGS, "recomputed"])
def test_attention_maps_are_the_softmax_of_the_scores(name):
    more = dict(recompute=True, n_kv_head=2) if name == "recomputed" else {}
    model, _ = make(name, dtype="f8", **more)
    ids = batch(2)[0]
    maps = attention_maps(model, ids)
    assert maps.shape == (3, 2, 4, 9, 9) and model.training                   # the mode came back
    np.testing.assert_allclose(maps.sum(-1), 1, rtol=0, atol=1e-12)
    above = maps[..., ~causal(9)]
    assert (above == 0).all() if model.config.causal else (above > 0).all()
    np.testing.assert_allclose(maps, maps_by_definition(model, ids), rtol=0, atol=1e-12)


def test_attention_maps_leave_the_model_as_it_was():
    model, flat = make("Llama")
    before, state = flat.w.copy(), model.drop.rng.bit_generator.state
    eval_logits = model.eval()(batch(2)[0])
    attention_maps(model, batch(2)[0])
    assert not model.training and (flat.w == before).all() and not flat.dw.any()
    assert model.drop.rng.bit_generator.state == state
    assert (model(batch(2)[0]) == eval_logits).all()
    with pytest.raises(ValueError, match="shape"): attention_maps(model, batch(2)[0][0])
    assert not model.training                                                 # after an error, too


@pytest.mark.parametrize("name", ["Llama", "both ways"])
def test_a_picture_has_one_panel_for_each_head(name):
    model, _ = make(name)
    maps = attention_maps(model, batch(1, 5)[0])[:, 0]
    figure = plot_attention(maps, ["a", " ", "\n", "é", "bc"])
    assert len(figure.axes) == 3 * 4
    for ax, map in zip(figure.axes, maps.reshape(-1, 5, 5)):
        np.testing.assert_allclose(np.square(ax.images[0].get_array()), map, atol=1e-6)
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == ["a", "\u2423", "\\n", "é", "bc"]
    figure.canvas.draw()
    matplotlib.pyplot.close(figure)


def test_without_a_mask_each_position_sees_all():
    "Changing the last token moves the first row of logits; with a mask it does not"
    ids = batch(1)[0]
    other = ids.copy()
    other[0, -1] = (ids[0, -1] + 1) % 13
    for see_all in (False, True):
        model, _ = make(dtype="f8", causal=not see_all)
        moved = np.abs(model(ids) - model(other)).max(-1)[0]
        assert (moved > 1e-6).all() if see_all else (moved[:-1] == 0).all() and moved[-1] > 1e-6


def test_without_mask_and_positions_the_order_is_no_matter():
    model, _ = make(dtype="f8", causal=False, position="none")
    ids, order = batch(2)[0], np.random.default_rng(4).permutation(9)
    np.testing.assert_allclose(model(ids[:, order]), model(ids)[:, order], rtol=0, atol=1e-12)


@config
def test_gradients_both_ways(name):
    options = {**SHAPE, **CONFIGS[name], "causal": False}
    errors = dot_test(GPT(GPTConfig(**options), np.random.default_rng(0)), batch()[0],
                      per_tensor=True, scale=0.3)
    assert max(errors.values()) <= 1e-12, errors


def test_a_model_that_sees_all_writes_nothing():
    model, _ = make(causal=False)
    with pytest.raises(ValueError, match="causal=False.*masked.*causal=True"): model.new_cache()
    assert len(make()[0].new_cache(2)) == 3
    assert not replace(model.config).causal
