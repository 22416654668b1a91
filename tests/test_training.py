"The training loop: micro-batches, faults that stop it, the log, and stops that leave no trace"
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from numpygpt import checkpoint
from numpygpt.bpe import CharTokenizer
from numpygpt.data import Dataset, tinyplays
from numpygpt.files import SEAL, sampled
from numpygpt.module import Flat
from numpygpt.optimizers import OPTIMIZERS
from numpygpt.replicas import Replicas
from numpygpt.training import (PRESETS, Run, TrainConfig, accumulate, evaluate, fit,
                               first_nonfinite, read_log, record)
from numpygpt.transformer import GPT, GPTConfig

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")

TEXT = tinyplays(6000)
SMALL = dict(context=16, n_layer=2, n_embd=16, n_head=2)
FAST = dict(steps=12, batch_size=6, warmup=3, eval_every=4, seed=3)


def new_run(model={}, **train):
    dataset = Dataset.from_text(TEXT, CharTokenizer.train(TEXT))
    return Run(GPTConfig(**{"vocab_size": dataset.vocab_size, **SMALL, **model}),
               TrainConfig(**{**FAST, **train}), dataset, "tinyplays")


def losses(steps): return [(s.index, s.loss, s.lr, s.grad_norm, s.val_loss) for s in steps]


@pytest.mark.parametrize("parts", [1, 2, 4, 5, 6])
def test_micro_batches_give_the_gradient_of_the_whole(parts):
    rng = np.random.default_rng(0)
    model = GPT(GPTConfig(vocab_size=11, **SMALL), rng)
    flat = Flat(model, "f8")
    x, y = rng.integers(0, 11, (2, 6, 16))
    y[0, :9] = y[4, 3:] = -1                        # parts of unequal weight
    whole = float(accumulate(model, x, y, 6))
    expected = flat.dw.copy()
    flat.zero_grad()
    assert abs(float(accumulate(model, x, y, parts)) - whole) < 1e-12
    assert np.linalg.norm(flat.dw - expected) < 1e-12 * np.linalg.norm(expected)


def test_the_loss_starts_at_ln_v_and_falls():
    steps = list(fit(new_run(steps=60, lr=1e-2)))
    assert abs(steps[0].loss - np.log(len(set(TEXT)))) < 0.1
    assert np.mean([s.loss for s in steps[-5:]]) < 2.6
    assert [s.index for s in steps if s.val_loss is not None][-1] == 60


def test_the_same_seed_gives_the_same_run_and_another_does_not():
    first, again, other = (losses(fit(new_run(**seed))) for seed in ({}, {}, {"seed": 4}))
    assert first == again != other


@pytest.mark.parametrize("model, train", [
    ({}, {}), (dict(dropout=0.2), dict(optimizer="sgd", lr=0.1)),
    (dict(norm="rmsnorm", tied=True), dict(schedule="plateau"))])
@pytest.mark.parametrize("stop", [1, 5, 11])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, stop, model, train):
    straight, run = losses(fit(new_run(model, **train))), new_run(model, **train)
    before = [s for _, s in zip(range(stop), fit(run))]
    checkpoint.save(tmp_path / "ckpt", run.model, run.dataset.tokenizer, run)
    resumed = checkpoint.resume(tmp_path / "ckpt", run.dataset)
    assert losses(before) + losses(fit(resumed)) == straight
    assert not set(p.name for p in tmp_path.iterdir()) - {"ckpt"}


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
def test_a_flipped_bit_is_noticed(tmp_path, name):
    run = new_run(steps=1)
    list(fit(run))
    checkpoint.save(tmp_path / "ckpt", run.model, run.dataset.tokenizer, run)
    path = tmp_path / "ckpt" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is not the file that was saved"):
        checkpoint.resume(tmp_path / "ckpt", run.dataset)
    if name == "model.safetensors":
        with pytest.raises(ValueError, match="SHA-256"): checkpoint.load(tmp_path / "ckpt")


def test_a_checkpoint_without_digests_is_read(tmp_path):
    run = new_run()
    checkpoint.save(tmp_path / "ckpt", run.model, run.dataset.tokenizer, run)
    path = tmp_path / "ckpt" / "train.json"
    info = json.loads(path.read_text())
    found = info.pop("sha256"), info.pop(SEAL), info.pop("machine"), info.pop("val_fraction")
    assert set(found[0]) == {"model.safetensors", "optimizer.safetensors", "tokenizer.json"}
    info["data"] = sampled(run.dataset)                      # as it was noted then
    path.write_text(json.dumps(info))
    assert checkpoint.resume(tmp_path / "ckpt", run.dataset).index == 0


