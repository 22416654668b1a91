"The command line: every command, and a table of bad input with the message that it must get"
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numpygpt import checkpoint, cli, hub, packed
from numpygpt.backend import core_limit
from numpygpt.bpe import BPETokenizer
from numpygpt.chat import Chat, Script
from numpygpt.cli_train import Train
from numpygpt.course import chapters
from numpygpt.data import tinyplays
from numpygpt.generate import generate, pieces
from numpygpt.gradcheck import wrongs
from numpygpt.training import PRESETS, TrainConfig
from numpygpt.transformer import GPT, Block, GPTConfig

COMMAND = Path(sys.executable).parent / "numpygpt"
SHORT = ("--steps 4 --n-layer 1 --n-embd 16 --n-head 2 --context 16 --batch-size 4 --warmup 2 "
         "--eval-batches 1 --sample 0").split()


def numpygpt(*args, cwd=None):
    return subprocess.run([COMMAND, *map(str, args)], capture_output=True, text=True, cwd=cwd)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A folder with a finished run, a text, token files, and files that are broken in every way"
    folder = tmp_path_factory.mktemp("place")
    (folder / "my.txt").write_text("In the beginning was the word, and then came the next word.\n"
                                   * 80)
    (folder / "empty.txt").write_text("")
    (folder / "short.txt").write_text("too short")
    (folder / "binary.txt").write_bytes(bytes(range(256)))
    for args in (["train", *SHORT, "--out", "run"],
                 ["data", "my.txt", "--tokenizer", "bpe", "--vocab-size", 300, "--out", "mine"]):
        done = numpygpt(*args, cwd=folder)
        assert done.returncode == 0, done.stderr
    (folder / "umlaut.txt").write_text("Größere Wörter für größere Bücher. " * 40, encoding="utf-8")
    subprocess.run(["cp", "-r", folder / "run", folder / "mute"], check=True)
    (folder / "mute" / "checkpoint" / "tokenizer.json").unlink()
    for name, part, keep in (("half", "model.safetensors", 0.5), ("torn", "train.json", 0.5),
                             ("bare", "optimizer.safetensors", 0), ("odd", "tokenizer.json", 0.6)):
        subprocess.run(["cp", "-r", folder / "run", folder / name], check=True)
        path = folder / name / "checkpoint" / part
        if keep: path.write_bytes(path.read_bytes()[:int(path.stat().st_size * keep)])
        else: path.unlink()
    return folder


