"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import re

ANSWERS = {"flags": "flags", "settings": "merged_settings", "size": "parse_size",
           "outcome": "run_outcome"}


def flags__loop(argv):
    found = set()
    for word in argv:
        if word == "--": break
        if word[:2] != "--": continue
        name, *_ = word.split("=")
        found.add("-".join(name.split("_")))
    return found


def flags__pattern(argv):
    line = "\n".join(argv) + "\n"
    before = re.split(r"^--$", line, maxsplit=1, flags=re.M)[0]
    return frozenset(name.replace("_", "-") for name in re.findall(r"^(--[^=\n]+)", before, re.M))


def flags__table(argv):
    names = {}
    for word in iter([*argv, "--"].__iter__().__next__, "--"):
        if word.startswith("--"): names[word.split("=", 1)[0].translate({95: 45})] = True
    return set(names)


def settings__filled_after(defaults, preset, given):
    s = dict(defaults)
    s.update(preset)
    s.update(given)
    s.setdefault("n_kv_head", s["n_head"])
    s.setdefault("n_hidden", s["n_embd"] * 4)
    return s


def size__pattern(text):
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(?:([kMG])(i?))?\s*", text)
    if not found: raise ValueError(text)
    number, letter, binary = found.groups()
    return round(float(number) * (1024 if binary else 1000)**(" kMG".index(letter or " ")))


def outcome__else(command):
    try:
        command()
    except OSError as error:
        return 1, "numpygpt: " + str(error)
    except ValueError as error:
        return 1, "numpygpt: " + str(error)
    else:
        return 0, ""
