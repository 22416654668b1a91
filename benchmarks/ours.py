"""The compared work as numpygpt does it; each function takes what follows its name in a case,
and returns a function that does the work once"""
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from numpygpt.activations import relu, relu_bwd
from numpygpt.backend import get_device, xp
from numpygpt.bpe import BPETokenizer
from numpygpt.attention import attend_blocks_bwd, attend_bwd, attend_within
from numpygpt.cost import hold_memory, pairs, step_flops, step_passes, step_products
from numpygpt.data import Dataset
from numpygpt.generate import generate
from numpygpt.linear import Linear
from numpygpt.losses import cross_entropy
from numpygpt.module import Flat, Module
from numpygpt.optimizers import SGD, AdamW, clip_grad_norm
from numpygpt.ranks import Ranks
from numpygpt.replicas import Replicas, cut
from numpygpt.training import Run, TrainConfig, micro_batch_size, train_step
from numpygpt.transformer import GPT

import cases


def wait():
    "Until a GPU has done what it was asked to do"
    if get_device() == "gpu": xp.cuda.Device().synchronize()


def work(once, ready=lambda: None, **facts):
    """With what is to be done before each time; and what a table says:
    how many `amount` of `what` are done once, the operations, the passes"""
    once.ready, once.facts = ready, facts
    return once


def step(name, o):
    "One training step on a batch that lies there: gradients, clipping, AdamW"
    config, size = cases.shape(name)
    model = GPT(config, np.random.default_rng(1)).train()
    flat = Flat(model)
    optimizer, replicas = AdamW(flat, 1e-3), Replicas(model, flat, o.threads).start()
    x, y = cases.batch(config, size)

    def once():
        flat.zero_grad()
        loss = replicas.accumulate(x, y)
        clip_grad_norm(flat.dw, 1.0)
        replicas.step(optimizer)
        return float(loss)
    pieces = len(cut(model, x, y, lanes=replicas.lanes))
    return work(once, amount=x.size, what="tokens", flops=step_flops(config, size),
                products=step_products(config, size), passes=step_passes(config, size, pieces),
                scores=size * config.n_layer * config.n_head * pairs(config))


def attend(name, o):
    "The attention of one layer, forward and backward, of one micro-batch on one core"
    config, _ = cases.shape(f"{name}x1")
    K, D, B = config.n_kv_head, config.n_embd // config.n_head, micro_batch_size(config)
    rng, T = np.random.default_rng(0), config.context
    draw = lambda n: rng.normal(size=(B, K, n, D)).astype(np.float32)
    q, do, k, v = draw(config.n_head // K * T), draw(config.n_head // K * T), draw(T), draw(T)
    hold_memory()                                            # as a training run does

    def once():
        kept = attend_within(q, k, v, T)[1]
        (attend_bwd if len(kept) == 4 else attend_blocks_bwd)(do, *kept)
    return work(once, scores=B * config.n_head * pairs(config))


def train(name, o):
    """One training step as the command line does it, with --micro-batch: a new batch,
    gradients with dropout, clipping, AdamW"""
    config, size = cases.TRAINING[name]
    # one for each core, unless the cache asks for more
    piece = min(micro_batch_size(config), -(-size // o.threads))
    n = 100 * size * config.context
    ids = np.random.default_rng(0).integers(0, config.vocab_size, n).astype(np.uint16)
    run = Run(config, TrainConfig(batch_size=size), Dataset(ids, ids, None))
    team = Ranks(run.model, run.flat, o.threads).start()
    run.accumulate = lambda x, y: team.accumulate(x, y, piece)
    run.update = lambda lr: team.step(run.optimizer, lr)
    return work(lambda: train_step(run).loss, amount=size * config.context, what="tokens",
                products=step_flops(config, size))


def generation(name, o):
    """Tokens for several sequences at once, after a prompt that goes through the model in one pass;
    all keys and values stay in the cache"""
    config, sequences, n = cases.SHAKESPEARE, int(name or 1), cases.GENERATION["tokens"]
    model = GPT(config, np.random.default_rng(1))
    prompt = cases.prompt(config, sequences, cases.GENERATION["prompt"])

    def once():
        for _ in generate(model, prompt, n, rng=0): pass
    return work(once, amount=sequences * n, what="tokens")


def advance(name, o):
    """Near the start of a long context, or far into it: the tokens that follow,
    once the prompt is in the cache"""
    g, going = cases.GENERATION, []
    model = GPT(replace(cases.SHAKESPEARE, context=g["context"]), np.random.default_rng(1))
    prompt = cases.prompt(model.config, 1, g["full"] if name == "full" else g["prompt"])

    def ready():
        going[:] = [generate(model, prompt, g["tokens"] + 1, rng=0)]
        next(going[0])

    def once():
        for _ in going[0]: pass
    return work(once, ready=ready, amount=g["tokens"], what="tokens")


class First(Linear):
    "A layer whose input is data: nobody needs its gradient, and PyTorch does not compute it either"
    def backward(self, dy):
        x, = self.saved()
        self.dW += x.T @ dy
        self.db += dy.sum(0)


class Classifier(Module):
    "784-128-10 with a ReLU"
    def __init__(self, rng):
        n, h, out = cases.MNIST["sizes"]
        self.hidden, self.out = First(n, h, rng), Linear(h, out, rng)

    def forward(self, x):
        h = self.hidden(x)
        self.save(h)
        return self.out(relu(h))

    def backward(self, dy): self.hidden.backward(relu_bwd(self.out.backward(dy), *self.saved()))


def mnist(name, o):
    """One epoch of SGD: with momentum on 64 images at a time as they lie there;
    or without on 128, shuffled"""
    model, rng = Classifier(np.random.default_rng(1)), np.random.default_rng(2)
    shuffled = name == "shuffled"
    flat, (x, t) = Flat(model), map(xp.asarray, cases.digits())
    optimizer, n = (SGD(flat, 0.1), 128) if shuffled else (SGD(flat, 0.05, momentum=0.9), 64)
    inputs, hidden, out = cases.MNIST["sizes"]
    if shuffled: threadpool_limits(o.threads)                # beside PyTorch both have one

    def once():
        order = xp.asarray(rng.permutation(len(x)))
        for i in range(0, len(x), n):
            at = order[i:i + n] if shuffled else slice(i, i + n)
            loss, dy = cross_entropy(model(x[at]), t[at])
            flat.zero_grad()
            model.backward(dy)
            optimizer.step()
        return float(loss)
    return work(once, amount=len(x), what="images",
                products=2 * len(x) * hidden * (2 * inputs + 3 * out))


def bpe(name, o):
    text, which = cases.corpus()
    return work(lambda: BPETokenizer.train(text, int(name)).vocab_size, text=which)


def encode(name, o):
    "With `name` merges, by a tokenizer that has not seen any word yet"
    text, which = cases.corpus()
    merges = BPETokenizer.train(text, 256 + int(name)).merges
    return work(lambda: len(BPETokenizer(merges).encode(text)), amount=len(text.encode()) / 1e6,
                what="MB", text=which)


def square(name, o):
    "One large matrix product: a GPU's peak"
    a, b, c = (xp.ones((cases.SQUARE, cases.SQUARE), np.float32) for _ in range(3))
    return work(lambda: xp.matmul(a, b, out=c), flops=2 * cases.SQUARE**3)
