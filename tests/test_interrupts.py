"Ctrl-C at any moment: before an update or after it; the run goes on bit for bit, no step is lost"
import os
import signal
import sys
import threading
import time
from contextlib import nullcontext

import numpy as np
import pytest

from numpygpt import training
from numpygpt.bpe import CharTokenizer
from numpygpt.data import Dataset, tinyplays
from numpygpt.replicas import Replicas
from numpygpt.training import Run, TrainConfig, fit, read_log, record
from numpygpt.transformer import GPTConfig

TEXT = tinyplays(3000)
DATASET = Dataset.from_text(TEXT, CharTokenizer.train(TEXT))
STEPS = 60


@pytest.fixture(autouse=True)
def pythons_own_handler():
    "Whatever pytest was started with: in the background, a shell has the signal ignored"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def new_run(**train):
    model = GPTConfig(vocab_size=DATASET.vocab_size, context=8, n_layer=1, n_embd=8, n_head=2,
                      dropout=0.2)
    recipe = dict(steps=STEPS, batch_size=4, warmup=3, eval_every=7, schedule="plateau", lr=1e-2)
    return Run(model, TrainConfig(**recipe | train), DATASET, "tinyplays")


def facts(steps): return [(s.index, s.loss, s.lr, s.grad_norm, s.val_loss) for s in steps]


def all_of(run):
    "What must not depend on how often somebody pressed a key"
    return (run.flat.w.tobytes(), run.optimizer.t, run.index, run.ready, run.val_losses,
            run.loader.state_dict(), run.dropout_rng.bit_generator.state)


def shared(run, workers, kind):
    "The workers of a run, put to work as the command line does it"
    if not workers: return nullcontext()
    team = Replicas(run.model, run.flat, workers, kind)
    run.accumulate = lambda x, y: team.accumulate(x, y, 1)
    run.update = lambda lr: team.step(run.optimizer, lr)
    return team


def press(): os.kill(os.getpid(), signal.SIGINT)


def pestered(go_on, over, moments):
    "How often `go_on`, called again each time, was interrupted before all was `over`"
    stops = 0
    while not over():
        hand = threading.Timer(next(moments), press)
        try:
            hand.start()
            go_on()
            hand.join()
            time.sleep(1)                                    # the signal is on its way
        except KeyboardInterrupt: stops += 1
        assert stops < 2000, "the run does not get on"
    return stops


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no Ctrl-C to one process")
@pytest.mark.parametrize("workers, kind, logged, goal", [
    (0, "", True, 200), (0, "", False, 100), (2, "process", True, 200), (2, "process", False, 50),
    (2, "thread", True, 50)])
def test_interruptions_at_random_moments_change_nothing(tmp_path, workers, kind, logged, goal):
    with shared(run := new_run(), workers, kind): straight, expected = facts(fit(run)), all_of(run)
    rng, pace = np.random.default_rng([workers, len(kind), logged]), step_seconds(workers, kind)
    late = lambda: rng.uniform(0, rng.choice([3, 3, 3, 40]) * pace)      # a validation needs longer
    moments, stops = iter(late, None), 0
    while stops < goal:
        run, seen, log = new_run(), [], tmp_path / f"{stops}.jsonl"

        def go_on():
            for step in record(fit(run), log) if logged else fit(run): seen.append(step)
        with shared(run, workers, kind):
            stops += pestered(go_on, lambda: run.index >= STEPS and not run.ready, moments)
        assert all_of(run) == expected
        assert facts(read_log(log) if logged else seen) == straight


def step_seconds(workers, kind):
    with shared(run := new_run(eval_every=0), workers, kind):
        next(fit(run))
        start = time.perf_counter()
        for _ in zip(range(10), fit(run)): pass
        return (time.perf_counter() - start) / 10


def test_an_interrupted_update_is_done_to_its_end():
    run, other = new_run(), new_run()
    move, first = run.update, next(fit(other))

    def interrupted(lr):
        signal.raise_signal(signal.SIGINT)
        move(lr)
    run.update = interrupted
    with pytest.raises(KeyboardInterrupt): next(fit(run))
    assert run.index == run.optimizer.t == 1 and (run.flat.w == other.flat.w).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    run.update = move
    assert facts([next(fit(run))]) == facts([first]) and not run.ready
    assert facts(fit(run)) == facts(fit(other)) and all_of(run) == all_of(other)


@pytest.mark.parametrize("logged", [True, False])
def test_an_interrupted_validation_is_done_anew_and_counted_once(tmp_path, monkeypatch, logged):
    run, straight, spread, calls, read = new_run(), new_run(), training.spread, [], []
    expected = facts(fit(straight))

    def pressing(*args):
        calls.append(args)
        for i, part in enumerate(spread(*args)):
            if len(calls) == 2:
                read.append(i)
                if i == 1: signal.raise_signal(signal.SIGINT)
            yield part
    monkeypatch.setattr(training, "spread", pressing)
    log = tmp_path / "log.jsonl"
    loop = lambda: record(fit(run), log) if logged else fit(run)
    seen = []
    with pytest.raises(KeyboardInterrupt):
        for step in loop(): seen.append(step)
    assert read == [0, 1]                                    # let through between two batches
    assert run.index == run.ready.index == 14 and len(run.val_losses) == 1 and run.model.training
    seen += loop()
    assert facts(read_log(log) if logged else seen) == expected and all_of(run) == all_of(straight)


def test_a_step_that_is_being_written_down_is_written_to_its_end(tmp_path, monkeypatch):
    run, asdict, log = new_run(), training.asdict, tmp_path / "log.jsonl"

    def pressing(step):
        signal.raise_signal(signal.SIGINT)
        return asdict(step)
    monkeypatch.setattr(training, "asdict", pressing)
    with pytest.raises(KeyboardInterrupt): next(record(fit(run), log))
    monkeypatch.undo()
    assert run.index == 1 and not run.ready and [s.index for s in read_log(log)] == [1]


def test_another_handler_keeps_the_signal():
    run, came = new_run(steps=3), []
    alone = run.accumulate

    def accumulate(x, y):
        signal.raise_signal(signal.SIGINT)
        assert len(came) == run.index + 1                    # at once
        return alone(x, y)
    run.accumulate = accumulate
    handler = lambda *signal: came.append(signal)
    before = signal.signal(signal.SIGINT, handler)
    try:
        assert len(list(fit(run))) == 3
        assert signal.getsignal(signal.SIGINT) is handler
    finally: signal.signal(signal.SIGINT, before)


def test_other_threads_train_as_ever():
    run, straight, seen = new_run(steps=5), new_run(steps=5), []
    thread = threading.Thread(target=lambda: seen.extend(fit(run)))
    thread.start()
    thread.join()
    assert facts(seen) == facts(fit(straight)) and all_of(run) == all_of(straight)


def test_an_error_in_a_step_puts_the_handler_back():
    run = new_run()
    run.model.head.W[0, 0] = np.inf
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError): next(fit(run))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler and not training.HELD
