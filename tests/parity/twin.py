"""The layers of numpygpt once more in PyTorch, on weights named by numpygpt's paths;
autograd does the backward"""
import torch
import torch.nn.functional as F

from numpygpt import attention, embedding, layernorm, linear, transformer

CURVES = {"relu": F.relu, "sigmoid": torch.sigmoid, "gelu": lambda x: F.gelu(x, approximate="tanh"),
          "gelu_exact": F.gelu,
          "silu": F.silu, "swiglu": lambda a, b: F.silu(a) * b}


def rotate(x, cos, sin):
    "RoPE with complex numbers: pair (x[i], x[i + D/2]) is one of them"
    half = x.shape[-1] // 2
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.complex(cos, sin)
    return torch.cat([turned.real, turned.imag], -1)


def run(layer, w, path, x, **more):
    """Output of `layer` for weights `w` (path -> tensor); `path` is where the layer stands,
    '' or 'blocks.0.'"""
    W = lambda name: w.get(path + name)
    if isinstance(layer, linear.Linear): return F.linear(x, W("W").T, W("b"))
    if isinstance(layer, embedding.Embedding): return F.embedding(x, W("W"))
    if isinstance(layer, embedding.Position):
        return x + W("W")[more.get("places", slice(x.shape[1]))]
    if isinstance(layer, layernorm.LayerNorm):
        return F.layer_norm(x, x.shape[-1:], W("g"), W("b"), layer.eps)
    if isinstance(layer, layernorm.RMSNorm): return F.rms_norm(x, x.shape[-1:], W("g"), layer.eps)
    sub = lambda name, x, **more: run(getattr(layer, name), w, f"{path}{name}.", x, **more)
    if isinstance(layer, attention.Attention): return attend(layer, sub, x, **more)
    if isinstance(layer, transformer.MLP):
        h = (sub("gate", x), sub("up", x)) if layer.gate else (sub("up", x),)
        return sub("down", CURVES[layer.act.__name__](*h))
    if isinstance(layer, transformer.Block):
        x = x + sub("attn", sub("norm1", x), **more)
        return x + sub("mlp", sub("norm2", x))
    if isinstance(layer, transformer.GPT): return gpt(layer, w, sub, x)
    raise TypeError(f"no PyTorch twin for {type(layer).__name__}")


def attend(layer, sub, x, rope=None, mask=None):
    B, T, C = x.shape
    q, k, v = (sub(n, x).view(B, T, -1, layer.D).transpose(1, 2) for n in "qkv")
    if rope:
        tables = [torch.as_tensor(t, dtype=x.dtype) for t in rope]
        q, k = rotate(q, *tables), rotate(k, *tables)
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=layer.is_causal and mask is None)
    return sub("o", y.transpose(1, 2).reshape(B, T, C))


def texts(ids, end):
    "An explicit mask, (B, 1, T, T), and the place of each token in its text, (B, T)"
    text = F.pad((ids == end).cumsum(1)[:, :-1], (1, 0))                        # ends before it
    same, T = text[:, :, None] == text[:, None, :], ids.shape[1]
    mask = same & torch.ones(T, T, dtype=torch.bool).tril()
    return mask[:, None], mask.sum(-1) - 1


def gpt(layer, w, sub, ids):
    T, end, mask = ids.shape[1], layer.config.text_end, None
    places = torch.arange(T)
    if end is not None: mask, places = texts(ids, end)
    x = sub("emb", ids)
    if layer.pos: x = sub("pos", x, places=places)
    if layer.table is not None: x = x + torch.as_tensor(layer.table, dtype=x.dtype)[places]
    rope = layer.rope and tuple(torch.as_tensor(t)[places] for t in layer.rope)
    if rope and end is not None: rope = tuple(t[:, None] for t in rope)         # beside the heads
    for i, block in enumerate(layer.blocks):
        x = run(block, w, f"blocks.{i}.", x, rope=rope, mask=mask)
    x = sub("norm", x)
    return F.linear(x, w["emb.W"]) if layer.config.tied else sub("head", x)