BAD = [     # arguments; parts of the message
    ("train --n-embd 100 --n-head 8", ["n_embd (100)", "n_head (8)", "96 or 104"]),
    ("train --n-head 4 --n-kv-head 3", ["n_kv_head (3)", "[1, 2, 4]"]),
    ("train --activation swish", ["activation must be one of", "gelu", "'swish'"]),
    ("train --steps 0", ["steps must be", "got 0"]),
    ("train --dropout 1.5", ["dropout", "1.5"]),
    ("train --data nowhere.txt", ["nowhere.txt", "shakespeare"]),
    ("train --data None", ["learns from a text", "--data"]),
    ("train --data empty.txt", ["empty"]),
    ("train --data short.txt", ["too few", "context"]),
    ("train --data binary.txt", ["binary.txt", "UTF-8"]),
    ("train --out run", ["run already holds a run", "--resume run"]),
    ("train --resume nowhere", ["no checkpoint in nowhere"]),
    ("train --resume run --lr 1", ["keeps its settings", "--lr"]),
    ("train --resume bare", ["optimizer.safetensors is missing"]),
    ("train --no-causal", ["causal=False", "BERT"]),
    ("train --freeze block.0", ["no weight is called 'block.0'", "blocks.0"]),
    ("train --freeze emb blocks norm head", ["all weights are frozen"]),
    ("train --init-from run", ["--data"]),
    ("train --init-from nowhere --data my.txt", ["no checkpoint in nowhere"]),
    ("train --init-from run --data my.txt --n-layer 2 --tied",
     ["n_layer is 1 in run and cannot become 2", "tied is False in run"]),
    ("train --init-from run --data my.txt --tokenizer bpe", ["leave out --tokenizer"]),
    ("train --init-from run --data mine", ["tokens in mine were made by another tokenizer"]),
    ("train --init-from run --data umlaut.txt", ["the character 'ö' is not among"]),
    ("train --init-from mute --data my.txt", ["mute holds no tokenizer.json"]),
    ("train --resume run --init-from run", ["keeps its settings", "--init-from"]),
    ("train --resume pretrained", ["sampled, not resumed"]),
    ("train --optimizer adamx", ["optimizer must be one of", "adamx"]),
    ("data my.txt --tokenizer bpe --vocab-size 100 --out no", ["vocab_size (100)", "256"]),
    ("sample nowhere", ["no checkpoint in nowhere"]),
    ("sample half", ["model.safetensors is damaged or cut off"]),
    ("sample torn", ["train.json is damaged"]),
    ("sample odd", ["tokenizer.json"]),
    ("sample run --temperature -1", ["temperature", "-1"]),
    ("sample run --top-p 0", ["top_p", "temperature=0"]),
    ("sample run --top-k 0", ["top_k", "0"]),
    ("sample run --prompt \u2603", ["\u2603"]),
    ("sample run --tokens -5", ["n_tokens", "-5"]),
    ("sample run --beam 0 --tokens 5", ["width", "got 0"]),
    ("sample run --beam 2 --tokens 40", ["context is 16", "shorten"]),
    ("sample run --beam 2 --seed 1", ["draws nothing", "--seed"]),
    ("sample mute", ["mute holds no tokenizer.json"]),
    ("plot", ["which run", "--attention"]),
    ("plot mine", ["no log.jsonl in mine"]),
    ("plot run --prompt Peace", ["--attention"]),
    ("plot nowhere --attention", ["no checkpoint in nowhere"]),
    ("plot half --attention", ["model.safetensors is damaged or cut off"]),
    ("plot mute --attention", ["mute holds no tokenizer.json"]),
    ("plot run --attention --prompt Xylophone", ["the character 'X' is not among"]),
    ("plot run --attention --prompt oldoldoldoldoldold",
     ["the prompt has 18 tokens and the model reads 16"]),
    ("plot run --attention --prompt=", ["at least one token"]),
    ("check --n-head 5", ["n_embd (24)", "n_head (5)"]),
    ("check --entries 0", ["entries must be at least 1"]),
    ("info nowhere", ["no checkpoint in nowhere"]),
    ("notebooks my.txt", ["my.txt is a file", "folder"]),
    ("notebooks my.txt --open --force", ["my.txt is a file", "folder"]),
    ("trian", ["trian", "train"]),
]


@pytest.mark.parametrize("line, parts", BAD, ids=[line for line, _ in BAD])
def test_bad_input_says_what_to_do(place, line, parts):
    before = sorted(p.relative_to(place) for p in place.rglob("*"))
    done = numpygpt(*line.split(), cwd=place)
    message = " ".join(done.stderr.replace("\u2502", " ").split())
    assert done.returncode != 0 and "Traceback" not in done.stderr, done.stderr
    for part in parts: assert part in message, message
    after = sorted(p.relative_to(place) for p in place.rglob("*"))
    assert after == before, "nothing may be written or lost"


def test_token_files_train_and_sample(place):
    done = numpygpt("train", *SHORT, "--data", "mine", "--out", "on_mine", cwd=place)
    assert done.returncode == 0, done.stderr
    text = numpygpt("sample", "on_mine", "--prompt", "In the", "--tokens", 20, "--seed",
                    1, cwd=place)
    assert text.returncode == 0 and text.stdout.startswith("In the")


