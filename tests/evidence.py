"""Which test stands for which claim: the rows of chapter 41, and the option `--evidence`, which
stores how their tests came out.

A pattern is the beginning of a test's id, in which * stands for anything.
`make evidence` runs the three suites with the option; each adds its part to
nbs/stored/evidence.json."""
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "nbs" / "stored" / "evidence.json"


@dataclass(frozen=True)
class Row:
    "One thing that users of a public system have, and where it is here"
    system: str          # whose users have it
    has: str             # what they have
    chapters: tuple      # notebooks in nbs, by their names
    names: tuple         # exported names, as module.name
    patterns: tuple      # tests that stand for it, from tests on


def row(system, has, chapters, names="", *patterns):
    return Row(system, has, tuple(chapters.split()), tuple(names.split()), patterns)


ROWS = [
    row("NumPy-AI", "NumPy or CuPy, chosen in a `.env`", "00_backend",
        "backend.use backend.get_device backend.to_cpu",
        "test_backend.py", "test_recipes.py::test_the_backend"),
    row("NumPy-AI", "multi-head, multi-query and grouped-query attention", "09_attention",
        "attention.Attention attention.KVCache",
        "test_certificates.py::test_layers[Attention", "test_autograd.py::test_a_layer*[*Q",
        "test_generate.py::test_cache", "parity/test_layers.py::*[attention",
        "parity/test_gpt.py::test_logits*[*Q"),
    row("NumPy-AI", "rotary positions", "08_rope", "rope.angles rope.rotate",
        "test_certificates.py::test_layers[rotate", "test_autograd.py::*[rotate]",
        "parity/test_layers.py::*[rope"),
    row("NumPy-AI", "AdamW", "10_optimizers", "optimizers.AdamW",
        "test_recipes.py::test_adamw", "parity/test_layers.py::*[optimizers",
        "parity/test_gpt.py::test_a_hundred"),
    row("NumPy-AI", "three schedulers: in steps, on a plateau, cosine", "11_schedules",
        "schedules.step_decay schedules.plateau schedules.cosine",
        "test_recipes.py::test_schedule", "parity/test_schedules.py",
        "parity/test_gpt.py::test_a_hundred"),
    row("NumPy-AI", "gradient clipping", "11_schedules", "optimizers.clip_grad_norm",
        "test_recipes.py::test_clipping", "parity/test_gpt.py::test_a_hundred"),
    row("NumPy-AI", "cross-entropy, squared and absolute error", "05_losses",
        "losses.cross_entropy losses.mse losses.mae",
        *(f"test_certificates.py::test_layers[{name}" for name in ("cross_entropy", "mse", "mae")),
        *(f"parity/test_layers.py::*[{name}" for name in ("cross_entropy", "mse", "mae"))),
    row("NumPy-AI", "a 784-128-10 network on MNIST, from end to end", "32_mnist", "data.mnist",
        "test_mnist.py"),
    row("NumPy-AI", "a GPT of 3.16 million weights on Shakespeare, with its curves",
        "33_shakespeare", "training.PRESETS training.plot_log",
        "test_shakespeare_chapter.py"),
    row("NumPy-AI", "sampling with temperature, top-k and top-p", "19_generate 33_shakespeare",
        "generate.generate generate.sample generate.distribution",
        "test_generate.py::test_truncate", "test_generate.py::test_distribution",
        "test_generate.py::test_sample", "slow/test_shakespeare.py::test_it_samples"),
    row("NumPy-AI", "a trained model in the package", "18_checkpoint",
        "checkpoint.load checkpoint.PRETRAINED",
        "test_pretrained.py", "slow/test_wheel.py::test_it_writes"),

    row("numpyGPT", "data from characters, words or BPE, by one command", "12_bpe cli_train",
        "cli_train.Data bpe.CharTokenizer bpe.WordTokenizer bpe.BPETokenizer",
        "test_tokenizers.py", "test_cli.py::test_token_files", "test_cli.py::test_word_tokenizer",
        "parity/test_huggingface.py"),
    row("numpyGPT", "commands to train, to sample and to plot", "cli_train 31_cli",
        "cli_train.Train cli.Sample cli.Plot",
        "test_cli.py", "slow/test_shakespeare.py", "slow/test_wheel.py::test_it_trains"),
    row("numpyGPT", "backpropagation, optimizers and tokenizers explained",
        "02_gradcheck 03_linear 04_activations 05_losses 06_embedding 07_layernorm "
        "08_rope 09_attention 10_optimizers 12_bpe",
        "",
        "test_notebooks.py"),
    row("numpyGPT", "gradient checking", "02_gradcheck",
        "gradcheck.certify gradcheck.dot_test gradcheck.wrong",
        "test_certificates.py", "test_cli.py::test_check_certifies"),
    row("numpyGPT", "optimizers raced, five seeds each", "10_optimizers", "optimizers.OPTIMIZERS",
        "parity/test_layers.py::*[optimizers"),
    row("numpyGPT", "tokenizers compared at equal compute, in bits per byte", "34_scaling",
        "losses.bits",
        "test_scaling_chapter.py"),

    row("Numpy-Transformer", "learned positions", "06_embedding", "embedding.Position",
        "test_certificates.py::test_layers[Position", "parity/test_layers.py::*[position",
        "parity/test_gpt.py::*[*learned"),
    row("Numpy-Transformer", "GELU", "04_activations", "activations.gelu activations.gelu_exact",
        "test_certificates.py::test_layers[gelu", "parity/test_layers.py::*[gelu"),
    row("Numpy-Transformer", "dropout", "04_activations", "activations.Dropout",
        "test_certificates.py::test_layers[Dropout", "test_training.py::test_dropout",
        "test_replicas.py::test_dropout"),
    row("Numpy-Transformer", "text before and after training", "index 33_shakespeare",
        "generate.stream",
        "test_pretrained.py::test_it_writes", "test_shakespeare_chapter.py",
        "slow/test_shakespeare.py::test_it_samples"),
    row("Numpy-Transformer", "saving and loading", "18_checkpoint",
        "checkpoint.save checkpoint.load checkpoint.resume",
        "test_training.py::test_a_stopped", "test_training.py::test_a_flipped",
        "test_training.py::test_a_killed", "test_training.py::test_a_signal"),
    row("Numpy-Transformer", "training on a text of one's own", "13_data cli_train",
        "data.load_text cli_train.Train",
        "test_data.py::test_text_files", "test_data.py::test_unusable",
        "test_cli.py::test_token_files"),
    row("Numpy-Transformer", "a table of model sizes", "34_scaling", "", "test_scaling_chapter.py"),
    row("Numpy-Transformer", "beam search with a length penalty", "19_generate",
        "generate.beam_search generate.length_factor",
        "test_generate.py::test_wide_beam", "test_generate.py::test_beam",
        "test_generate.py::test_length", "test_cli.py::test_beam"),
    row("Numpy-Transformer", "top-k and nucleus sampling", "19_generate", "generate.truncate",
        "test_generate.py::test_truncate", "test_generate.py::test_sample"),
    row("Numpy-Transformer", "attention maps, in a notebook and by `numpygpt plot --attention`",
        "16_transformer 33_shakespeare 31_cli",
        "transformer.attention_maps transformer.plot_attention",
        "test_transformer_options.py::test_attention_maps",
        "test_transformer_options.py::test_a_picture", "test_cli.py::test_attention"),
    row("Numpy-Transformer", "gradient checkpointing", "16_transformer", "transformer.Recomputed",
        *(f"test_transformer_options.py::{name}"
          for name in ("test_recomput", "test_forgetting", "test_a_recomputed")),
        "test_autograd.py::test_the_whole_gpt*[*recompute"),
    row("Numpy-Transformer", "data parallelism", "25_replicas 26_ranks",
        "replicas.Replicas ranks.Ranks",
        "test_replicas.py", "test_mpi_units.py", "slow/test_mpi.py"),
    row("Numpy-Transformer", "BERT", "36_bert", "",
        "test_bert.py", "test_transformer_options.py::test_without",
        "test_transformer_options.py::test_gradients_both"),
    row("Numpy-Transformer", "a vision transformer", "37_vit", "", "test_vit.py"),
    row("Numpy-Transformer", "fine-tuning with frozen layers", "35_finetune", "",
        "test_finetune.py", "test_cli.py::test_a_run_starts_from_another"),

    row("numpygrad", "an engine with every operation of a GPT", "20_engine 21_autograd",
        "engine.Tensor engine.apply engine.operation",
        *(f"test_autograd.py::test_{name}"
          for name in ("an_operation", "a_layer", "the_embedding", "errors", "ignored")),
        "parity/test_engine.py::test_value"),
    row("numpygrad", "a GPT on the engine", "21_autograd",
        "autograd.gpt_loss autograd.tape_gradients",
        "test_autograd.py::test_the_whole_gpt", "test_autograd.py::test_one_step",
        "parity/test_engine.py::test_the_whole_gpt", "parity/test_engine.py::test_nano"),
    row("numpygrad", "the nano model trained on it, and what that costs", "21_autograd",
        "engine.tensors",
        "test_autograd.py::test_nano", "test_autograd.py::test_training"),
    row("numpygrad", "modules and optimizers of its own", "01_module 10_optimizers",
        "module.Module module.Flat optimizers.SGD optimizers.AdamW",
        "test_autograd.py::test_gradients_land", "test_certificates.py::test_the_whole_gpt",
        "parity/test_gpt.py"),

    row("numpy2gpt", "backward in the order of generations", "20_engine",
        "engine.walk engine.Creator",
        *(f"test_autograd.py::test_{name}" for name in ("order", "a_deep", "every_wrong"))),
    row("numpy2gpt", "weak references: memory is free without the cycle collector", "20_engine",
        "engine.Creator",
        "test_autograd.py::test_nothing_is_held", "test_autograd.py::test_a_released"),
    row("numpy2gpt", "`no_grad`", "20_engine", "engine.no_grad", "test_autograd.py::test_no_grad"),
    row("numpy2gpt", "tensors with names", "20_engine", "engine.Tensor",
        "test_autograd.py::test_dot_needs"),
    row("numpy2gpt", "gradients that add up, and gradients of gradients", "20_engine 21_autograd",
        "engine.grad",
        *(f"test_autograd.py::test_{name}"
          for name in ("gradients_acc", "higher", "hessian", "gradients_of")),
        "parity/test_engine.py::test_second"),
    row("numpy2gpt", "graphs drawn as DOT, PNG, SVG and PDF, in brief or verbose", "22_graphs",
        "graphs.plot_graph graphs.dot_source",
        *(f"test_autograd.py::test_{name}"
          for name in ("pictures", "dot", "the_colours", "goldstein"))),
    row("numpy2gpt", "a clear error where Graphviz is missing", "22_graphs", "",
        "test_autograd.py::test_dot_needs"),

    row("Speed", "seven settings of these systems, timed here beside cited figures", "23_cost",
        "cost.step_flops",
        "test_benchmarks.py"),
]


