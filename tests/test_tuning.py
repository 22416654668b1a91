"Tuning runs: conversations as data, adapters or all weights, saved and gone on with, opened"
import json

import numpy as np
import pytest

from numpygpt import checkpoint, hub
from numpygpt.bpe import BPETokenizer
from numpygpt.data import tinyplays
from numpygpt.lora import adapters
from numpygpt.replicas import Replicas
from numpygpt.training import TrainConfig, evaluate, fit
from numpygpt.transformer import GPT, GPTConfig
from numpygpt.tuning import Chats, Pairs, marked, pairs, resume, tuning_run

SHAPE = dict(vocab_size=270, context=64, n_layer=2, n_embd=16, n_head=4, n_kv_head=2, n_hidden=24,
             norm="rmsnorm", activation="swiglu", mlp_bias=False, tied=True, rope_dtype="float32")


class Toy:
    "A template as in ChatML"
    def __init__(self, tokenizer): self.tokenizer = tokenizer

    def ids(self, messages, reply=True):
        text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
        return self.tokenizer.encode(text + "<|im_start|>assistant\n" * reply)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("tuning") / "base"
    tokenizer = BPETokenizer.train(tinyplays(20_000), 260, ["<|im_start|>", "<|im_end|>"])
    hub.export(GPT(GPTConfig(**SHAPE), np.random.default_rng(0)), place, tokenizer=tokenizer)
    return place


@pytest.fixture(scope="module")
def script(folder): return Toy(hub.load(folder)[1])


def lines(path, *found):
    path.write_text("\n".join(f if isinstance(f, str) else json.dumps(f) for f in found))
    return path


def talk(*contents):
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[i % 2], "content": c} for i, c in enumerate(contents)]}


@pytest.fixture
def chats(tmp_path):
    return lines(tmp_path / "chats.jsonl", talk("hi", "ho"), talk("a?", "b", "c?", "ddd"),
                 {"prompt": "sea", "response": "ship"}, talk("x", "yy"), talk("p", "q"))


def test_what_is_learned_is_what_the_assistant_says(script):
    ids, learned = marked(talk("a?", "b", "c?", "ddd")["messages"], script)
    said = script.tokenizer.decode(ids[learned])
    assert said == "b<|im_end|>\nddd<|im_end|>\n"
    assert script.tokenizer.decode(ids).startswith("<|im_start|>user\na?<|im_end|>")


def test_a_template_that_changes_its_mind_is_refused(script):
    class Forgets(Toy):
        "Leaves out what was thought in earlier turns, as some do"
        def ids(self, messages, reply=True):
            return super().ids(messages[-1:] if len(messages) > 2 else messages, reply)
    with pytest.raises(ValueError, match="writes message 2 otherwise when more follow"):
        marked(talk("a?", "b", "c?", "ddd")["messages"], Forgets(script.tokenizer))


BAD = {"no JSON": ('{"messages": [', "line 2: it is not JSON"),
       "a list": ("[1]", 'line 2: it needs "messages", or "prompt" and "response"'),
       "no response": ({"prompt": "a"}, "line 2: it needs"),
       "no messages": ({"messages": []}, "line 2: it needs"),
       "no role": ({"messages": [{"content": "a"}]}, 'line 2: a message needs a "role"'),
       "a number": ({"prompt": "a", "response": 3}, "line 2: a message needs"),
       "nobody answers": ({"messages": [{"role": "user", "content": "a"}]},
                          "line 2: nothing to learn")}


@pytest.mark.parametrize("name", BAD)
def test_bad_lines_are_named(name, script, tmp_path):
    line, said = BAD[name]
    path = lines(tmp_path / "chats.jsonl", talk("hi", "ho"), line)
    with pytest.raises(ValueError, match=f"chats.jsonl, {said}"): pairs(path, script)


def test_files_that_hold_nothing(script, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"): pairs(tmp_path / "no.jsonl", script)
    with pytest.raises(ValueError, match="holds no conversation"):
        pairs(lines(tmp_path / "empty.jsonl", "", "  "), script)
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "\xe9"}')
    with pytest.raises(ValueError, match="no UTF-8 text"): pairs(tmp_path / "latin.jsonl", script)


def test_batches_are_padded_and_padding_is_not_learned():
    found = [(np.array([5, 6, 7]), np.array([False, True, True])),
             (np.array([1, 2, 3, 4, 9]), np.array([False, False, False, True, False]))]
    x, y = Pairs(found)[np.array([0, 1])]
    assert x.tolist() == [[5, 6, 0, 0], [1, 2, 3, 4]]
    assert y.tolist() == [[6, 7, -1, -1], [-1, -1, 4, -1]]
    assert [a.shape for a in Pairs(found)[:1]] == [(1, 2), (1, 2)]


def test_padding_changes_neither_loss_nor_gradient(folder, script, chats):
    model, _ = hub.load(folder)
    found = Pairs(pairs(chats, script))
    x, y = found[:]
    alone = [evaluate(model, Pairs([one]), 1) for one in found.found]
    counts = (y != -1).sum(1)
    assert evaluate(model, found, 2) == pytest.approx(np.average(alone, weights=counts), rel=1e-6)


def test_conversations_that_are_too_long(script, folder, chats):
    data = Chats(chats, script, script.tokenizer, 64)
    assert len(data.train) == 4 and len(data.val) == 1 and data.chars_per_token() > 1
    cut = Chats(chats, script, script.tokenizer, 40)
    assert max(len(ids) for ids, _ in cut.train.found) <= 41
    with pytest.raises(ValueError, match="line 1: the assistant.s words come after the 5"):
        Chats(chats, script, script.tokenizer, 5)


