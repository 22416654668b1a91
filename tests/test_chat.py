"Conversations: the template's text, marks that cannot be forged, a memory that changes no score"
import json
import sys
from contextlib import nullcontext
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt import GPT, GPTConfig, chat, hub
from numpygpt.bpe import BPETokenizer, CharTokenizer
from numpygpt.chat import VEIL, Chat, Memory, Script, fitting, shared, shortened, veiled
from numpygpt.data import tinyplays

pytest.importorskip("jinja2")
MARKS = ["<|im_start|>", "<|im_end|>", "<s>", "</s>"]
SHAPE = dict(vocab_size=304, context=64, n_layer=2, n_embd=16, n_head=4, n_kv_head=2, n_hidden=24,
             norm="rmsnorm", activation="swiglu", mlp_bias=False, tied=True, rope_dtype="float32")
CHATML = ("{% for m in messages %}<|im_start|>{{ m['role'] }}:{{ m['content'] }}<|im_end|>\n"
          "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant:{% endif %}")
STRICT = ("{{ bos_token }}{% for m in messages %}"
          "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
          "{{ raise_exception('roles must\nalternate') }}{% endif %}"
          "{% if m['role'] == 'user' %}{{ '[INST]' + m['content'] + '[/INST]' }}"
          "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat") / "small"
    model = GPT(GPTConfig(**SHAPE), np.random.default_rng(0))
    hub.export(model, folder, tokenizer=BPETokenizer.train(tinyplays(9000), 300, MARKS))
    return folder


@pytest.fixture
def folder(made, tmp_path):
    for path in made.iterdir(): (tmp_path / path.name).write_bytes(path.read_bytes())
    setting(tmp_path)
    return tmp_path


def setting(folder, template=CHATML, **more):
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"chat_template": template, "bos_token": {"content": "<s>"}, "eos_token": "</s>", **more}))


def open_(folder, **how):
    model, tokenizer = hub.open_model(folder)
    return Chat(model, Script.read(folder, tokenizer), **how)


def script(folder, template=CHATML, **more):
    setting(folder, template, **more)
    return open_(folder).script


def said(letters):
    roles = dict(S="system", U="user", A="assistant")
    return [{"role": roles[c], "content": c.lower()} for c in letters]


def test_a_template_is_found_wherever_it_lies(folder):
    assert chat.template_of(folder) == CHATML
    setting(folder, [{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}])
    assert chat.template_of(folder) == "d"
    (folder / "chat_template.json").write_text('{"chat_template": "of a processor"}')
    assert chat.template_of(folder) == "of a processor"
    (folder / "chat_template.jinja").write_text("a file of its own\u00e9", encoding="utf-8")
    assert chat.template_of(folder) == "a file of its own\u00e9"


def test_what_the_environment_has(folder):
    day = datetime.now().strftime("%Y")
    for template, text in (
            ("{{ messages[0] | tojson }}", '{"role": "user", "content": "u"}'),
            ("{{ {'a': '<\u00e9>'} | tojson(indent=1) }}", '{\n "a": "<\u00e9>"\n}'),
            ("{{ strftime_now('%Y') }}", day), ("{{ bos_token }}{{ eos_token }}", "<s></s>"),
            ("{{ unk_token }}{{ tools is none }}{{ documents is none }}", "TrueTrue"),
            ("{% for m in 'abc' %}{% if m == 'b' %}{% break %}{% endif %}{{ m }}{% endfor %}", "a"),
            ("{% generation %}{{ messages[0].content }}{% endgeneration %}!", "u!"),
            ("  {% if true %}\nx\n  {% endif %}\ny\n", "x\ny")):
        assert script(folder, template).text(said("U")) == text, template


@pytest.mark.parametrize("template, says", [
    ("{{ ''.__class__.__mro__ }}", "__class__"), ("{{ messages.append(1) }}", "append"),
    ("{{ messages[7].content + 'x' }}", "no element 7"), ("{{ 1 // 0 }}", "zero"),
    (STRICT, "roles must alternate")])
def test_a_template_that_fails_says_why_in_one_line(folder, template, says):
    made = Script(chat.environment().from_string(template), open_(folder).script.tokenizer, {})
    with pytest.raises(ValueError, match="refuses this conversation") as error:
        made.ids(said("UU"))
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("template, says", [
    (None, "has no chat template"), ("{% for %}", "is damaged, line 1"),
    ([{"name": "rag", "template": "x"}], "the chat templates rag")])
def test_a_folder_that_cannot_talk(folder, template, says):
    setting(folder, template)
    with pytest.raises(ValueError, match=says) as error: open_(folder)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_gone_is_named(folder, tmp_path):
    tokenizer, gone = open_(folder).script.tokenizer, tmp_path / "gone"
    with pytest.raises(FileNotFoundError, match="folder .*gone, which is gone: put it back$"):
        Script.read(gone, tokenizer)


