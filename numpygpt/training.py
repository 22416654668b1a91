"One loop for tests, notebooks and the command line: `fit` yields a `Step` at a time"
import json
import math
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from . import schedules
from .backend import get_device, xp
from .data import DataLoader, Windows
from .losses import cross_entropy
from .module import Flat, Module
from .optimizers import OPTIMIZERS, clip_grad_norm
from .transformer import GPT, GPTConfig

SCHEDULES = "cosine", "constant", "step", "plateau"


@dataclass(frozen=True)
class TrainConfig:
    "How a GPT is trained; every field is checked when it is made"
    steps: int = 2000               # updates of the weights
    batch_size: int = 12            # sequences in a step
    micro_batch: int = 0            # sequences in one forward pass; 0: as many as stay in the cache
    optimizer: str = "adamw"        # adamw, adam or sgd
    lr: float = 1e-3                # peak learning rate
    schedule: str = "cosine"        # cosine, constant, step or plateau
    warmup: int = 100               # steps of linear warm-up
    floor: float = 0.1              # where the schedule ends, as a fraction of lr
    beta1: float = 0.9              # Adam: memory of the mean (SGD: momentum)
    beta2: float = 0.99             # Adam: memory of the square
    weight_decay: float = 0.1       # AdamW: on matrices only
    clip: float = 1.0               # largest gradient norm; 0: no limit
    eval_every: int = 250           # steps between validations; 0: only at the end
    eval_batches: int = 0           # batches in a validation; 0: all of the validation text
    save_every: int = 500           # steps between checkpoints; 0: only at the end
    seed: int = 1337                # of initial weights, data order, dropout and sampling

    def __post_init__(self):
        for name, low in dict(steps=1, batch_size=1, micro_batch=0, warmup=0, eval_every=0, eval_batches=0, save_every=0, seed=0).items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < low: raise ValueError(f"{name} must be a whole number from {low} up, got {value!r}")
        for name, low, high in (("lr", 0, math.inf), ("floor", 0, 1), ("beta1", 0, 1), ("beta2", 0, 1), ("weight_decay", 0, math.inf), ("clip", 0, math.inf)):
            if not low <= getattr(self, name) <= high: raise ValueError(f"{name} must lie from {low} to {high}, got {getattr(self, name)!r}")
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known: raise ValueError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Step:
    "What one update did"
    index: int                      # updates done, this one included
    loss: float                     # of this step's batch, before the update, in nats per token
    lr: float                       # learning rate used
    grad_norm: float                # before clipping
    tokens_per_s: float             # of this step, validation and saving not counted
    val_loss: float | None = None   # after the update, when it was measured