def settings(steps=4, **more):
    return TrainConfig(**dict(steps=steps, batch_size=2, lr=1e-2, warmup=1, eval_every=2,
                              eval_batches=1, seed=3) | more)


def state(run): return [run.flat.w.copy(), *run.optimizer.state.values(), run.val_losses]


def same(a, b): return all(np.array_equal(x, y) for x, y in zip(a, b))


@pytest.mark.parametrize("kind", ["text", "chats"])
@pytest.mark.parametrize("rank", [2, None])
def test_a_run_goes_on_bit_for_bit(kind, rank, folder, script, chats, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(tinyplays(6_000))
    told = dict(script=script) if kind == "chats" else {}
    data = chats if kind == "chats" else text
    new = lambda: tuning_run(folder, data, settings(), rank, **told)
    whole = new()
    for _ in fit(whole): pass
    part = new()
    for step in fit(part):
        if step.index == 2: break
    checkpoint.save(tmp_path / "run" / "checkpoint", part.model, part.dataset.tokenizer, part)
    back = resume(tmp_path / "run", **told)
    assert back.index == 2 and same(state(back), state(part))
    for _ in fit(back): pass
    assert same(state(back), state(whole)) and len(whole.val_losses) == 2


def test_a_run_with_adapters_is_small_and_opens_merged(folder, tmp_path):
    run = tuning_run(folder, "tinyplays", settings(2), 2, on=("q", "v", "down"))
    for _ in fit(run): pass
    checkpoint.save(tmp_path / "run" / "checkpoint", run.model, run.dataset.tokenizer, run)
    saved = checkpoint.read_arrays(tmp_path / "run" / "checkpoint" / "model.safetensors")
    assert saved.keys() == run.flat.at.keys()
    model, tokenizer = hub.load(tmp_path / "run")
    ids = np.array([tokenizer.encode("the sea and the ship")])
    assert not adapters(model) and not model.training
    np.testing.assert_allclose(model(ids), run.model.eval()(ids), rtol=0, atol=1e-5)
    shorter, _ = hub.load(tmp_path / "run", 32)
    assert shorter.config.context == 32 and np.array_equal(shorter(ids), model(ids))
    assert f"began with the weights in {folder}; lora: {{'rank': 2" in hub.summary(tmp_path / "run")
    assert hub.home(tmp_path / "run") == folder
    hub.export(model, tmp_path / "out", folder)
    assert np.array_equal(hub.load(tmp_path / "out")[0](ids), model(ids))
    for open_it in (checkpoint.load, checkpoint.resume):
        with pytest.raises(ValueError, match="open it with numpygpt.load"):
            open_it(tmp_path / "run")


def test_a_base_that_changed_or_went_is_noticed(folder, tmp_path):
    import shutil
    shutil.copytree(folder, tmp_path / "base")
    run = tuning_run(tmp_path / "base", "tinyplays", settings(), 2)
    checkpoint.save(tmp_path / "run", run.model, run.dataset.tokenizer, run)
    weights = tmp_path / "base" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ValueError, match="are not those that the run began with"):
        hub.load(tmp_path / "run")
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(FileNotFoundError, match="are not there: put them back"):
        resume(tmp_path / "run")


def test_all_weights_of_a_published_model_can_move(folder, tmp_path):
    run = tuning_run(folder, "tinyplays", settings(2), dropout=0.1)
    assert run.model.config.dropout == 0.1 and len(run.flat) == run.model.n_params
    for _ in fit(run): pass
    checkpoint.save(tmp_path / "run", run.model, run.dataset.tokenizer, run)
    model, tokenizer = hub.load(tmp_path / "run")
    ids = np.array([tokenizer.encode("the sea")])
    assert np.array_equal(model(ids), run.model.eval()(ids))


def test_our_own_models_are_tuned_as_well(tmp_path):
    run = tuning_run("pretrained", "tinyplays", settings(2), 2)
    for _ in fit(run): pass
    checkpoint.save(tmp_path / "run", run.model, run.dataset.tokenizer, run)
    model, tokenizer = hub.load(tmp_path / "run")
    assert run.base["folder"] == "pretrained" and tokenizer.encode("sea")
    again = tuning_run(tmp_path / "run", "tinyplays", settings(1), 2)      # on top of the first
    ids = np.array([tokenizer.encode("the sea")])
    np.testing.assert_array_equal(again.model.eval()(ids), model(ids))


def test_what_cannot_be_asked_for(folder, tmp_path):
    with pytest.raises(ValueError, match="n_layer cannot change"):
        tuning_run(folder, "tinyplays", settings(), 2, n_layer=3)
    with pytest.raises(FileNotFoundError, match="no text file"):
        tuning_run(folder, tmp_path / "no.txt", settings(), 2)


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_any_number_of_workers_gives_the_same_bits(kind, folder):
    found = []
    for workers in (1, 2, 3):
        run = tuning_run(folder, "tinyplays", settings(batch_size=6), 2)
        frozen = {p: w for p, w in run.model.named_parameters().items() if p not in run.flat.at}
        with Replicas(run.model, run.flat, workers, kind) as team:
            run.accumulate, run.update = team.accumulate, lambda lr: team.step(run.optimizer, lr)
            for model in team.crew.models:
                named = model.named_parameters()
                assert all(named[p] is w for p, w in frozen.items())
            assert len(team.crew.sums[0]) == len(run.flat) < run.model.n_params / 5
            losses = [step.loss for step in fit(run)]
        found.append((losses, run.flat.w.copy()))
    for losses, w in found[1:]: assert losses == found[0][0] and np.array_equal(w, found[0][1])