def test_a_model_of_ours_has_no_template(folder):
    with pytest.raises(ValueError, match="no published model"):
        Script.read(folder, CharTokenizer.train("abc"))


def test_without_jinja2_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2.sandbox", None)
    chat.environment.cache_clear()
    with pytest.raises(ValueError, match=r'pip install "numpygpt\[hub\]"'): open_(folder)


def test_the_marks_are_those_of_the_template(folder):
    made = script(folder)
    mark = made.tokenizer.special
    ids = made.ids(said("SU"))
    assert made.tokenizer.decode(ids) == made.text(said("SU"))
    assert [i for i in ids if i in mark.values()] == [mark[m] for m in
                                                      ("<|im_start|>", "<|im_end|>") * 2 +
                                                      ("<|im_start|>",)]
    assert made.ids(said("SU"), reply=False) == ids[:len(made.ids(said("SU"), reply=False))]
    assert script(folder, STRICT).ids(said("U"))[0] == mark["<s>"]


PARTS = [*MARKS, "<|im_", "start|>", "|>", "<", "a", "\n", VEIL, "\u00e9"]


@given(st.lists(st.sampled_from(PARTS), max_size=9).map("".join))
@settings(deadline=None, max_examples=60)
def test_nobody_speaks_in_another_role(made, text):
    setting(made)
    form = open_(made).script
    ids = form.ids([{"role": "user", "content": text}], reply=False)
    special = set(form.tokenizer.special.values())
    assert sum(i in special for i in ids) == 2
    assert form.tokenizer.decode(ids) == f"<|im_start|>user:{text.replace(VEIL, '')}<|im_end|>\n"


def test_veils_hide_names_within_names():
    for names in (["<a>", "<a>b"], ["<a>b", "<a>"]):
        hidden = veiled("x<a>b<a>", names)
        assert "<a>" not in hidden and hidden.replace(VEIL, "") == "x<a>b<a>"


def test_ends_are_the_folders_and_the_templates_own(folder):
    tokens = script(folder).tokenizer.special
    assert open_(folder).ends == {tokens["<|im_end|>"]}
    (folder / "generation_config.json").write_text('{"eos_token_id": [3, 4]}')
    assert open_(folder, ends=[5]).ends == {3, 4, 5, tokens["<|im_end|>"]}
    setting(folder, "{{ messages[-1].content }}")
    assert open_(folder).ends == {3, 4}


@given(st.lists(st.integers(0, 2), max_size=6), st.lists(st.integers(0, 2), min_size=1, max_size=6))
def test_what_is_shared_is_the_longest_beginning_but_one(read, ids):
    n = shared(read, ids)
    assert read[:n] == ids[:n] and 0 <= n < len(ids)
    assert n == len(ids) - 1 or n == len(read) or read[n] != ids[n]


@pytest.mark.parametrize("more", [{}, {"window": 5}, {"position": "learned"}])
def test_a_memory_changes_no_score(more):
    r = np.random.default_rng(0)
    model = GPT(GPTConfig(**SHAPE | more), r).eval()
    memory, ids, fed = Memory(model), [1], []
    plain = model.forward
    model.forward = lambda x, *a, **k: (fed.append(x.shape[1]), plain(x, *a, **k))[1]
    for _ in range(30):
        keep = r.integers(0, len(ids) + 1)
        ids = (ids[:keep] + list(map(int, r.integers(0, 304, r.integers(1, 6)))))[:64]
        known, before = shared(memory.read, ids), len(fed)
        got = memory.logits(ids)
        assert fed[before:] == [len(ids) - known] and memory.read == ids
        whole = plain(np.array([ids]))[:, -1]
        assert got.shape == (1, 304) and np.abs(got - whole).max() < 1e-5 * np.abs(whole).max()


def test_a_pass_that_is_broken_off_does_no_harm():
    model = GPT(GPTConfig(**SHAPE), np.random.default_rng(0)).eval()
    memory = Memory(model)
    memory.logits([1, 2, 3])
    plain, model.blocks[1].forward = model.blocks[1].forward, lambda *a: 1 / 0
    with pytest.raises(ZeroDivisionError): memory.logits([1, 2, 4, 5])
    model.blocks[1].forward = plain
    assert np.allclose(memory.logits([1, 2, 4]), model(np.array([[1, 2, 4]]))[:, -1], atol=1e-6)


class Told:
    "In the place of a model: says what it was told to say"
    def __init__(self, words, context=64):
        self.config, self.words = GPTConfig(**SHAPE | {"context": context}), words
        self.steps = []

    def new_cache(self): return []

    def __call__(self, ids, cache, last):
        self.steps.append(ids.shape[1])
        logits = np.full((1, 1, 304), -9.0, np.float32)
        logits[0, 0, self.words.pop(0)] = 9
        return logits