class Run:
    "A model with everything that its training needs, ready for `fit`"
    def __init__(self, model_config, config, dataset, source=None):   # source: what `load_text` or `Dataset.open` found it under
        self.config, self.dataset, self.source = config, dataset, source
        init, data, self.dropout_rng, self.sample_rng = np.random.default_rng(config.seed).spawn(4)
        self.model = GPT(model_config, init, self.dropout_rng)
        self.flat = Flat(self.model)
        self.optimizer = make_optimizer(self.flat, config)
        self.loader = DataLoader(Windows(dataset.train, model_config.context), config.batch_size, seed=int(data.integers(2**31)))
        self.index, self.val_losses = 0, []     # updates done; (index, loss) of each validation

    def lr(self):
        "The learning rate of the next step"
        c, decay = self.config, max(self.config.steps // 3, 1)
        by_name = {"cosine": lambda: schedules.cosine(self.index, c.lr, c.steps, c.warmup, c.floor),
                   "constant": lambda: c.lr,
                   "step": lambda: max(schedules.step_decay(self.index, c.lr, decay, 0.3), c.lr * c.floor),
                   "plateau": lambda: schedules.plateau([v for _, v in self.val_losses], c.lr, 0.5, 2, floor=c.lr * c.floor)}
        lr = by_name[c.schedule]()
        return min(lr, schedules.warmup(self.index, c.lr, c.warmup)) if self.index < c.warmup else lr


def make_optimizer(flat, c):
    "The optimizer that a TrainConfig names"
    if c.optimizer == "sgd": return OPTIMIZERS["sgd"](flat, c.lr, momentum=c.beta1, weight_decay=c.weight_decay)
    return OPTIMIZERS[c.optimizer](flat, c.lr, (c.beta1, c.beta2), weight_decay=c.weight_decay)


def micro_batch_size(model_config):
    "Sequences whose widest array, the MLP's, takes two megabytes, a processor core's own cache; on a GPU, all"
    if get_device() == "gpu": return 1 << 30
    return max(1, (1 << 19) // (model_config.n_hidden * model_config.context))


def accumulate(model, x, y, micro_batch=None):   # (B, T) token ids, (B, T) targets, sequences at a time
    "The loss of the whole batch; its gradient is added into the model, one micro-batch at a time"
    n = micro_batch or micro_batch_size(model.config)
    count, loss = int((y != -1).sum()), 0
    for i in range(0, len(x), n):
        part, dlogits = cross_entropy(model(xp.asarray(x[i:i + n])), xp.asarray(y[i:i + n]), count=count)
        model.backward(dlogits)
        loss = loss + part
    return loss


def train_step(run):
    "One update: forward, backward, clip, step"
    start, c = time.perf_counter(), run.config
    x, y = run.loader.next()
    run.flat.zero_grad()
    loss = float(accumulate(run.model.train(), x, y, c.micro_batch))        # host scalar one of two
    norm = clip_grad_norm(run.flat.dw, c.clip or math.inf)                  # host scalar two of two
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise FloatingPointError(f"step {run.index + 1}: the loss is {loss} and the gradient norm {norm}; first at fault: "
                                 f"{first_nonfinite(run.model, xp.asarray(x))}. Lower lr (now {c.lr}), or add warm-up or clipping")
    lr = run.lr()
    run.optimizer.step(lr)
    run.index += 1
    return Step(run.index, loss, lr, norm, x.size / (time.perf_counter() - start))


def fit(run):   # goes on where run.index stands
    "Train, yielding each `Step`; stop whenever you like, and call `fit(run)` again to go on"
    c = run.config
    while run.index < c.steps:
        step = train_step(run)
        if step.index == c.steps or c.eval_every and step.index % c.eval_every == 0:
            val = evaluate(run.model, run.dataset.val, c.batch_size, c.eval_batches)
            run.val_losses.append((step.index, val))
            step = Step(**{**asdict(step), "val_loss": val})
        yield step


def evaluate(model, tokens, batch_size=12, batches=0):   # batches: how many, evenly spread over the text; 0: all
    "Mean loss in nats per token over windows that do not overlap, in eval mode"
    windows = Windows(tokens, model.config.context)
    starts = np.arange(0, len(windows), model.config.context)
    at = np.array_split(starts, math.ceil(len(starts) / batch_size))
    if batches and batches < len(at): at = [at[i] for i in np.linspace(0, len(at) - 1, batches).round().astype(int)]
    was, total, n = model.training, 0.0, 0
    model.eval()
    for indices in at:
        x, y = windows[indices]
        for i in range(0, len(x), m := micro_batch_size(model.config)):
            loss, _ = cross_entropy(model(xp.asarray(x[i:i + m])), xp.asarray(y[i:i + m]))
            total, n = total + float(loss) * y[i:i + m].size, n + y[i:i + m].size
    model.train(was)
    return total / n


def first_nonfinite(model, ids):
    "The first weight, output or gradient of `model` on `ids` that is not finite, in words"
    bad, names, found = (lambda a: not bool(xp.isfinite(a).all())), {id(m): p for p, m in model.modules()}, []
    for path, w in model.named_parameters().items():
        if bad(w): return f"the weights {path}"

    def watched(module, *args, **kwargs):
        y = module.forward(*args, **kwargs)
        if not found and bad(y): found.append(f"the output of {names.get(id(module)) or 'the model'} ({type(module).__name__})")
        return y
    plain, Module.__call__ = Module.__call__, watched
    try: model(ids)
    finally: Module.__call__ = plain
    if found: return found[0]
    for path, dw in reversed(model.named_gradients().items()):
        if bad(dw): return f"the gradient of {path}"
    return "the loss alone"


def record(steps, path):   # a generator of Step, a file
    "Pass steps on, writing each as a line of JSON that can be read while training goes on"
    with open(path, "a", encoding="utf-8") as file:
        for step in steps:
            file.write(json.dumps(asdict(step)) + "\n")
            file.flush()
            yield step


def read_log(path):
    "The steps written by `record`; a last line that is only half there is left out"
    lines = Path(path).read_text(encoding="utf-8").split("\n")[:-1]
    return [Step(**json.loads(line)) for line in lines if line]


def cut_log(path, index):
    "Forget the steps after `index`: a resumed run will write them again"
    if Path(path).exists():
        kept = [json.dumps(asdict(s)) + "\n" for s in read_log(path) if s.index <= index]
        Path(path).write_text("".join(kept), encoding="utf-8")


def plot_log(log, floor=None, unit="nats per token"):   # list of Step, a loss that no model can beat
    "Loss, learning rate, gradient norm and speed against the step, as a matplotlib figure"
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(2, 2, figsize=(9, 5.4), layout="constrained")
    at, loss = [s.index for s in log], np.array([s.loss for s in log])
    width = max(1, len(log) // 50)
    smooth = np.convolve(np.pad(loss, (width - 1, 0), mode="edge"), np.ones(width) / width, "valid")
    axes[0, 0].plot(at, loss, color="0.8", lw=0.7)
    axes[0, 0].plot(at, smooth, label="training, smoothed")
    val = [(s.index, s.val_loss) for s in log if s.val_loss is not None]
    if val: axes[0, 0].plot(*zip(*val), "k--o", ms=3, label="validation")
    if floor: axes[0, 0].axhline(floor, color="k", ls=":", label="the text's own entropy")
    axes[0, 0].legend()
    for ax, name, values in zip(axes.flat, [f"loss, {unit}", "learning rate", "gradient norm", "tokens per second"],
                                [None, *([getattr(s, n) for s in log] for n in ("lr", "grad_norm", "tokens_per_s"))]):
        ax.set(title=name, xlabel="step")
        if values: ax.plot(at, values, lw=1)
    return figure


@dataclass(frozen=True)
class Preset:
    "A recipe: what to train, on what, how"
    model: dict         # fields of GPTConfig
    train: dict         # fields of TrainConfig
    data: str           # a named corpus
    tokenizer: str      # char, word or bpe


PRESETS = {
    "tiny": Preset(dict(context=64, n_layer=2, n_embd=96, n_head=4), dict(steps=400, batch_size=16, lr=3e-3, warmup=40, eval_every=100, eval_batches=10),
                   "tinyplays", "char"),
    "nano": Preset(dict(context=64, n_layer=4, n_embd=128, n_head=4), dict(steps=2000, batch_size=12, lr=1e-3), "shakespeare", "char"),
    "shakespeare": Preset(dict(vocab_size=512, context=128, n_layer=4, n_embd=256, n_head=8, n_kv_head=4, n_hidden=1024, dropout=0.1, dropout_at=("mlp",)),
                          dict(steps=1600, batch_size=32, lr=1e-3, eval_every=133, save_every=400), "shakespeare", "bpe"),
}