def test_word_tokenizer_by_flag(place):
    done = numpygpt("train", *SHORT, "--data", "my.txt", "--tokenizer", "word", "--out",
                    "words", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "WordTokenizer" in numpygpt("info", "words", cwd=place).stdout


def test_info_and_plot(place):
    assert "trained for 4 steps on tinyplays" in numpygpt("info", "run", cwd=place).stdout
    for words in (["info"], ["--help"], ["train", "--help"]):
        assert numpygpt(*words).returncode == 0
    assert numpygpt("--version").stdout.startswith("numpygpt ")
    pytest.importorskip("matplotlib")
    assert numpygpt("plot", "run", "--out", "curves.png", cwd=place).returncode == 0
    assert (place / "curves.png").read_bytes().startswith(b"\x89PNG")


def weights(folder):
    model, _ = checkpoint.load(folder)
    return model.named_parameters()


def test_a_run_starts_from_another_with_parts_of_it_frozen(place):
    fast = ("--steps 3 --batch-size 4 --eval-batches 1 --sample 0 --freeze emb blocks.0.attn "
            "--warmup 0 --lr 0.01").split()
    done = numpygpt("train", "--init-from", "run", "--data", "my.txt", *fast, "--dropout", 0.1,
                    "--n-layer", 1, "--out", "tuned", cwd=place)
    assert done.returncode == 0, done.stderr
    before, after = weights(place / "run"), weights(place / "tuned")
    for path in before:
        same = (before[path] == after[path]).all()
        assert same == path.startswith(("emb.", "blocks.0.attn.")), path
    info = json.loads((place / "tuned" / "checkpoint" / "train.json").read_text())
    assert info["train"]["lr"] == 0.01 and info["train"]["beta2"] == 0.99
    assert info["model"]["dropout"] == 0.1 and info["index"] == 3
    again = numpygpt("train", "--resume", "tuned", "--steps", 5, "--sample", 0, cwd=place)
    assert again.returncode == 0, again.stderr
    assert (weights(place / "tuned")["emb.W"] == before["emb.W"]).all()


def test_the_recipe_of_a_tuned_run_is_the_default_or_that_of_the_preset():
    command = lambda *more: cli.parse(["train", "--init-from", "run", "--data", "my.txt", *more])
    assert command().train == TrainConfig()
    assert command("--preset", "nano").train == TrainConfig(**PRESETS["nano"].train)
    assert command("--lr", "0.5").train == TrainConfig(lr=0.5)


def test_attention_is_drawn(place, tmp_path):
    pytest.importorskip("matplotlib")
    for args in (["run"], ["run", "--prompt", "an owl"],
                 ["pretrained", "--prompt", "ROMEO:\nO, speak again"]):
        done = numpygpt("plot", "--attention", *(place / a if a == "run" else a for a in args),
                        cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "attention.png").read_bytes().startswith(b"\x89PNG")
        (tmp_path / "attention.png").unlink()


def test_beam_search_finds_the_same_text_each_time(place):
    found = [numpygpt("sample", "run", "--beam", 3, "--tokens", 12, "--prompt", "O ", cwd=place)
             for _ in range(2)]
    assert found[0].returncode == 0 and found[0].stdout == found[1].stdout
    assert found[0].stdout.startswith("O ") and len(found[0].stdout) == 15


def test_check_certifies_a_shape_and_a_wrong_gradient_fails(monkeypatch, capsys):
    done = numpygpt("check", "--entries", 2, "--n-layer", 1, "--n-head", 2, "--activation",
                    "swiglu", "--norm", "rmsnorm", "--tied")
    assert done.returncode == 0 and "certified" in done.stdout
    assert "blocks.0.mlp.gate.W" in done.stdout
    monkeypatch.setattr(Block, "backward", wrongs(Block)[0].code)
    with pytest.raises(SystemExit, match="not the slope"):
        cli.main(["check", "--entries", "2", "--n-layer", "1"])
    assert "WRONG" in capsys.readouterr().out


def test_defaults_of_a_preset_follow_a_changed_part(place):
    done = numpygpt("train", *SHORT, "--n-head", 8, "--n-embd", 32, "--out", "eight", cwd=place)
    assert done.returncode == 0, done.stderr
    model = json.loads((place / "eight" / "checkpoint" / "train.json").read_text())["model"]
    assert model["n_head"] == model["n_kv_head"] == 8 and model["n_hidden"] == 128


def test_without_out_a_free_folder_is_found(tmp_path):
    for name in ("tiny", "tiny-2"):
        assert numpygpt("train", *SHORT, cwd=tmp_path).returncode == 0
        assert (tmp_path / "runs" / name / "checkpoint").is_dir()


@pytest.mark.parametrize("line, preset", [
    ("--preset nano --preset tiny", "tiny"), ("--preset=nano --preset tiny", "tiny"),
    ("--preset tiny --preset=nano", "nano"), ("--preset nano --freeze emb --preset tiny", "tiny"),
    ("--preset nano --n_head 2", "nano"), ("--freeze emb --preset nano", "nano"), ("", "tiny"),
])
def test_the_last_preset_decides_all_that_a_preset_decides(line, preset):
    command, pure = cli.parse(["train", *line.split()]), Train.of(preset)
    assert (command.preset, command.data, command.tokenizer) == (preset, pure.data, pure.tokenizer)
    assert command.model.n_embd == pure.model.n_embd and command.train.lr == pure.train.lr
    assert command.model.n_kv_head == command.model.n_head


@pytest.mark.parametrize("line, given", [
    ("train --n_head 4 --n-embd=32 --no_tied", ["--n-embd", "--n-head", "--no-tied"]),
    ("train --lr 1e-3 --lr=2e-3 --freeze emb blocks.0", ["--freeze", "--lr"]),
    ("sample --prompt=--steps", ["--prompt"]), ("sample --prompt=a--b=--c", ["--prompt"]),
    ("sample --beam 2 -- --seed", ["--beam"]), ("plot -- --prompt", []),
    ("plot --prompt=-- --attention", ["--attention", "--prompt"]), ("plot", []),
])
def test_the_flags_that_were_named_are_those_that_the_parser_took(line, given):
    assert sorted(cli.parse(line.split()).given) == given


@pytest.mark.parametrize("line", [
    "train --pre nano", "train --presets nano", "train --n-hea 4", "train --data --preset nano",
    "train --preset", "train --preset tyni", "train --out --preset=nano", "sample --prompt --steps",
    "sample --prompt --beam", "train -- --preset nano",
])
def test_what_could_be_read_in_two_ways_is_refused(line, capsys):
    with pytest.raises(SystemExit) as end: cli.parse(line.split())
    assert end.value.code == 2 and capsys.readouterr().err


def test_a_refused_preset_is_told_which_there_are(capsys):
    with pytest.raises(SystemExit): cli.parse(["train", "--preset", "tyni"])
    assert "'tiny', 'nano'" in " ".join(capsys.readouterr().err.split())


def test_the_package_runs_as_a_program(place):
    "python -m numpygpt is numpygpt: the same words, the same codes"
    for line in (["--version"], ["info", "run"], ["sample", "nowhere"]):
        words, same = [sys.executable, "-m", "numpygpt", *line], numpygpt(*line, cwd=place)
        done = subprocess.run(words, capture_output=True, text=True, cwd=place)
        assert (done.returncode, done.stdout, done.stderr) == (same.returncode, same.stdout,
                                                               same.stderr)
        assert done.returncode == (line[-1] == "nowhere")


def test_info_tells_the_cores_and_what_limits_them():
    cores, limit = core_limit()
    assert f"usable cores: {cores} (limit: {limit})" in numpygpt("info").stdout
    if hasattr(os, "sched_setaffinity") and cores > 1:
        program = (f"import os; os.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}])\n"
                   "from numpygpt.cli import main; main(['info'])")
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert "usable cores: 1 (limit: affinity)" in done.stdout


def test_chapters_are_copied_and_a_changed_one_is_left(tmp_path):
    course, names = tmp_path / "a" / "course", {c.path.name for c in chapters()}
    first = numpygpt("notebooks", course)
    assert first.returncode == 0, first.stderr
    assert f"{len(names)} chapters written to {course}" in first.stdout
    assert {p.name for p in course.glob("*.ipynb")} == names and "left" not in first.stdout
    assert f"next: numpygpt notebooks {course} --open" in first.stdout
    mine = course / "03_linear.ipynb"
    plain = mine.read_text(encoding="utf-8")
    mine.write_text("mine")
    again = numpygpt("notebooks", course)
    assert again.returncode == 0 and mine.read_text() == "mine"
    assert f"{len(names) - 1} chapters written" in again.stdout and "--force" in again.stdout
    assert "1 left alone, since changed" in again.stdout and mine.name in again.stdout
    forced = numpygpt("notebooks", course, "--force")
    assert f"{len(names)} chapters written" in forced.stdout and "left" not in forced.stdout
    assert mine.read_text(encoding="utf-8") == plain


@pytest.mark.parametrize("code", [0, 3])
def test_open_starts_jupyterlab_on_the_first_page(tmp_path, code):
    "With a jupyter that writes down what it was asked for"
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "jupyterlab.py").write_text("")
    fake = f"import sys; print('asked', sys.argv[1:]); sys.exit({code})"
    (tmp_path / "fake" / "jupyter.py").write_text(fake)
    done = subprocess.run([COMMAND, "notebooks", "course", "--open"], cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(tmp_path / "fake")},
                          capture_output=True, text=True)
    assert done.returncode == code and "next:" not in done.stdout, done.stderr
    assert f"asked {['lab', str(Path('course', 'index.ipynb'))]}" in done.stdout
    assert (tmp_path / "course" / "index.ipynb").is_file()


