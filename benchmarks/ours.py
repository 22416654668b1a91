"The compared work as numpygpt does it; each function returns one that does it once"
import numpy as np

from numpygpt.activations import relu, relu_bwd
from numpygpt.bpe import BPETokenizer
from numpygpt.generate import generate
from numpygpt.linear import Linear
from numpygpt.losses import cross_entropy
from numpygpt.module import Flat, Module
from numpygpt.optimizers import SGD, AdamW, clip_grad_norm
from numpygpt.parallel import Replicas, cut
from numpygpt.transformer import GPT

from cases import MNIST, PROMPT, TOKENS, batch, digits


def step(config, size, threads):
    "One training step: gradients, clipping, AdamW"
    model = GPT(config, np.random.default_rng(1)).train()
    flat = Flat(model)
    optimizer, replicas, (x, y) = AdamW(flat, 1e-3), Replicas(model, flat, threads), batch(config, size)
    replicas.start()

    def once():
        flat.zero_grad()
        loss = replicas.accumulate(x, y)
        clip_grad_norm(flat.dw, 1.0)
        replicas.step(optimizer)
        return float(loss)
    once.close, once.pieces = replicas.close, len(cut(model, x, y, lanes=replicas.lanes))
    return once


def tokens(config):
    "Some tokens for one sequence, with the KV cache"
    model = GPT(config, np.random.default_rng(1)).eval()
    prompt = np.arange(PROMPT) % config.vocab_size
    return lambda: len(list(generate(model, prompt, TOKENS, rng=0)))


class First(Linear):
    "A layer whose input is data: nobody needs its gradient, and PyTorch does not compute it either"
    def backward(self, dy):
        x, = self.saved()
        self.dW += x.T @ dy
        self.db += dy.sum(0)


class Classifier(Module):
    "784-128-10 with a ReLU"
    def __init__(self, rng):
        n, h, out = MNIST["sizes"]
        self.hidden, self.out = First(n, h, rng), Linear(h, out, rng)

    def forward(self, x):
        h = self.hidden(x)
        self.save(h)
        return self.out(relu(h))

    def backward(self, dy): self.hidden.backward(relu_bwd(self.out.backward(dy), *self.saved()))


def epoch(images):
    "One epoch of SGD with momentum"
    model = Classifier(np.random.default_rng(1))
    flat, (x, t), n = Flat(model), digits(images), MNIST["batch"]
    optimizer = SGD(flat, 0.05, momentum=0.9)

    def once():
        for i in range(0, images, n):
            loss, dy = cross_entropy(model(x[i:i + n]), t[i:i + n])
            flat.zero_grad()
            model.backward(dy)
            optimizer.step()
        return float(loss)
    return once


def bpe(text, size): return lambda: BPETokenizer.train(text, size).vocab_size