def talk(folder, words, monkeypatch, context=400, **how):
    form = open_(folder).script
    ids = [i for w in words for i in form.tokenizer.encode(w)]
    told = Told(ids, context)
    monkeypatch.setattr(chat, "evaluating", nullcontext)
    return Chat(told, form, **how), told


def test_an_answer_ends_with_its_end(folder, monkeypatch):
    made, told = talk(folder, ["Hi<s> you<|im_end|>", "Bye \u00e9<|im_end|>"], monkeypatch)
    assert "".join(made.ask("hello", temperature=0)) == "Hi you" and not made.cut
    assert list(made.ask("and?", temperature=0))[-1] == "\u00e9" and not made.cut
    assert [m["content"] for m in made.messages] == ["hello", "Hi you", "and?", "Bye \u00e9"]
    assert told.words == []


def test_what_was_read_is_not_read_again(folder, monkeypatch):
    made, told = talk(folder, ["Hi there<|im_end|>", "Bye<|im_end|>"], monkeypatch)
    list(made.ask("hello", temperature=0))
    first = sum(told.steps)
    assert set(told.steps[1:]) == {1}
    prompt = made.script.ids([*made.messages, {"role": "user", "content": "and?"}])
    list(made.ask("and?", temperature=0))
    assert first + max(told.steps[1:]) == len(prompt) and max(told.steps[1:]) > 1


def test_cut_is_told(folder, monkeypatch):
    made, told = talk(folder, ["a" * 300], monkeypatch)
    assert len(list(made.ask("hello", 5, temperature=0))) == 5 and made.cut
    answer = made.ask("more", 9, temperature=0)
    next(answer)
    answer.close()
    assert made.cut and made.messages[-1] == {"role": "assistant", "content": "a"}
    made, told = talk(folder, ["a" * 300], monkeypatch, context=64)
    text = "".join(made.ask("hello", 999, temperature=0))
    assert made.cut and len(made.script.ids(made.messages[:1])) + len(text) == 64


def test_an_interruption_keeps_what_was_said(folder, monkeypatch):
    made, told = talk(folder, ["abc"], monkeypatch)
    answer = made.ask("hello", 9, temperature=0)
    assert next(answer) + next(answer) == "ab"
    monkeypatch.setattr(made.memory, "logits", lambda ids: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt): next(answer)
    assert made.messages[-1]["content"] == "ab" and made.cut


def test_shortened_leaves_a_conversation():
    letters = lambda m: "".join(x["role"][0].upper() for x in m)
    for before, after in (("SUAUAU", "SUAU"), ("UAAU", "U"), ("SU", "SU"), ("UA", "UA"),
                          ("SUAU", "SU")):
        assert letters(shortened(said(before))) == after


def test_the_oldest_turns_go_and_the_system_stays(folder, monkeypatch):
    made, told = talk(folder, ["aaaa<|im_end|>"] * 9, monkeypatch, context=160, system="Be brief.")
    dropped = []
    for n in range(8):
        list(made.ask(f"question {n}?", 9, temperature=0))
        dropped.append(made.dropped)
        assert made.messages[0]["role"] == "system" and made.messages[1]["role"] == "user"
        assert len(made.script.ids(made.messages[:-1])) + 9 <= 160
    assert sum(dropped) and dropped.count(0) > 3
    assert len(made.messages) == 1 + 16 - sum(dropped)


def test_a_question_that_is_too_long_changes_nothing(folder, monkeypatch):
    made, told = talk(folder, ["a<|im_end|>"], monkeypatch, context=64)
    list(made.ask("b", temperature=0))
    before = list(made.messages)
    with pytest.raises(ValueError, match="the model reads 64: send a shorter one"):
        list(made.ask("long " * 99))
    for how, says in ((dict(tokens=0), "1 token"), (dict(temperature=-1), "temperature")):
        with pytest.raises(ValueError, match=says): list(made.ask("b", **how))
    assert made.messages == before


def test_room_is_made_only_where_it_is_needed(folder):
    form = open_(folder).script
    messages = said("SUAUAU")
    n = len(form.ids(messages))
    assert fitting(form, messages, 5, n + 5) == (form.ids(messages), messages)
    ids, left = fitting(form, messages, 5, n + 4)
    assert len(left) < 6 and ids == form.ids(left)


def test_a_real_pass_draws_the_same_with_memory_and_without(folder):
    "Two chats with one seed: one remembers, the other reads everything at each question"
    texts = []
    for forget in (False, True):
        made, rng = open_(folder, system="s"), np.random.default_rng(7)
        for line in ("one", "two"):
            if forget: made.memory = Memory(made.memory.model)
            texts.append("".join(made.ask(line, 8, rng, repetition_penalty=1.2, top_p=0.9)))
        assert not made.memory.model.training
    assert texts[:2] == texts[2:]