def test_without_jupyterlab_one_line_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jupyterlab", None)
    course = tmp_path / "course"
    with pytest.raises(SystemExit) as end: cli.main(["notebooks", str(course), "--open"])
    said = str(end.value.code)
    assert said.endswith('pip install "numpygpt[notebooks]"') and "\n" not in said
    assert "chapters written" in capsys.readouterr().out and (course / "index.ipynb").is_file()


def test_a_log_of_any_length_is_drawn_without_being_held(place, tmp_path, monkeypatch):
    "The file itself goes to the plot, which reads it in pieces; a log without a step is named"
    pytest.importorskip("matplotlib")
    drawn, plain = [], cli.plot_log
    monkeypatch.setattr(cli, "plot_log", lambda log: (drawn.append(log), plain(log))[1])
    cli.main(["plot", str(place / "run"), "--out", str(tmp_path / "curves.png")])
    assert drawn == [place / "run" / "log.jsonl"] and (tmp_path / "curves.png").is_file()
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(SystemExit, match="this log has no steps yet"):
        cli.main(["plot", str(tmp_path)])


TALKS = [{"prompt": f"Who ate the corn, {n}?", "response": "Not I."} for n in range(6)]
CHATML = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
          "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
TUNE = ("--steps 3 --batch-size 2 --length 24 --eval-batches 1 --warmup 0 --sample 5 --lr 0.01 "
        "--workers 1").split()


