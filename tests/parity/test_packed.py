"Rounding beside PyTorch's, and published bfloat16 folders beside `transformers`"
import numpy as np
import pytest

torch = pytest.importorskip("torch")
tr = pytest.importorskip("transformers")

from numpygpt import packed                                  # noqa: E402

SMALL = dict(vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=3,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=48,
             bos_token_id=None, eos_token_id=None, pad_token_id=None)
GPT2 = dict(vocab_size=61, n_positions=48, n_embd=24, n_layer=3, n_head=4, bos_token_id=None,
            eos_token_id=None)
CONFIGS = {"gpt2": tr.GPT2Config(**GPT2), "llama": tr.LlamaConfig(**SMALL),
           "qwen2": tr.Qwen2Config(**SMALL, tie_word_embeddings=True),
           "phi3": tr.Phi3Config(**SMALL)}
IDS = np.random.default_rng(0).integers(61, size=(1, 20))


def test_rounding_is_that_of_pytorch():
    "All upper halves, each with lower halves around the tie"
    low = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    x = (np.arange(1 << 16, dtype=np.uint32)[:, None] << 16 | low).view("f4")
    theirs = torch.from_numpy(x).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    ours, number = packed.to_bfloat16(x), ~np.isnan(x)
    assert np.array_equal(ours[number], theirs[number])
    assert np.isnan(packed.widen(ours)[~number]).all()


@pytest.mark.parametrize("name", CONFIGS)
def test_prefill_and_cached_steps(name, tmp_path):
    torch.manual_seed(0)
    theirs = tr.AutoModelForCausalLM.from_config(CONFIGS[name], attn_implementation="eager").eval()
    with torch.no_grad():
        for p in theirs.parameters(): p.add_(0.3 * torch.randn_like(p) if p.ndim < 2 else 4 * p)
    theirs.to(torch.bfloat16).save_pretrained(tmp_path)
    wide = tr.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32,
                                                   attn_implementation="eager").eval()
    with torch.no_grad(): want = wide(torch.as_tensor(IDS)).logits.numpy()
    for precision, bound in {"bfloat16": 1e-5, "int8": 0.1}.items():
        model, _ = packed.load(tmp_path, precision)
        cache = model.new_cache(1)
        made = [model(IDS[:, :12], cache)] + [model(IDS[:, t:t + 1], cache) for t in range(12, 20)]
        got = np.concatenate(made, 1)
        assert np.abs(got - want).max() <= bound * max(1, np.abs(want).max())
        assert np.abs(model(IDS) - want).max() <= bound * max(1, np.abs(want).max())