def tests_of(row):
    "A regular expression for the ids of the tests that stand for a row"
    # without a pattern, none
    patterns = ["tests/" + ".*".join(map(re.escape, p.split("*"))) for p in row.patterns]
    return re.compile("|".join(patterns) or "(?!)")


def still_there(test):   # file::function
    "Whether a stored test exists"
    file, _, function = test.partition("::")
    path = ROOT / file
    return path.exists() and f"def {function}(" in path.read_text(encoding="utf-8")


def verdict(tests):   # outcomes, counted, by test
    "What the tests of a row say together"
    total = sum(map(Counter, tests.values()), Counter())
    if total["failed"]: return "failed"
    return "proved" if total["passed"] else "not tried here"


def stored():
    if not STORED.exists(): return {"rows": [], "reasons": []}
    return json.loads(STORED.read_text(encoding="utf-8"))


def merged(before, outcomes, files):
    """What is to be stored, given what is: this run's outcomes, {test id: (outcome, reason)}, and
    those of files that it did not run"""
    old = {(r["system"], r["has"]): r["tests"] for r in before["rows"]}
    rows = []
    for row in ROWS:
        kept = {t: n for t, n in old.get((row.system, row.has), {}).items()
                if t.partition("::")[0] not in files and still_there(t)}
        mine = tests_of(row)
        for test, (outcome, _) in sorted(outcomes.items()):
            if mine.match(test): kept.setdefault(test.partition("[")[0], Counter())[outcome] += 1
        rows.append({"system": row.system, "has": row.has, "chapters": row.chapters,
                     "names": row.names, "outcome": verdict(kept),
                     "tests": dict(sorted(kept.items()))})
    new = {reason: test.partition("::")[0] for test, (outcome, reason) in outcomes.items()
           if outcome == "skipped" and any(tests_of(r).match(test) for r in ROWS)}
    reasons = {reason: file for reason, file in before["reasons"]
               if file not in files and (ROOT / file).exists()} | new
    return {"rows": rows, "reasons": sorted(reasons.items())}