@pytest.fixture(scope="module")
def published(place):
    "Two published folders, of which one talks and one is dumb, and conversations to learn from"
    pytest.importorskip("jinja2")
    learned = BPETokenizer.train(tinyplays(9000), 300, ["<|im_start|>", "<|im_end|>"])
    shape = GPTConfig(vocab_size=300, context=96, n_layer=2, n_embd=16, n_head=4, n_kv_head=2,
                      n_hidden=24, norm="rmsnorm", activation="swiglu", mlp_bias=False, tied=True,
                      rope_dtype="float32")
    for name in ("small", "dumb"):
        hub.export(GPT(shape, np.random.default_rng(0)), place / name, tokenizer=learned)
    (place / "small" / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHATML}))
    (place / "talks.jsonl").write_text("\n".join(map(json.dumps, TALKS)))
    (place / "broken.jsonl").write_text(json.dumps(TALKS[0]) + '\n{"prompt": "and"}\n')
    (place / "big.gguf").write_bytes(b"GGUF" + bytes(60))
    return place


BAD_PUBLISHED = [
    ("sample small --chat hi --prompt x", ["a conversation needs none", "--prompt"]),
    ("sample small --chat hi --beam 2 --length-penalty 1", ["--beam, --length-penalty"]),
    ("sample small --system brief", ["add --chat", "leave out --system"]),
    ("sample run --chat hi", ["run is no published model"]),
    ("sample pretrained --chat hi", ["pretrained is no published model"]),
    ("sample dumb --chat hi", ["dumb has no chat template"]),
    ("sample small --chat hi --tokens 0", ["1 token", "got 0"]),
    ("sample small --chat hi --temperature -1", ["temperature", "-1"]),
    (f"sample small --chat {'long' * 99}", ["the model reads 96: send a shorter one"]),
    ("sample run --precision float16", ["bfloat16", "float16"]),
    ("sample big.gguf", ["GGUF"]),
    ("export nowhere out", ["no checkpoint in nowhere"]),
    ("export run out", ["no published kind"]),
    ("export small my.txt", ["my.txt holds other things"]),
    ("export small run", ["run holds other things"]),
    ("export run out --like small", ["not built like that in small"]),
    ("train --lora 8 --chat-data talks.jsonl", ["--chat-data, --lora", "--init-from"]),
    ("train --init-from small", ["--data", "--chat-data"]),
    ("train --init-from small --data my.txt --chat-data talks.jsonl", ["not both"]),
    ("train --init-from small --data my.txt --lora-on q", ["--lora-on belongs to --lora"]),
    ("train --init-from small --data my.txt --lora 0", ["rank", "got 0"]),
    ("train --init-from small --data my.txt --lora 2 --lora-alpha 0", ["alpha", "got 0"]),
    ("train --init-from small --data my.txt --lora 2 --lora-on q z", ["on must name some of"]),
    ("train --init-from small --data my.txt --n-layer 3", ["n_layer cannot change"]),
    ("train --init-from small --data mine", ["another tokenizer"]),
    ("train --init-from small --chat-data nowhere.jsonl", ["no file nowhere.jsonl"]),
    ("train --init-from small --chat-data broken.jsonl", ["broken.jsonl, line 2", "prompt"]),
    ("train --init-from dumb --chat-data talks.jsonl", ["dumb has no chat template"]),
    ("train --init-from run --chat-data talks.jsonl", ["run is no published model"]),
    ("train --init-from big.gguf --data my.txt", ["GGUF"]),
    ("train --resume run --lora 2", ["keeps its settings", "--lora"]),
]