FROZEN = "emb", "blocks.1"


def frozen(run):
    heads = tuple(f"{f}." for f in FROZEN)
    return np.concatenate([np.r_[at] for path, (at, _) in run.flat.at.items()
                           if path.startswith(heads)])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_frozen_weights_and_their_state_stay_and_do_not_count(optimizer):
    run = new_run(optimizer=optimizer, freeze=FROZEN, weight_decay=0.1, clip=1e-3)
    still, before = frozen(run), run.flat.w.copy()
    for step in fit(run):
        # what is left is the gradient of the free weights
        assert abs(np.linalg.norm(run.flat.dw) - min(1e-3, step.grad_norm)) < 1e-7
        assert not run.flat.dw[still].any()
    assert (run.flat.w[still] == before[still]).all()
    assert not any(v[still].any() for v in run.optimizer.state.values())
    free = np.setdiff1d(np.arange(len(run.flat)), still)
    assert (run.flat.w[free] != before[free]).mean() > 0.9


@pytest.mark.parametrize("kind", ["thread", pytest.param("process", marks=linux)])
def test_frozen_weights_stay_when_workers_share_the_update(kind):
    alone, run = new_run(freeze=FROZEN), new_run(freeze=FROZEN)
    for r in (alone, run): r.flat.dw[:] = np.random.default_rng(0).normal(size=len(r.flat))
    alone.optimizer.step(0.1)
    with Replicas(run.model, run.flat, 2, kind) as team:
        before, still = run.flat.w.copy(), frozen(run)
        team.step(run.optimizer, 0.1)
        assert (run.flat.w == alone.flat.w).all() and (run.flat.w[still] == before[still]).all()
        run.accumulate = lambda x, y: team.accumulate(x, y)
        for _ in fit(run): pass
        assert (run.flat.w[still] == before[still]).all()


def test_frozen_parts_survive_a_stop(tmp_path):
    straight, run = losses(fit(new_run(freeze=FROZEN))), new_run(freeze=FROZEN)
    before = [s for _, s in zip(range(5), fit(run))]
    checkpoint.save(tmp_path / "ckpt", run.model, run.dataset.tokenizer, run)
    resumed = checkpoint.resume(tmp_path / "ckpt", run.dataset)
    assert resumed.config == run.config and losses(before) + losses(fit(resumed)) == straight


def test_a_name_stands_for_whole_parts_of_a_path():
    run = new_run(dict(n_layer=11), freeze=["blocks.1"], steps=1)
    before = run.model.state_dict()
    list(fit(run))
    for path, w in run.model.named_parameters().items():
        assert (w == before[path]).all() == path.startswith("blocks.1."), path


@pytest.mark.parametrize("names, message", [
    (["block.0"], "no weight is called 'block.0': there are emb, blocks.0, blocks.1"),
    (["emb."], "'emb.'"),
    (["emb", "blocks", "norm", "head"], "nothing is left to train"),
    (["blocks.0.attn.q.V"], "blocks.0.attn.q.V")])
def test_names_that_cannot_be_frozen(names, message):
    with pytest.raises(ValueError, match=message): new_run(freeze=names)


def test_a_run_starts_from_given_weights():
    donor = new_run(steps=20, lr=1e-2)
    list(fit(donor))
    run = Run(donor.model.config, TrainConfig(**FAST), donor.dataset,
              weights=donor.model.state_dict())
    assert (run.flat.w == donor.flat.w).all() and run.index == run.optimizer.t == 0
    assert not run.optimizer.state["m"].any()
    first = next(fit(run))
    assert first.loss < np.log(len(set(TEXT))) - 0.1 and (run.flat.w != donor.flat.w).any()
    with pytest.raises(ValueError, match="do not fit"):
        Run(donor.model.config, TrainConfig(), donor.dataset, weights={})


def test_a_model_that_looks_ahead_has_nothing_to_predict():
    with pytest.raises(ValueError, match="BERT"): new_run(dict(causal=False))


def test_half_precision_is_refused_where_it_cannot_hold_the_weights(tmp_path):
    run = new_run()
    checkpoint.save(tmp_path / "half", run.model, dtype="f2", note="a note")
    model, _ = checkpoint.load(tmp_path / "half")
    worst = max(np.abs(w - run.model.named_parameters()[p]).max()
                for p, w in model.named_parameters().items())
    assert 0 < worst < 1e-3 and checkpoint.read_info(tmp_path / "half")["note"] == "a note"
    run.model.blocks[0].mlp.up.W[0, 0] = 1e5
    with pytest.raises(ValueError, match="blocks.0.mlp.up.W holds numbers beyond 6.55e.04"):
        checkpoint.save(tmp_path / "half", run.model, dtype="f2")
    assert (checkpoint.load(tmp_path / "half")[0].blocks[0].mlp.up.W < 1).all()


