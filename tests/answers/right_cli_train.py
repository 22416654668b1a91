"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import re

ANSWERS = {"settings": "merged_settings", "size": "parse_size"}


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