@pytest.mark.parametrize("line, parts", BAD_PUBLISHED, ids=[line[:60] for line, _ in BAD_PUBLISHED])
def test_bad_input_about_published_models(published, line, parts, monkeypatch, capsys):
    "In this process, since nothing is trained: one line, and nothing written"
    monkeypatch.chdir(published)
    before = sorted(published.rglob("*"))
    with pytest.raises(SystemExit) as end: cli.main(line.split())
    said = " ".join((str(end.value.code) + capsys.readouterr().err).replace("\u2502", " ").split())
    assert end.value.code not in (0, None) and sorted(published.rglob("*")) == before
    for part in parts: assert part in said, said
    if isinstance(end.value.code, str): assert "\n" not in end.value.code


SAID = ["--temperature", "0.9", "--seed", "3", "--tokens", "8"]


def answers(folder, *questions, system=None):
    model, tokenizer = hub.open_model(folder)
    chat, rng = Chat(model, Script.read(folder, tokenizer), system), np.random.default_rng(3)
    return ["".join(chat.ask(q, 8, rng, temperature=0.9)) for q in questions]


def test_one_line_gets_one_answer(published):
    words = [COMMAND, "sample", "small", "--chat", "Who ate the corn?", *SAID]
    done = subprocess.run(words, cwd=published, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert done.stdout == answers(published / "small", "Who ate the corn?")[0] + "\n"
    assert "--tokens allows more" in done.stderr


@pytest.mark.parametrize("first, last", [([], ["--chat"]), (["--chat"], [])])
def test_each_line_of_a_pipe_is_a_turn(published, first, last):
    words = [COMMAND, "sample", "small", *first, *SAID, "--system", "Be a hen.", *last]
    done = subprocess.run(words, cwd=published, capture_output=True, text=True,
                          input="Who?\n\nAnd then\r\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(a + "\n" for a in answers(published / "small", "Who?", "And then",
                                                            system="Be a hen."))


