"What a run needs is looked at before its first step; a stranger's machine costs a line, and no run"
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numpygpt import checkpoint, cli, cli_train, data
from numpygpt.bpe import CharTokenizer
from numpygpt.data import Dataset, tinyplays
from numpygpt.training import Run, TrainConfig, fit
from numpygpt.transformer import GPTConfig

COMMAND = str(Path(sys.executable).parent / "numpygpt")
SHAPE = "--n-layer 1 --n-embd 16 --n-head 2 --context 16 --batch-size 4".split()
QUICK = [*SHAPE, "--warmup", "1", "--eval-batches", "1", "--sample", "0", "--workers", "1"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    "A folder to work in, with a short text"
    monkeypatch.chdir(tmp_path)
    Path("my.txt").write_text("In the beginning was the word, and then the next one.\n" * 40)
    return tmp_path


def train(*words, steps=2):
    cli.main(["train", "--data", "my.txt", "--steps", str(steps), *QUICK, *words])


def refused(capsys, *words):
    "The one line that a command ends with"
    capsys.readouterr()
    with pytest.raises(SystemExit) as end: cli.main([str(w) for w in words])
    said = capsys.readouterr().err
    if isinstance(end.value.code, str): said, code = end.value.code, 1
    else: code = end.value.code
    assert code in (1, 2)
    return said


def steps_in(folder): return checkpoint.read_info(checkpoint.find(folder))["index"]


# ---- what training will need at its end

@pytest.mark.parametrize("part, words", [
    ("the validation part: 216 tokens are too few for a context of 300", ["--context", "300"]),
    ("choose another name", ["--out", "full"]), ("holds other things (note", ["--out", "foreign"]),
    ("a file, or a link to nothing", ["--out", "link"]), ("a file, or a", ["--out", "my.txt"])])
def test_what_a_run_ends_with_is_checked_before_it_begins(here, capsys, monkeypatch, part, words):
    Path("full").mkdir()
    Path("full/checkpoint").write_text("a file")
    Path("foreign/checkpoint").mkdir(parents=True)
    Path("foreign/checkpoint/note.txt").write_text("keep me")
    Path("link").symlink_to("nowhere")
    before = sorted(here.rglob("*"))
    def never(run): raise AssertionError("a step was made")
    monkeypatch.setattr(cli_train, "fit", never)
    said = refused(capsys, "train", "--data", "my.txt", *QUICK, *words)
    assert part in said and sorted(here.rglob("*")) == before


def test_a_disk_without_room_is_found_before_the_first_step(here, capsys, monkeypatch):
    monkeypatch.setattr(cli_train.shutil, "disk_usage",
                        lambda _: type("usage", (), {"free": 1000}))
    said = refused(capsys, "train", "--data", "my.txt", *QUICK)
    assert "room for 1,000 bytes" in said and "make room" in said and not Path("runs").exists()


def test_a_text_without_validation_is_refused(here, capsys):
    cli.main(["data", "my.txt", "--out", "whole", "--val-fraction", "0"])
    assert "validation part: 0 tokens" in refused(capsys, "train", "--data", "whole", *QUICK)
    Path("four.txt").write_text("abcd")
    refused(capsys, "train", "--data", "four.txt", *QUICK)


def test_numpy_numbers_and_paths_are_settings(here):
    tokens = CharTokenizer.train(text := tinyplays(3000))
    shape = GPTConfig(vocab_size=np.int64(tokens.vocab_size), context=np.int32(8), n_layer=1,
                      n_embd=np.int64(8), n_head=np.int8(2), dropout=np.float32(0.25))
    config = TrainConfig(steps=np.int64(3), batch_size=np.uint8(2), lr=np.float32(0.25),
                         seed=np.int64(3), freeze=["emb"])
    assert {type(v) for v in (shape.n_embd, shape.context, config.steps)} == {int}
    assert type(config.lr) is float and config.freeze == ("emb",)
    run = Run(shape, config, Dataset.from_text(text, tokens), Path("some.txt"))
    list(itertools.islice(fit(run), 2))
    checkpoint.save("c", run.model, tokens, run, note=np.float32(0.5))
    info = checkpoint.read_info(Path("c"))
    assert (info["source"], info["note"], info["train"]["lr"]) == ("some.txt", 0.5, 0.25)
    assert checkpoint.resume("c", run.dataset).config == config
    with pytest.raises(TypeError): checkpoint.save("d", run.model, tokens, run, note=object())


# ---- two spellings of a place

@pytest.mark.parametrize("spelled", ["run/checkpoint", "run", "run/", "./run/checkpoint/", "link",
                                     "latest"])
def test_two_spellings_of_a_run_are_one_run(here, capsys, spelled):
    train("--out", "run")
    Path("link").symlink_to("run")
    Path("latest").symlink_to("run/checkpoint")
    cli.main(["train", "--resume", spelled, "--steps", "4", "--sample", "0"])
    assert steps_in("run") == steps_in(spelled) == 4
    assert sorted(p.name for p in Path("run").iterdir()) == ["checkpoint", "log.jsonl"]
    cli.main(["plot", spelled, "--out", "log.png"])
    cli.main(["info", spelled])
    assert "already holds a run" in refused(capsys, "train", "--out", spelled, *QUICK)


def test_a_checkpoint_stands_for_its_run_from_within_and_needs_one(here, capsys, monkeypatch):
    train("--out", "run")
    os.rename("run/checkpoint", "bare")
    assert "without a run around it" in refused(capsys, "train", "--resume", "bare", "--steps", "9")
    os.rename("bare", "run/checkpoint")
    monkeypatch.chdir("run/checkpoint")
    cli.main(["train", "--resume", ".", "--steps", "3", "--sample", "0"])
    assert steps_in(here / "run") == 3


# ---- one writer

def test_of_two_that_ask_for_a_free_folder_each_gets_its_own(here):
    folders = [cli_train.free_folder("tiny") for _ in range(3)]
    assert [str(f) for f in folders] == ["runs/tiny", "runs/tiny-2", "runs/tiny-3"]


def test_a_run_has_one_writer_while_it_lives(here, capsys):
    train("--out", "run")
    with cli_train.alone(Path("run")):
        assert "another process" in refused(capsys, "train", "--resume", "run", "--steps", "5")
        assert "another process" in refused(capsys, "train", "--out", "run", *QUICK)
    cli.main(["train", "--resume", "run", "--steps", "3", "--sample", "0"])
    assert steps_in("run") == 3


# ---- resumed

def test_goals_that_were_passed_are_told(here, capsys):
    train("--out", "run", steps=3)
    before = Path("run/checkpoint/train.json").read_bytes()
    for steps in ([], ["--steps", "2"], ["--steps", "3"]):
        assert "made" in refused(capsys, "train", "--resume", "run", *steps)
    assert Path("run/checkpoint/train.json").read_bytes() == before
    with pytest.raises(ValueError, match="made 3 steps"): checkpoint.resume("run", steps=0)


def test_a_run_goes_on_from_another_folder(here, capsys, monkeypatch):
    train("--out", "run")
    Path("sub").mkdir()
    monkeypatch.chdir("sub")
    Path("my.txt").write_text("the word was in the beginning, " * 50)
    cli.main(["train", "--resume", "../run", "--steps", "3", "--sample", "0"])
    os.rename("../my.txt", "moved.txt")
    assert "no text file" in refused(capsys, "train", "--resume", "../run", "--steps", "4")
    other = "train", "--resume", "../run", "--steps", "4", "--data"
    assert "is not the one" in refused(capsys, *other, "my.txt")
    cli.main([*other, "moved.txt", "--sample", "0"])
    monkeypatch.chdir("..")
    cli.main(["train", "--resume", "run", "--steps", "5", "--sample", "0"])
    assert steps_in("run") == 5


def test_a_corpus_is_no_path(here):
    Path("tinyplays").mkdir()
    assert checkpoint.named({"source": "tinyplays", "at": str(here / "tinyplays")}) == "tinyplays"
    assert checkpoint.named({"source": "my.txt"}) == "my.txt"


@pytest.mark.parametrize("change", [
    lambda i: i.pop("train"), lambda i: i["train"].update(lr="fast"),
    lambda i: i["train"].update(x=1), lambda i: i.pop("loader"), lambda i: i.update(loader=[]),
    lambda i: i.update(generators={}), lambda i: i.update(model=7),
    lambda i: i["model"].update(n_layer="4"), lambda i: i.pop("model"),
    lambda i: i["model"].update(n_layer=2), lambda i: i.update(val_losses=3),
    lambda i: i.pop("data"), lambda i: i.update(base=3), lambda i: i.update(base={}),
    lambda i: i.update(ready={"a": 1}), lambda i: i.update(index="7"), lambda i: i.pop("index")])
def test_settings_of_another_form_are_told_in_one_line(here, capsys, change):
    train("--out", "run")
    path = Path("run/checkpoint/train.json")
    info = checkpoint.read_info(path.parent)                # and so without its digest
    change(info)
    path.write_text(json.dumps(info))
    assert refused(capsys, "train", "--resume", "run", "--steps", "9").startswith("numpygpt: ")


# ---- what would be ignored, and what is changed

@pytest.mark.parametrize("words, part", [
    ("train --data my.txt --vocab-size 100", "leave out --vocab-size"),
    ("data my.txt --out made --vocab-size 100", "leave out --vocab-size"),
    ("train --data tokens --tokenizer word", "leave out --tokenizer"),
    ("train --data tokens --vocab-size 9 --tokenizer bpe", "leave out --tokenizer, --vocab-size"),
    ("train --data my.txt --steps 9 --warmup 10", "10 steps does not end in a run of 9"),
    ("train --data my.txt --optimizer sgd --beta2 0.9", "--beta2 does nothing"),
    ("train --data my.txt --schedule constant --floor 0.5", "--floor does nothing"),
    ("train --data my.txt --dropout-at mlp", "--dropout-at does nothing"),
    ("train --init-from pretrained --data my.txt --steps 9 --warmup 10", "does not end"),
    ("sample --length-penalty 1", "--beam")])
def test_a_flag_that_would_be_ignored_is_refused(here, capsys, words, part):
    if "tokens" in words: cli.main(["data", "my.txt", "--out", "tokens"])
    assert part in refused(capsys, *words.split())


@pytest.mark.parametrize("steps, warmup", [(20, 2), (179, 17), (180, 180), (3, 0)])
def test_a_warm_up_that_is_too_long_is_cut_and_told(steps, warmup, capsys):
    command = cli.parse(["train", "--steps", str(steps)])
    assert cli_train.warmed(command).warmup == warmup
    assert ("is cut to" in capsys.readouterr().out) == (warmup != 180)


def test_a_corpus_and_a_folder_of_one_name_are_told_apart(here, capsys):
    Path("tinyplays").mkdir()
    cli_train.tell_which("tinyplays")
    assert "./tinyplays" in capsys.readouterr().out
    cli.main(["data", "my.txt", "--out", "tinyplays"])
    cli_train.tell_which("tinyplays")
    assert "token files" in capsys.readouterr().out
    for name in ("shakespeare", "my.txt"): cli_train.tell_which(name)
    assert not capsys.readouterr().out.splitlines()[2:]


def test_printed_commands_can_be_copied(here, capsys):
    train("--out", "a run/it's")
    said = capsys.readouterr().out
    again = [line for line in said.splitlines() if "--resume" in line][0].split("    train on")[0]
    env = {**os.environ, "PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}"}
    subprocess.run(again + " --sample 0", shell=True, check=True, env=env, capture_output=True)
    assert steps_in("a run/it's") == 4
    cli.main(["data", "my.txt", "--out", "my tokens"])
    assert "--data 'my tokens'" in capsys.readouterr().out


# ---- a stranger's machine

def command(*words, env=None, **more):
    return subprocess.run([COMMAND, *words], capture_output=True, env={**os.environ, **(env or {})},
                          **more)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-8-sig", "cp1252"])
def test_an_env_file_of_another_program_is_none_of_ours(here, encoding):
    Path(".env").write_text("NAME=\u00e9t\u00e9\nbroken '\n", encoding=encoding)
    code = "from numpygpt.backend import _wanted; print(_wanted({})[0])"
    said = lambda: subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said().stdout.split() == ["numpy"]
    if encoding != "utf-16-le":
        Path(".env").write_text("A=\u00e9\nNUMPYGPT_BACKEND=auto\n", encoding=encoding)
        assert said().stdout.split() == ["auto"]


@pytest.mark.parametrize("name, value", [("NUMPYGPT_BACKEND", "foo"), ("NUMPYGPT_BACKEND", "cupy"),
                                         ("PMI_SIZE", "two"), ("SLURM_STEP_NUM_TASKS", "-1")])
def test_a_variable_that_makes_no_sense_is_named(here, name, value):
    done = command("info", env={name: value})
    if value == "cupy" and not done.returncode: return
    said = done.stderr.decode()
    assert done.returncode == 1 and said.count("\n") == 1 and name in said and value in said


def test_an_empty_variable_is_none(monkeypatch):
    from numpygpt.ranks import world
    monkeypatch.setenv("PMI_SIZE", "")
    assert world().size == 1


@pytest.mark.parametrize("env", [{"PYTHONIOENCODING": "cp1252"},
                                 {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_letters_that_a_terminal_lacks_end_no_run(here, env):
    Path("my.txt").write_text("\u4e00\u4e8c\u4e09 \u0416\n" * 200, encoding="utf-8")
    words = [*QUICK[:-4], "--sample", "20", "--workers", "1", "--out", "run"]
    done = command("train", "--data", "my.txt", "--steps", "2", *words, env=env)
    assert done.returncode == 0 and b"Traceback" not in done.stderr and b"?" in done.stdout
    done = command("sample", "run", "--tokens", "9", env=env)
    assert done.returncode == 0 and b"Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe of a POSIX shell")
def test_a_reader_that_leaves_ends_a_sample_in_silence_and_no_run(here):
    line = f"{COMMAND} sample --tokens 400 --seed 0 | head -c 2; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.stderr == "" and done.stdout[2:].split()[-1] in ("0", "1")
    words = " ".join([*QUICK, "--out run --steps 9 --eval-every 1"])
    line = f"{COMMAND} train --data my.txt {words} 2>&1 | head -c 2"
    subprocess.run(["bash", "-c", line], check=True, capture_output=True)
    assert steps_in("run") == 9


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no Ctrl-C to one process")
@pytest.mark.parametrize("words", ["sample --tokens 100000 --seed 1", "data - --out made"])
def test_control_c_is_no_error(here, words):
    started = subprocess.Popen(           # a suite in the background would hand on that it is deaf
        [COMMAND, *words.split()], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    if words.startswith("sample"): started.stdout.read(5)
    else:
        while not Path("made/stdin.txt").exists(): time.sleep(0.05)
    for _ in range(6):                  # a finaliser may swallow the first: then one presses again
        started.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            _, said = started.communicate(timeout=10)
            break
    assert started.returncode in (1, 130) and b"Traceback" not in said and said.count(b"\n") <= 1


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows closes terminals in silence")
def test_a_closed_terminal_saves_the_run():
    with checkpoint.stop_signals() as came:
        for _ in range(2): os.kill(os.getpid(), signal.SIGHUP)     # a shell may pass it on, too
        assert came == [signal.SIGHUP] * 2
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)           # nohup
    try:
        with checkpoint.stop_signals() as came:
            os.kill(os.getpid(), signal.SIGHUP)
            assert came == []
    finally: signal.signal(signal.SIGHUP, before)


def test_a_stream_that_breaks_costs_nothing():
    class Broken:
        encoding = "utf-8"
        def write(self, text=""): raise OSError(5, "the terminal is gone")
        flush = write
    stream = cli_train.Heedless(Broken())
    print("hello", file=stream)
    assert stream.encoding == "utf-8" and stream.write("four") == 4 and stream.flush() is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_pipes_are_texts(here):
    line = f"{COMMAND} data <(cat my.txt) <(tr a-z A-Z < my.txt) --out made"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == 0 and "2 documents" in done.stdout, done.stderr
    assert not list(Path("made").glob("stdin*"))


@pytest.mark.parametrize("log", ["", '{"index": 1, "lo', "[1, 2]\n", "hello\n", '{"index": 1}\n',
                                 '{"index": 1, "loss": "x", "lr": 1, "grad_norm": 1}\n', "null\n"])
def test_a_log_that_is_none_is_named(here, capsys, log):
    Path("run").mkdir()
    Path("run/log.jsonl").write_text(log)
    assert "run/log.jsonl" in refused(capsys, "plot", "run")
