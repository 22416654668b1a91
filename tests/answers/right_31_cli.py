"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import json
import re

ANSWERS = {"flags": "flags", "outcome": "run_outcome", "losses": "losses_so_far"}


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


def outcome__else(command):
    try:
        command()
    except OSError as error:
        return 1, "numpygpt: " + str(error)
    except ValueError as error:
        return 1, "numpygpt: " + str(error)
    else:
        return 0, ""


def losses__with_line_ends(text):
    found = {}
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n") or not line.strip(): continue
        step = json.loads(line)
        found[step["index"]] = step["loss"]
    return [(i, found[i]) for i in sorted(found)]


def losses__from_the_end(text):
    *lines, _ = text.split("\n")
    seen, found = set(), []
    for line in lines[::-1]:
        if not line: continue
        step = json.loads(line)
        if step["index"] not in seen: found.append([step["index"], step["loss"]])
        seen.add(step["index"])
    return sorted(found)
