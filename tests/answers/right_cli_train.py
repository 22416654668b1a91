"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import re

ANSWERS = {"settings": "merged_settings", "size": "parse_size", "parse": "parsed"}


def settings__filled_after(defaults, preset, given):
    s = dict(defaults)
    s.update(preset)
    s.update(given)
    s.setdefault("n_kv_head", s["n_head"])
    s.setdefault("n_hidden", s["n_embd"] * 4)
    return s


def size__pattern(text):
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(k|[MG]|[KMG]i)?\s*", text)
    if not found: raise ValueError(text)
    number, unit = found[1], found[2] or " "
    base = 1024 if unit.endswith("i") else 1000
    return round(float(number) * base**" KMG".index(unit[0].upper()))


def size__from_the_end(text):
    word = text.strip()
    for unit, worth in (("Ki", 1024), ("Mi", 1024**2), ("Gi", 1024**3), ("k", 1e3), ("M", 1e6),
                        ("G", 1e9), ("", 1)):
        if word.endswith(unit): return round(float(word[:len(word) - len(unit)]) * worth)


def settings__from_the_left(defaults, preset, given):
    found = {}
    for part in (given, preset, defaults):
        for name, value in part.items(): found.setdefault(name, value)
    if "n_kv_head" not in found: found["n_kv_head"] = found["n_head"]
    if "n_hidden" not in found: found["n_hidden"] = 4 * found["n_embd"]
    return found


def parse__by_index(defaults, argv):
    s, i = defaults.copy(), 0
    while i < len(argv):
        if not argv[i].startswith("--"): raise ValueError(argv[i])
        name, *rest = argv[i][2:].split("=", 1)
        name = name.replace("-", "_")
        if type(s.get(name)) is bool and not rest: s[name] = True
        elif name[:3] == "no_" and type(s.get(name[3:])) is bool and not rest: s[name[3:]] = False
        elif name in s and type(s[name]) is not bool:
            if not rest:
                i += 1
                if i == len(argv): raise ValueError("a value is missing")
                rest = [argv[i]]
            s[name] = type(s[name])(rest[0])
        else: raise ValueError(name)
        i += 1
    return s


def parse__table_of_flags(defaults, argv):
    takes, turns = {}, {}
    for name, value in defaults.items():
        if isinstance(value, bool): turns |= {name: (name, True), "no_" + name: (name, False)}
        else: takes[name] = type(value)
    words, found = list(argv)[::-1], {}
    while words:
        flag, sign, value = words.pop().partition("=")
        name = flag[2:].replace("-", "_")
        if not flag.startswith("--"): raise ValueError(flag)
        if name in turns and sign == "": found.update([turns[name]])
        elif name in takes and (sign or words):
            found[name] = takes[name](value if sign else words.pop())
        else: raise ValueError(flag)
    return {**defaults, **found}
