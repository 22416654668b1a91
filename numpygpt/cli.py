"numpygpt data | train | sample | plot | info: the package from a terminal"
import math
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, Union

import numpy as np
import tyro

from . import __version__, checkpoint
from .backend import get_device
from .bpe import BPETokenizer, CharTokenizer, WordTokenizer
from .data import TINYPLAYS_BITS, Dataset, load_text
from .generate import generate
from .training import PRESETS, Run, TrainConfig, cut_log, fit, plot_log, read_log, record
from .transformer import GPTConfig

Tokenizer = Literal["char", "word", "bpe"]
Source = Annotated[str, tyro.conf.arg(metavar="TEXT")]


def make_tokenizer(kind, text, vocab_size):
    "A tokenizer of this kind, trained on `text`"
    if kind == "bpe": return BPETokenizer.train(text, vocab_size)
    return WordTokenizer.train(text, max_size=vocab_size) if kind == "word" else CharTokenizer.train(text)


@dataclass
class Data:
    "Turn a text into token files for training"
    text: tyro.conf.Positional[Source]      # tinyplays, shakespeare, or a UTF-8 text file
    out: Path                               # folder to write
    tokenizer: Tokenizer = "char"           # characters, words, or byte-level BPE
    vocab_size: int = 512                   # tokens to make (bpe), or to keep (word)
    val_fraction: float = 0.1               # the end of the text that is kept for validation

    def run(self):
        text = load_text(self.text)
        dataset = Dataset.from_text(text, make_tokenizer(self.tokenizer, text, self.vocab_size), self.val_fraction)
        dataset.save(self.out)
        n = len(dataset.train) + len(dataset.val)
        print(f"{len(text):,} characters became {n:,} tokens of {dataset.vocab_size:,} kinds, {len(text) / n:.2f} characters each: "
              f"{len(dataset.train):,} to train on, {len(dataset.val):,} to validate\nnext: numpygpt train --data {self.out}")


@dataclass
class Train:
    "Train a GPT on a text; Ctrl-C saves and stops"
    preset: Literal[tuple(PRESETS)] = "tiny"                # a whole recipe; the flags below change parts of it
    data: Source | None = None                              # tinyplays, shakespeare, a text file, or a folder from `numpygpt data`
    tokenizer: Tokenizer | None = None                      # for a text: characters, words, or byte-level BPE
    out: Path | None = None                                 # folder for the run; runs/PRESET unless told
    sample: int = 200                                       # tokens to show before and after; 0: none
    resume: Path | None = None                              # go on with the run in this folder (only --steps may be given with it)
    model: tyro.conf.OmitArgPrefixes[GPTConfig] = field(default_factory=GPTConfig)
    train: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)

    @classmethod
    def of(cls, preset):
        "The defaults that `--preset` stands for"
        p = PRESETS[preset]
        model = GPTConfig(**p.model)
        for name in {"n_kv_head", "n_hidden"} - set(p.model): object.__setattr__(model, name, None)     # to follow n_head and n_embd
        return cls(preset=preset, data=p.data, tokenizer=p.tokenizer, model=model, train=TrainConfig(**p.train))

    def run(self):
        if self.resume: return self.go_on()
        out = self.out or free_folder(self.preset)
        if (out / "checkpoint").exists():
            raise ValueError(f"{out} already holds a run: go on with it by `numpygpt train --resume {out}`, or choose another --out")
        train(self.new_run(), out, self.sample)

    def go_on(self):
        "The saved run, to its end or to a new one"
        if fixed := self.given - {"--resume", "--steps", "--sample"}:
            raise ValueError(f"a resumed run keeps its settings: leave out {', '.join(sorted(fixed))}, or start a new run")
        train(checkpoint.resume(self.resume, steps=self.train.steps if "--steps" in self.given else None), self.resume, self.sample)

    def new_run(self):
        "Dataset, tokenizer and model as the flags say"
        if Path(self.data).is_dir(): dataset = Dataset.open(self.data)
        else:
            text = load_text(self.data)
            dataset = Dataset.from_text(text, make_tokenizer(self.tokenizer, text, self.model.vocab_size))
        return Run(replace(self.model, vocab_size=dataset.vocab_size), self.train, dataset, self.data)


