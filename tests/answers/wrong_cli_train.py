"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
ANSWERS = {"settings": "merged_settings", "size": "parse_size", "parse": "parsed"}


def settings__only_what_was_given(defaults, preset, given):
    return {"n_kv_head": given.get("n_head", 4), "n_hidden": 4 * given.get("n_embd", 64),
            **defaults, **preset, **given}


def settings__not_filled_in(defaults, preset, given): return defaults | preset | given


def size__letters_of_any_case(text):
    word = text.strip().lower()
    for letter, worth in (("k", 1e3), ("m", 1e6), ("g", 1e9)):
        if word.endswith(letter): return round(float(word[:-1]) * worth)
    return round(float(word))


def size__whole_numbers_only(text):
    digits = "".join(c for c in text if c.isdigit())
    unit = text.replace(digits, "").strip()
    if unit not in ("", "k", "M", "G") or not digits: raise ValueError(text)
    return int(digits) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[unit]


def parse__in_pairs(defaults, argv):
    found = dict(defaults)
    for name, value in zip(argv[::2], argv[1::2]):
        key = name.removeprefix("--").replace("-", "_")
        if key not in found: raise ValueError(name)
        found[key] = type(found[key])(value)
    return found


def parse__any_word_may_be_a_flag(defaults, argv):
    found, words = dict(defaults), [w for word in argv for w in word.split("=", 1)]
    while words:
        name = words.pop(0).lstrip("-").replace("-", "_")
        if name in found and isinstance(found[name], bool): found[name] = True
        elif name[:3] == "no_" and name[3:] in found: found[name[3:]] = False
        elif name in found and words: found[name] = type(found[name])(words.pop(0))
        else: raise ValueError(name)
    return found