class Recorder:
    "Keeps each test's outcome, and stores all at the end"
    def __init__(self): self.outcomes, self.broken = {}, set()

    def pytest_collectreport(self, report):
        if report.failed: self.broken.add(report.nodeid)

    def pytest_runtest_logreport(self, report):
        told = report.skipped and isinstance(report.longrepr, tuple)
        reason = report.longrepr[2].removeprefix("Skipped: ") if told else ""
        if report.failed or report.when == "call" or report.skipped:
            self.outcomes[report.nodeid] = report.outcome, reason

    def pytest_sessionfinish(self, session):
        files = {test.partition("::")[0] for test in self.outcomes} | self.broken
        found = json.dumps(merged(stored(), self.outcomes, files), indent=1, ensure_ascii=False)
        STORED.write_text(found + "\n", encoding="utf-8")


def pytest_addoption(parser):
    parser.addoption("--evidence", action="store_true",
                     help="store how the tests came out, for chapter 41")


def pytest_configure(config):
    if not config.option.evidence: return
    o = config.option
    if o.keyword or o.markexpr or o.deselect or any("::" in arg for arg in config.args):
        raise pytest.UsageError("--evidence replaces what is stored for each file that runs: "
                                "run whole files with it")
    config.pluginmanager.register(Recorder())