def free_folder(preset):
    "runs/PRESET, or the first of runs/PRESET-2, -3, ... that is free"
    folder, n = Path("runs") / preset, 1
    while folder.exists(): folder, n = Path("runs") / f"{preset}-{n + 1}", n + 1
    return folder


@contextmanager
def stop_signals():
    "Yields a list that fills when Ctrl-C or SIGTERM comes; a second one interrupts at once"
    came = []

    def handler(number, frame):
        if came: raise KeyboardInterrupt
        came.append(number)
    before = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
    try: yield came
    finally:
        for s, old in before.items(): signal.signal(s, old)


def train(run, out, sample):
    "The training loop of the command line: bar, log, checkpoints, samples"
    from tqdm.auto import tqdm
    out.mkdir(parents=True, exist_ok=True)
    cut_log(out / "log.jsonl", run.index)
    print(f"{run.model.n_params:,} parameters, {len(run.dataset.train):,} tokens of {run.dataset.vocab_size} kinds, on the {get_device()}; writing to {out}")
    show(run, sample, "before training" if run.index == 0 else f"after {run.index} steps")
    save = lambda: checkpoint.save(out / "checkpoint", run.model, run.dataset.tokenizer, run)
    with stop_signals() as stop, tqdm(total=run.config.steps, initial=run.index, unit="step") as bar:
        for step in record(fit(run), out / "log.jsonl"):
            bar.set_postfix_str(f"loss {step.loss:.3f}, {step.tokens_per_s:,.0f} tokens/s")
            bar.update()
            if step.val_loss is not None: bar.write(f"step {step.index:>6}: validation loss {describe(run, step.val_loss)}")
            if stop or run.config.save_every and step.index % run.config.save_every == 0: save()
            if stop: break
    if stop: return print(f"stopped after step {run.index}; everything is saved. Go on with: numpygpt train --resume {out}")
    save()
    show(run, sample, "after training")
    print(f"saved in {out}. Next:\n  numpygpt sample {out}          more text\n  numpygpt plot {out}            the curves\n"
          f"  numpygpt train --resume {out} --steps {2 * run.config.steps}    train on")


def describe(run, nats):
    "A loss in nats per token, and in bits per character, beside the floor where it is known"
    d = run.dataset
    sample = d.val[:100_000]
    bits = nats / math.log(2) * len(sample) / max(len(d.tokenizer.decode(sample)), 1)
    floor = f"; the text's own entropy is {TINYPLAYS_BITS:.3f}" if run.source == "tinyplays" else ""
    return f"{nats:.4f} nats per token, {bits:.3f} bits per character{floor}"


def show(run, n, when):
    "Print `n` tokens of the model's own text"
    if not n: return
    rng, start = np.random.default_rng(run.config.seed), run.dataset.val[:1]
    ids = list(generate(run.model, start.astype(np.int64), n, rng))
    print(f"--- {when}\n{run.dataset.tokenizer.decode([int(start[0]), *ids])}\n---")


