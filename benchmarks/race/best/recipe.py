"A GPT that begins as a table of pairs, counted in a second, and spends the minute on the rest"
import numpy as np

from numpygpt.bpe import BPETokenizer
from numpygpt.data import Dataset
from numpygpt.race import falling, train_for
from numpygpt.training import Run, TrainConfig
from numpygpt.transformer import GPTConfig

TOKENS, WIDTH, LAYERS, HEADS, CONTEXT = 2000, 128, 2, 4, 64
TRAIN = dict(batch_size=8, lr=8e-3, beta2=0.99, weight_decay=0.0, schedule="constant", warmup=0)
SHAPE, LANES = falling(warmup=0.03), 2


def pairs(ids, V):   # (n,) token ids
    "How much likelier b is after a than elsewhere, a logarithm (V, V); how often each occurs, (V,)"
    n_ab = np.zeros((V, V), np.float32)
    np.add.at(n_ab, (ids[:-1], ids[1:]), 1)
    n, kinds = n_ab.sum(1, keepdims=True), (n_ab > 0).sum(1, keepdims=True) + 1e-3
    u = (n_ab.sum(0) + 0.5) / (n_ab.sum() + 0.5 * V)
    return np.log((n_ab + kinds * u) / (n + kinds)) - np.log(u), n[:, 0], u


def first_directions(R, k, rng):   # (V, V)
    "The k largest singular directions, (V, k) and (k, V), by subspace iteration"
    Q = R @ rng.normal(size=(len(R), k + 16)).astype(np.float32)
    for _ in range(2): Q = R @ (R.T @ np.linalg.qr(Q)[0])
    Q = np.linalg.qr(Q)[0]
    U, s, Vt = np.linalg.svd(Q.T @ R, full_matrices=False)
    return (Q @ U)[:, :k] * s[:k], Vt[:k]


def begin(model, ids, rng):
    "Make embedding and head a table of pairs, as far as its rank goes; the blocks add nothing"
    V, C = model.emb.W.shape
    R, n, u = pairs(ids, V)
    row, col = np.sqrt(n + 1)[:, None], np.sqrt(u)
    e, h = first_directions(R * row * col, C - 3, rng)
    e, h = e / row, h / col
    long = np.sqrt((e * e).sum(1))
    most = np.quantile(long, 0.98)
    e *= np.minimum(1, most / long)[:, None]
    rest = np.sqrt(np.maximum(0, 1.05 * most**2 - (e * e).sum(1)))     # all rows equally long
    e = np.concatenate([e, rest[:, None], np.full((V, 1), 0.3 * most)], 1)
    scale = np.sqrt((e * e).sum(1).mean() / C)
    h = np.concatenate([h, np.zeros((1, V)), (np.log(u) - np.log(u) @ u)[None] / (0.3 * most)])
    turn = np.linalg.qr(np.c_[np.ones(C), rng.normal(size=(C, C - 1))])[0][:, 1:].T   # no means
    model.emb.W[...], model.head.W[...] = e / scale @ turn, turn.T @ h * scale
    for block in model.blocks: block.attn.o.W[...], block.mlp.down.W[...] = 0, 0


def prepared(race):
    "The run before its first step"
    tokenizer = BPETokenizer.train(race.text, TOKENS)
    ids = np.array(tokenizer.encode(race.text), np.uint16)
    model = GPTConfig(vocab_size=TOKENS, context=CONTEXT, n_layer=LAYERS, n_embd=WIDTH,
                      n_head=HEADS)
    run = Run(model, TrainConfig(**TRAIN, seed=race.seed), Dataset(ids, ids, tokenizer))
    begin(run.model, ids.astype(int), np.random.default_rng(race.seed))
    return run


def recipe(race):
    run = prepared(race)
    train_for(race, run, SHAPE, LANES)
    return run.model, run.dataset.tokenizer
