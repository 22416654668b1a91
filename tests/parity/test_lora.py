"LoRA beside autograd: the adapter that we write, put beside each module by hand, in float64"
import numpy as np
import pytest

torch = pytest.importorskip("torch")
tr = pytest.importorskip("transformers")

from safetensors.numpy import load_file                      # noqa: E402
from test_hub import IDS, MODELS, doubled, near, reference   # noqa: E402

from numpygpt import hub                                     # noqa: E402
from numpygpt.lora import ADAPTER, adapters, load_adapter, lora, merge, save_adapter    # noqa: E402

HEAD, RANK, ALPHA = "base_model.model.", 3, 5.0
ON = {"gpt2": ("q", "v", "down"), "phi3": ("q", "k", "v", "gate", "up", "o")}


def drawn(model):
    "Numbers for B"
    rng = np.random.default_rng(5)
    for a in adapters(model).values(): a.B[...] = rng.normal(0, 0.3, a.B.shape)
    return model


def in_double(model):
    for _, owner, name in model.slots(): setattr(owner, name, getattr(owner, name).astype("f8"))
    return model.train()


def beside(model, tensors, scale):
    "Hook the adapter of a file to the modules that it names; its arrays as leaves by name"
    leaves = {n: torch.tensor(t, dtype=torch.float64, requires_grad=True)
              for n, t in tensors.items()}
    for name in {n.removeprefix(HEAD).rpartition(".lora_")[0] for n in leaves}:
        A, B = (leaves[f"{HEAD}{name}.lora_{x}.weight"] for x in "AB")
        model.get_submodule(name).register_forward_hook(
            lambda m, x, y, A=A, B=B: y + scale * (x[0] @ A.T) @ B.T)
    return leaves


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_gradients(name, tmp_path, monkeypatch):
    theirs = reference(name)
    theirs.save_pretrained(tmp_path / "base")
    kind, _ = hub.read_config(tmp_path / "base")
    ours = drawn(lora(hub.read_model(tmp_path / "base"), RANK, ALPHA, ON.get(kind, ("q", "v")), 4))
    save_adapter(ours, tmp_path / "adapter", like=tmp_path / "base")
    model = doubled(theirs, ours, monkeypatch).requires_grad_(False)
    leaves = beside(model, load_file(tmp_path / "adapter" / ADAPTER), ALPHA / RANK)
    in_double(ours)
    got, want = ours(IDS), model(torch.as_tensor(IDS)).logits
    near(got, want.detach().numpy(), 1e-12)
    dy = np.random.default_rng(1).normal(size=got.shape)
    ours.backward(dy)
    want.backward(torch.as_tensor(dy))
    assert not any(n in vars(m) for _, m in ours.modules() for n in ("dW", "dg", "db"))
    back = in_double(load_adapter(hub.read_model(tmp_path / "base"), tmp_path / "adapter"))
    near(back(IDS), got, 1e-12)
    back.backward(dy)
    grads = back.named_gradients() if kind in ("gpt2", "phi3") else ours.named_gradients()
    split = 0
    for leaf, tensor in leaves.items():                      # a shared A has the sum of its layers
        site, x = leaf.removeprefix(HEAD).removesuffix(".weight").rpartition(".lora_")[::2]
        paths = next([p.removesuffix(".W") for p in paths]
                     for n, paths, _ in hub.stored(kind, hub.shapes_of(back.config),
                                                   back.config.n_layer, hub.FAMILIES[kind].prefix)
                     if n == f"{site}.weight")
        parts, split = [grads[f"{p}.{x}"] for p in paths], split + (len(paths) > 1)
        mine = (sum(parts) if x == "A" else np.concatenate(parts, -1)).T
        assert np.abs(mine - tensor.grad.numpy()).max() <= 1e-6 * tensor.grad.abs().max(), leaf
    assert split or kind not in ("gpt2", "phi3")


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2", "qwen3", "phi3", "mistral"])
def test_merged_and_exported(name, tmp_path):
    reference(name).save_pretrained(tmp_path / "base")
    ours = drawn(lora(hub.read_model(tmp_path / "base"), RANK, ALPHA, rng=4)).eval()
    kept = ours(IDS)
    hub.export(merge(ours), tmp_path / "out", like=tmp_path / "base")
    model = tr.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32,
                                                    attn_implementation="eager").eval()
    with torch.no_grad(): near(model(torch.as_tensor(IDS)).logits.numpy(), kept)


def test_the_library_peft_opens_what_we_write_and_we_what_it_writes(tmp_path):
    peft = pytest.importorskip("peft")
    reference("llama").save_pretrained(tmp_path / "base")
    ours = drawn(lora(hub.read_model(tmp_path / "base"), RANK, ALPHA, ("q", "v", "up"), 4)).eval()
    save_adapter(ours, tmp_path / "adapter", like=tmp_path / "base")
    base = tr.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    with torch.no_grad(): near(theirs(torch.as_tensor(IDS)).logits.numpy(), ours(IDS))
    theirs.save_pretrained(tmp_path / "theirs")
    back = load_adapter(hub.read_model(tmp_path / "base"), tmp_path / "theirs")
    assert np.array_equal(back(IDS), ours(IDS))
