"Published models in our classes: logits, gradients and exports beside `transformers`"
import numpy as np
import pytest

torch = pytest.importorskip("torch")
tr = pytest.importorskip("transformers")

from numpygpt import hub                                     # noqa: E402
from numpygpt.module import Flat                             # noqa: E402

SMALL = dict(vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=3,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=48,
             bos_token_id=None, eos_token_id=None, pad_token_id=None)
SCALED = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16, rope_theta=300.0)
SLIDING = dict(use_sliding_window=True, sliding_window=5, max_window_layers=1)
GPT2 = dict(vocab_size=61, n_positions=48, n_embd=24, n_layer=3, n_head=4, bos_token_id=None,
            eos_token_id=None)
MODELS = {
    "gpt2": tr.GPT2Config(**GPT2),
    "gpt2 wide, relu, untied": tr.GPT2Config(**GPT2, n_inner=50, activation_function="relu",
                                             tie_word_embeddings=False, layer_norm_epsilon=1e-3),
    "gpt2 exact gelu": tr.GPT2Config(**GPT2, activation_function="gelu"),
    "llama": tr.LlamaConfig(**SMALL),
    "llama tied, biases, llama3": tr.LlamaConfig(**SMALL, tie_word_embeddings=True, mlp_bias=True,
                                                 attention_bias=True, rope_parameters=SCALED),
    "llama linear, head_dim": tr.LlamaConfig(
        **SMALL, head_dim=10, rms_norm_eps=1e-3,
        rope_parameters=dict(rope_type="linear", factor=3.0, rope_theta=500.0)),
    "mistral": tr.MistralConfig(**SMALL, sliding_window=7),
    "mistral without window": tr.MistralConfig(**SMALL, sliding_window=None, head_dim=8),
    "qwen2": tr.Qwen2Config(**SMALL, tie_word_embeddings=True),
    "qwen2 sliding": tr.Qwen2Config(**SMALL, **SLIDING),
    "qwen3": tr.Qwen3Config(**SMALL, head_dim=10),
    "qwen3 sliding, biases": tr.Qwen3Config(**SMALL, **SLIDING, head_dim=8, attention_bias=True),
    "phi3": tr.Phi3Config(**SMALL, sliding_window=6)}
IDS = np.random.default_rng(0).integers(61, size=(2, 20))


def reference(name):
    "A random model of `transformers` whose gains and biases are no ones and zeros"
    torch.manual_seed(0)
    model = tr.AutoModelForCausalLM.from_config(MODELS[name], attn_implementation="eager").eval()
    with torch.no_grad():
        for p in model.parameters(): p.add_(0.3 * torch.randn_like(p) if p.ndim < 2 else 4 * p)
    return model


def logits(model, ids):
    with torch.no_grad(): return model(torch.as_tensor(ids)).logits.float().numpy()


def opened(folder):
    return tr.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                   attn_implementation="eager").eval()


def near(ours, theirs, bound=1e-5):
    assert np.abs(ours - theirs).max() <= bound * max(1, np.abs(theirs).max())


@pytest.fixture(scope="module", params=MODELS)
def both(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    model = reference(request.param)
    model.save_pretrained(folder)
    return folder, model


def test_whole_pass(both):
    folder, theirs = both
    ours = hub.read_model(folder)
    assert all(w.dtype == np.float32 for w in ours.named_parameters().values())
    near(ours(IDS), logits(theirs, IDS))


def test_prefill_and_cached_steps(both):
    folder, theirs = both
    ours, want = hub.read_model(folder), logits(theirs, IDS)
    cache = ours.new_cache(len(IDS))
    near(ours(IDS[:, :9], cache), want[:, :9])
    near(ours(IDS[:, 9:12], cache), want[:, 9:12])
    for t in range(12, IDS.shape[1]): near(ours(IDS[:, t:t + 1], cache)[:, 0], want[:, t])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_in_shards(both, tmp_path, dtype):
    _, theirs = both
    half = tr.AutoModelForCausalLM.from_config(theirs.config, attn_implementation="eager").eval()
    half.load_state_dict(theirs.state_dict())
    half.to(dtype).save_pretrained(tmp_path, max_shard_size="12KB")
    assert (tmp_path / hub.INDEX).is_file() and len(list(tmp_path.glob("*.safetensors"))) > 1
    wide = opened(tmp_path)
    near(hub.read_model(tmp_path)(IDS), logits(wide, IDS))


def test_the_older_dialect(both, tmp_path):
    "rope_theta beside rope_scaling instead of both in rope_parameters"
    folder, theirs = both
    h = hub.read_json((folder / hub.CONFIG).read_bytes(), folder)
    rope = h.pop("rope_parameters", {})
    theta = {"rope_theta": rope.pop("rope_theta")} if rope else {}
    old = h | theta | {"rope_scaling": None if rope.get("rope_type") == "default" else rope}
    assert hub.to_config(old) == hub.read_config(folder)[1]


def test_exported_again(both, tmp_path):
    folder, theirs = both
    ours = hub.read_model(folder)
    for like in (folder, None):                              # None: the first family that fits
        kind = hub.export(ours, tmp_path / "out", like=like)
        got, want = logits(opened(tmp_path / "out"), IDS), logits(theirs, IDS)
        near(got, want, 0 if kind == theirs.config.model_type else 1e-6)
        assert hub.said(hub.read_config(tmp_path / "out")[1]) == hub.said(ours.config)


def doubled(theirs, ours, monkeypatch):
    "The reference in float64 all the way: it would drop to float32 in norms, softmax and tables"
    softmax = torch.nn.functional.softmax
    monkeypatch.setattr(torch.nn.functional, "softmax",
                        lambda x, dim=-1, dtype=None: softmax(x, dim))
    model = tr.AutoModelForCausalLM.from_config(theirs.config, attn_implementation="eager").double()
    model.load_state_dict(theirs.state_dict())
    tables = ours.rope and [torch.as_tensor(np.concatenate([t, t], -1), dtype=torch.float64)
                            for t in ours.rope]
    for m in model.modules():
        kind = type(m).__name__
        if kind.endswith("RMSNorm"): m.forward = norm_of(m)
        if kind.endswith("RotaryEmbedding"):
            m.forward = lambda x, position_ids: [t[None, :x.shape[1]] for t in tables]
    return model.eval()


def norm_of(m):
    eps = m.variance_epsilon
    return lambda x: m.weight * (x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps))


def test_gradients_in_float64(both, monkeypatch):
    folder, theirs = both
    ours = hub.read_model(folder)
    flat = Flat(ours.train(), "f8")
    model = doubled(theirs, ours, monkeypatch)
    want = model(torch.as_tensor(IDS)).logits
    got = ours(IDS)
    near(got, want.detach().numpy(), 1e-12)
    dy = np.random.default_rng(1).normal(size=got.shape)
    want.backward(torch.as_tensor(dy))
    flat.zero_grad()
    ours.backward(dy)
    kind, config = hub.read_config(folder)
    grads = {name: p.grad.numpy() for name, p in model.named_parameters()}
    mine, shapes = ours.named_gradients(), hub.shapes_of(config)
    for name, paths, turned in hub.stored(kind, shapes, config.n_layer, hub.FAMILIES[kind].prefix):
        a, b = np.concatenate([mine[p] for p in paths], -1), grads.pop(name)
        assert np.abs((a.T if turned else a) - b).max() <= 1e-6 * np.abs(b).max(), name
    assert not grads
