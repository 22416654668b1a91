"""The same work in PyTorch at its best plain form: scaled_dot_product_attention, fused AdamW,
eager or compiled"""
import json
import os

import torch
import torch.nn.functional as F
from torch import nn

import cases

DEVICE = "cuda" if os.environ.get("NUMPYGPT_BACKEND") == "cupy" else "cpu"
# TF32, or float32 itself
torch.set_float32_matmul_precision("high" if os.environ.get("CUPY_TF32") == "1" else "highest")


def wait():
    "Until a GPU has done what it was asked to do"
    if DEVICE == "cuda": torch.cuda.synchronize()


def here(*arrays): return [torch.as_tensor(a, device=DEVICE) for a in arrays]


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.H, self.K, self.D = c.n_head, c.n_kv_head, c.n_embd // c.n_head
        self.norm1, self.norm2 = nn.LayerNorm(c.n_embd), nn.LayerNorm(c.n_embd)
        self.qkv = nn.Linear(c.n_embd, (self.H + 2 * self.K) * self.D, bias=False)
        self.o = nn.Linear(c.n_embd, c.n_embd, bias=False)
        self.up, self.down = nn.Linear(c.n_embd, c.n_hidden), nn.Linear(c.n_hidden, c.n_embd)

    def forward(self, x, cos, sin, cache=None, start=0):
        B, T, C = x.shape
        qkv = self.qkv(self.norm1(x)).view(B, T, -1, self.D).transpose(1, 2)
        q, k, v = qkv.split([self.H, self.K, self.K], 1)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            cache[0][:, :, start:start + T], cache[1][:, :, start:start + T] = k, v
            k, v = cache[0][:, :, :start + T], cache[1][:, :, :start + T]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1, enable_gqa=self.H != self.K)
        x = x + self.o(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, D = c, c.n_embd // c.n_head
        self.emb, self.norm = nn.Embedding(c.vocab_size, c.n_embd), nn.LayerNorm(c.n_embd)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.n_layer))
        self.head = nn.Linear(c.n_embd, c.vocab_size, bias=False)
        angle = torch.arange(c.context)[:, None] * c.rope_base ** -(torch.arange(0, D, 2) / D)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, ids, cache=None, start=0):
        x, here = self.emb(ids), slice(start, start + ids.shape[1])
        for i, block in enumerate(self.blocks):
            x = block(x, self.cos[here], self.sin[here], cache and cache[i], start)
        return self.head(self.norm(x))


def step(name, o):
    torch.set_num_threads(o.threads)
    torch.manual_seed(1)
    config, size = cases.shape(name)
    model = GPT(config).to(DEVICE).train()
    run = torch.compile(model) if o.side == "compiled" else model
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
    x, y = here(*cases.batch(config, size))

    def once():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(run(x).flatten(0, 1), y.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()
    return once


def generation(name, o):
    torch.set_num_threads(1)  # for one token at a time a second thread only waits
    torch.manual_seed(1)
    c, sequences, g = cases.SHAKESPEARE, int(name or 1), cases.GENERATION
    model, (prompt,) = GPT(c).to(DEVICE).eval(), here(cases.prompt(c, sequences, g["prompt"]))
    shape = sequences, c.n_kv_head, c.context, c.n_embd // c.n_head
    cache = [[torch.empty(shape, device=DEVICE) for _ in "kv"] for _ in model.blocks]

    @torch.inference_mode()
    def once():
        new, start = prompt, 0
        for _ in range(g["tokens"]):
            logits = model(new, cache, start)[:, -1]
            start += new.shape[1]
            new = torch.multinomial(logits.softmax(-1), 1)
            new.tolist()                                   # a token is there when it can be printed
    return once


def mnist(name, o):
    torch.set_num_threads(1)                                 # as above
    torch.manual_seed(1)
    n, h, out = cases.MNIST["sizes"]
    model = nn.Sequential(nn.Linear(n, h), nn.ReLU(), nn.Linear(h, out)).to(DEVICE)
    x, t = here(*cases.digits())
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, fused=True)

    def once():
        for i in range(0, len(x), 64):
            loss = F.cross_entropy(model(x[i:i + 64]), t[i:i + 64])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return loss.item()
    return once


def square(name, o):
    a, b, c = (torch.ones(cases.SQUARE, cases.SQUARE, device=DEVICE) for _ in range(3))
    return lambda: torch.matmul(a, b, out=c)


def bpe(name, o):
    "No BPE trainer in PyTorch: Hugging Face's, in Rust, with the same pre-tokens"
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    text, _ = cases.corpus()

    def once():
        made, pre = Tokenizer(models.BPE()), pre_tokenizers.ByteLevel
        made.pre_tokenizer = pre(add_prefix_space=False)
        trainer = trainers.BpeTrainer(vocab_size=int(name), show_progress=False,
                                      initial_alphabet=pre.alphabet())
        made.train_from_iterator([text], trainer)
        return made.get_vocab_size()
    return once


def encode(name, o):
    "Hugging Face's, with our merges, and as new to the words as ours"
    from tokenizers import Tokenizer
    from numpygpt.bpe import BPETokenizer, hugging_face
    text, _ = cases.corpus()
    file = json.dumps(hugging_face(BPETokenizer.train(text, 256 + int(name))))
    return lambda: len(Tokenizer.from_str(file).encode(text).ids)