class Typed:
    "A terminal, at which these lines are typed; an exception among them is what comes instead"
    def __init__(self, monkeypatch, *lines):
        self.lines = iter(lines)
        monkeypatch.setattr(sys, "stdin", self)
        monkeypatch.setattr("builtins.input", self.input)

    def isatty(self): return True
    def input(self, prompt):
        line = next(self.lines, EOFError)
        if isinstance(line, str): return line
        raise line


def test_a_terminal_is_asked_until_its_end(published, monkeypatch, capsys):
    monkeypatch.chdir(published)
    for end in (EOFError, KeyboardInterrupt):
        Typed(monkeypatch, "And?", " ", "Why?", end, "never")
        cli.main(["sample", "small", "--chat", "Who?", *SAID])
        found = answers("small", "Who?", "And?", "Why?")
        assert capsys.readouterr().out == "".join(a + "\n" for a in found)


def test_control_c_ends_the_answer_and_not_the_program(published, monkeypatch, capsys):
    monkeypatch.chdir(published)
    plain, turns = Chat.ask, []

    def broken(self, text, *a, **k):
        turns.append([dict(m) for m in self.messages])
        for n, piece in enumerate(plain(self, text, *a, **k)):
            yield piece
            if len(turns) == 1 and n == 1: raise KeyboardInterrupt
    monkeypatch.setattr(Chat, "ask", broken)
    Typed(monkeypatch, "And?")
    cli.main(["sample", "small", "--chat", "Who?", *SAID])
    whole = answers("small", "Who?")[0]
    kept = turns[1][-1]["content"]
    assert kept and whole.startswith(kept) and kept != whole
    said = capsys.readouterr()
    assert said.out.startswith(kept + "\n") and said.err.count("--tokens") == 1


def test_what_is_too_long_does_not_end_a_terminals_talk(published, monkeypatch, capsys):
    monkeypatch.chdir(published)
    Typed(monkeypatch, "long " * 99, "Why?")
    cli.main(["sample", "small", "--chat", "Who?", *SAID])
    said = capsys.readouterr()
    assert said.out.count("\n") >= 3 and "numpygpt: the last message has" in said.err


def test_dropped_messages_are_told(published, monkeypatch, capsys):
    monkeypatch.chdir(published)
    Typed(monkeypatch, *["What else was there to be eaten then?"] * 4)
    cli.main(["sample", "small", "--chat", "Who?", *SAID])
    assert "the context is full: 2 messages were dropped" in capsys.readouterr().err


@pytest.mark.parametrize("line, chat", [
    ("sample m --chat", ""), ("sample --chat --seed 3", ""), ("sample m --chat hello", "hello"),
    ("sample --chat=--seed", "--seed"), ("sample m", None), ("sample --chat= m", "")])
def test_a_conversation_may_begin_without_a_line(line, chat):
    assert cli.parse(line.split()).chat == chat


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("folder", ["small", "run"])
def test_precisions_write(published, folder, precision, monkeypatch, capsys):
    monkeypatch.chdir(published)
    loaded, plain = [], packed.load
    monkeypatch.setattr(packed, "load", lambda *a, **k: loaded.append(plain(*a, **k)) or loaded[-1])
    cli.main(["sample", folder, "--precision", precision, "--prompt", "the", *SAID])
    model, tokenizer = loaded[0]
    made = generate(model, tokenizer.encode("the"), 8, 3, 0.9)
    assert capsys.readouterr().out == "the" + "".join(pieces(made, tokenizer.decode)) + "\n"
    assert isinstance(model.blocks[0].mlp.up.W, packed.Weight) == (precision != "float32")