def test_dropout_is_off_while_validating():
    run = new_run(dict(dropout=0.5))
    assert evaluate(run.model, run.dataset.val) == evaluate(run.model, run.dataset.val)
    assert run.model.training


def test_a_loss_that_is_not_finite_stops_and_names_the_layer():
    run = new_run()
    run.model.blocks[1].mlp.up.W[0, 0] = np.inf
    says = r"step 1:.*the weights blocks.1.mlp.up.W.*Lower lr"
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=says): next(fit(run))
    assert run.index == 0
    run = new_run()
    run.model.blocks[1].norm2.g[:] = 3e38
    with np.errstate(all="ignore"): found = first_nonfinite(run.model, run.loader.next()[0])
    assert found.startswith("the output of blocks.1.")


def test_a_run_that_diverges_stops_before_its_weights_are_lost():
    run = new_run(optimizer="sgd", lr=1e30, warmup=0, clip=0.0, schedule="constant", steps=20)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="first at fault"):
        list(fit(run))


def test_the_log_can_be_read_while_it_grows(tmp_path):
    path = tmp_path / "log.jsonl"
    steps = record(fit(new_run()), path)
    for n in range(1, 4):
        next(steps)
        assert [s.index for s in read_log(path)] == list(range(1, n + 1))
    path.write_text(path.read_text() + '{"index": 4, "lo')  # cut off in the middle of a line
    assert len(read_log(path)) == 3


COMMAND = Path(sys.executable).parent / "numpygpt"


def wait_for_lines(process, log, n):
    "Until the run has logged `n` steps"
    while not (log.exists() and len(log.read_text().splitlines()) >= n):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def numpygpt(*args, **options):
    return subprocess.Popen([COMMAND, *map(str, args)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **options)


SHORT = ("--steps 40 --eval-every 10 --n-layer 1 --n-embd 16 --batch-size 4 --warmup 5 "
         "--eval-batches 2 --sample 0 --save-every 7").split()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no Ctrl-C to one process")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_resuming_gives_the_same_losses(tmp_path, kind):
    straight = numpygpt("train", *SHORT, "--out", tmp_path / "straight")
    assert straight.wait(120) == 0, straight.stderr.read()
    stopped = numpygpt("train", *SHORT, "--out", tmp_path / "stopped",
                       env={**os.environ, "PYTHONUNBUFFERED": "1"})
    log = tmp_path / "stopped" / "log.jsonl"
    wait_for_lines(stopped, log, 5)
    stopped.send_signal(kind)
    out, err = stopped.communicate(timeout=60)
    assert stopped.returncode == 0, err
    at = int(re.search(r"stopped after step (\d+)", out)[1])
    assert at < 40 and "--resume" in out
    again = numpygpt("train", "--resume", tmp_path / "stopped", "--sample", 0)
    assert again.wait(120) == 0, again.stderr.read()
    assert losses(read_log(log)) == losses(read_log(tmp_path / "straight" / "log.jsonl"))


def test_the_number_of_workers_changes_nothing(tmp_path):
    for workers in (1, 2):
        process = numpygpt("train", *SHORT, "--dropout", 0.1, "--workers", workers, "--out",
                           tmp_path / str(workers))
        assert process.wait(120) == 0, process.stderr.read()
    one, two = (losses(read_log(tmp_path / name / "log.jsonl")) for name in "12")
    assert one == two


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path):
    out = tmp_path / "run"
    process = numpygpt("train", *SHORT, "--out", out)
    wait_for_lines(process, out / "log.jsonl", 10)
    process.kill()
    process.wait()
    done = numpygpt("train", "--resume", out, "--sample", 0)
    assert done.wait(120) == 0, done.stderr.read()
    assert [s.index for s in read_log(out / "log.jsonl")] == list(range(1, 41))


def test_presets_are_whole():
    for preset in PRESETS.values(): GPTConfig(**preset.model), TrainConfig(**preset.train)
    shakespeare = GPT(GPTConfig(**PRESETS["shakespeare"].model), np.random.default_rng(0))
    assert shakespeare.n_params == 3_155_456