@dataclass
class Sample:
    "Let a trained model write"
    run_folder: tyro.conf.Positional[Path]          # a run, or a checkpoint folder
    prompt: str = "\n"                              # what the text begins with
    tokens: int = 300                               # how many to write
    temperature: float = 1.0                        # below 1 plainer, above 1 wilder, 0 the likeliest token only
    top_k: int | None = None                        # only among the k likeliest
    top_p: float | None = None                      # only among the likeliest that together reach p
    min_p: float | None = None                      # only those at least this fraction of the likeliest
    repetition_penalty: float = 1.0                 # above 1, what was written lately is less likely
    seed: int | None = None                         # the same seed, the same text

    def run(self):
        model, tokenizer = checkpoint.load(self.run_folder)
        if tokenizer is None: raise ValueError(f"{self.run_folder} holds no tokenizer.json: text cannot be read or written")
        ids, text = tokenizer.encode(self.prompt), self.prompt
        print(text, end="", flush=True)
        made = []
        for i in generate(model, np.array(ids, dtype=np.int64), self.tokens, np.random.default_rng(self.seed), self.temperature, self.top_k,
                          self.top_p, self.min_p, self.repetition_penalty):
            made.append(int(i))
            new = tokenizer.decode(made)                    # as a whole: a character may take several tokens
            if not new.endswith("\ufffd"):
                print(new, end="", flush=True)
                made = []
        print(tokenizer.decode(made))


@dataclass
class Plot:
    "Draw the curves of a run, while it goes on or after"
    run_folder: tyro.conf.Positional[Path]          # as given to `train --out`
    out: Path | None = None                         # picture to write; log.png in the run's folder unless told

    def run(self):
        import matplotlib
        matplotlib.use("Agg")
        log = self.run_folder / "log.jsonl"
        if not log.is_file(): raise FileNotFoundError(f"no log.jsonl in {self.run_folder}: `numpygpt train --out {self.run_folder}` writes it")
        out = self.out or self.run_folder / "log.png"
        plot_log(read_log(log)).savefig(out, dpi=120)
        print(f"wrote {out}")


@dataclass
class Info:
    "What this installation, or a run, is made of"
    run_folder: tyro.conf.Positional[Path | None] = None    # a run or a checkpoint folder

    def run(self):
        print(f"numpygpt {__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}, arrays on the {get_device()}")
        if self.run_folder is None: return print(f"presets: {', '.join(PRESETS)}; corpora: tinyplays, shakespeare")
        folder = checkpoint.find(self.run_folder)
        info, (model, tokenizer) = checkpoint.read_info(folder), checkpoint.load(folder)
        print(f"{folder}: {model.n_params:,} parameters, tokenizer {type(tokenizer).__name__}")
        for part in ("model", "train"): print(f"{part}: " + ", ".join(f"{k}={v}" for k, v in info.get(part, {}).items()))
        if "index" in info: print(f"trained for {info['index']} steps on {info['source']}")
        for at, loss in info.get("val_losses", []): print(f"  step {at:>6}: validation loss {loss:.4f} nats per token")


def preset_in(argv):
    "The value of --preset, before anything else is parsed: it decides the other flags' defaults"
    for flag, value in zip(argv, [*argv[1:], ""]):
        if flag.startswith("--preset"): value = flag.partition("=")[2] or value; return value if value in PRESETS else "tiny"
    return "tiny"


COMMANDS = {"data": Data, "train": Train, "sample": Sample, "plot": Plot, "info": Info}


def parse(argv):
    "The command that these arguments ask for, with its fields filled in"
    if not argv or argv[0] not in COMMANDS:
        named = tuple(Annotated[c, tyro.conf.subcommand(name)] for name, c in COMMANDS.items())
        return tyro.cli(Union[named], prog="numpygpt", args=argv or ["--help"])
    name, rest = argv[0], argv[1:]
    default = {"default": Train.of(preset_in(rest))} if name == "train" else {}
    command = tyro.cli(COMMANDS[name], prog=f"numpygpt {name}", args=rest, **default)
    command.given = {a.split("=")[0].replace("_", "-") for a in rest if a.startswith("--")}
    return command


def main(argv=None):   # arguments; those of the process unless told
    "Entry point of the command `numpygpt`"
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv == ["--version"]: return print(f"numpygpt {__version__}")
    try: parse(argv).run()
    except (ValueError, OSError, FloatingPointError, RuntimeError) as error:
        print(f"numpygpt: {error}", file=sys.stderr)
        sys.exit(1)