def same(a, b):
    ids = np.arange(24)[None]
    return np.abs(hub.load(a)[0](ids) - hub.load(b)[0](ids)).max()


def test_lora_is_trained_sampled_gone_on_with_and_exported(published):
    cd = dict(cwd=published)
    done = numpygpt("train", "--init-from", "small", "--lora", 2, "--lora-alpha", 8, "--lora-on",
                    "q v", "--data", "my.txt", *TUNE, "--out", "lora", **cd)
    assert done.returncode == 0, done.stderr
    assert "parameters, of which 224 learn" in done.stdout, done.stdout
    info = json.loads((published / "lora" / "checkpoint" / "train.json").read_text())
    assert info["base"]["lora"] == {"rank": 2, "alpha": 8.0, "on": ["q", "v"]}
    size = (published / "lora" / "checkpoint" / "model.safetensors").stat().st_size
    assert size < (published / "small" / "model.safetensors").stat().st_size / 5
    assert same(published / "lora", published / "small") > 1e-4
    for words in (["sample", "lora", "--tokens", 4], ["info", "lora"],
                  ["train", "--resume", "lora", "--steps", 5, "--sample", 0, "--workers", 1],
                  ["export", "lora", "whole"]):
        done = numpygpt(*words, **cd)
        assert done.returncode == 0, done.stderr
    assert same(published / "lora", published / "whole") == 0
    config = (published / "whole" / "tokenizer_config.json").read_text()
    assert json.loads(config)["chat_template"] == CHATML
    talk = numpygpt("sample", "whole", "--chat", "Who?", "--tokens", 3, **cd)
    assert talk.returncode == 0, talk.stderr


def test_answers_are_learned_from_conversations(published):
    cd = dict(cwd=published)
    done = numpygpt("train", "--init-from", "small", "--chat-data", "talks.jsonl", *TUNE,
                    "--length", 64, "--out", "chatty", **cd)
    assert done.returncode == 0, done.stderr
    assert "5 conversations" in done.stdout and "sample chatty --chat" in done.stdout
    assert "<|im_start|>user\nWho ate the corn, 5?<|im_end|>\n<|im_start|>assistant" in done.stdout
    again = numpygpt("train", "--resume", "chatty", "--steps", 5, "--sample", 0, "--workers", 1,
                     **cd)
    assert again.returncode == 0, again.stderr
    for words in (["sample", "chatty", "--chat", "Who?", "--tokens", 3],
                  ["export", "chatty", "talker"], ["sample", "talker", "--chat", "Who?",
                                                   "--tokens", 3]):
        done = numpygpt(*words, **cd)
        assert done.returncode == 0, done.stderr
    assert same(published / "chatty", published / "talker") == 0


@pytest.mark.parametrize("lora", [["--lora", 2], []])
def test_a_run_whose_base_is_gone_says_so_in_one_line(published, tmp_path, lora):
    "With adapters the weights are missed, without them the template alone"
    shutil.copytree(published / "small", tmp_path / "base")
    done = numpygpt("train", "--init-from", "base", "--chat-data", published / "talks.jsonl", *lora,
                    *TUNE, "--length", 64, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "base")
    for words in (["sample", "run", "--chat", "Who?"], ["train", "--resume", "run", "--steps", 5]):
        done = numpygpt(*words, cwd=tmp_path)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        assert str(tmp_path / "base") in done.stderr and "put" in done.stderr
        assert "has no chat template" not in done.stderr
    done = numpygpt("export", "run", "out", cwd=tmp_path)
    assert (done.returncode, "--like" in done.stdout) == ((1, False) if lora else (0, True))


def test_export_takes_a_folder_as_its_model(published):
    done = numpygpt("export", "dumb", "spoken", "--like", "small", cwd=published)
    assert done.returncode == 0, done.stderr
    assert same(published / "dumb", published / "spoken") == 0
    assert "as a llama" in done.stdout and "sample spoken" in done.stdout
    assert (published / "spoken" / "tokenizer_config.json").is_file()
