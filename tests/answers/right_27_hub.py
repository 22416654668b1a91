"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import re

import numpy as np

ANSWERS = {"rope": "rope_fields", "paths": "our_paths", "lying": "as_ours",
           "split": "split_fused", "halves": "to_halves"}
NEEDS = {"default": [], "linear": ["factor"],
         "llama3": ["factor", "low_freq_factor", "high_freq_factor",
                    "original_max_position_embeddings"]}


def rope__three_questions(h):
    scaling, base = h.get("rope_scaling"), h.get("rope_theta", 10000)
    if h.get("rope_parameters"):
        scaling = h["rope_parameters"]
        if "rope_theta" in scaling: base = scaling["rope_theta"]
    if not scaling: return {"rope_base": float(base), "rope_scaling": None}
    kind = scaling["rope_type"] if "rope_type" in scaling else scaling.get("type", "default")
    numbers = tuple(scaling[name] for name in NEEDS[kind])
    return dict(rope_scaling=numbers if numbers else None, rope_base=float(base))


def rope__match(h):
    p = dict(h.get("rope_scaling") or {})
    p.update(h.get("rope_parameters") or {})
    values = None
    match p.get("rope_type") or p.get("type"):
        case "linear": values = (p["factor"],)
        case "llama3": values = tuple(map(p.get, NEEDS["llama3"]))
    return {"rope_base": float(p.get("rope_theta") or h.get("rope_theta") or 1e4),
            "rope_scaling": values}


def rope__by_what_is_there(h):
    both = {}
    for part in ("rope_scaling", "rope_parameters"):
        if part in h and h[part] is not None: both |= h[part]
    found = tuple(both[n] for n in NEEDS["llama3"] if n in both)
    bases = [d["rope_theta"] for d in (both, h, {"rope_theta": 10000.0}) if "rope_theta" in d]
    return {"rope_scaling": found or None, "rope_base": 1.0 * bases[0]}


def paths__expression(name, layers, prefix):
    layer, end = name.rsplit(".", 1)
    if layer.startswith(prefix): layer = layer[len(prefix):]
    number = re.search(r"\d+", layer.replace("ln_1", "").replace("ln_2", ""))
    row = layer if number is None else layer.replace(f".{number[0]}.", ".*.")
    found = []
    for ours in layers[row].split(" "):
        letter = "b" if end == "bias" else "W"
        if end == "weight" and re.search("norm", ours): letter = "g"
        found.append(("" if number is None else f"blocks.{number[0]}.") + ours + "." + letter)
    return found


def paths__table_searched(name, layers, prefix):
    for theirs, ours in layers.items():
        pattern = "(?:%s)?" % re.escape(prefix) + re.escape(theirs).replace(r"\*", r"(\d+)")
        m = re.fullmatch(pattern + r"\.(weight|bias)", name)
        if not m: continue
        block = "" if len(m.groups()) == 1 else "blocks." + m[1] + "."
        gain = {True: "g", False: "W"}
        return [block + part + "." + (gain["norm" in part] if m.groups()[-1] == "weight" else "b")
                for part in ours.split()]


def paths__every_name_written_out(name, layers, prefix):
    known = {}
    for i in range(100):
        for theirs, ours in layers.items():
            inside = "*" in theirs
            for o in ours.split():
                path = f"blocks.{i}.{o}" if inside else o
                for end, letter in (("bias", "b"), ("weight", "g" if "norm" in o else "W")):
                    key = f"{theirs.replace('*', str(i))}.{end}"
                    known.setdefault(key, {})[f"{path}.{letter}"] = None
    return list(known[name[len(prefix):] if name.startswith(prefix) else name])


def lying__cases(name, a, conv):
    layer = name.rsplit(".", 1)[0]
    if len(a.shape) == 1: return a.copy()
    if layer.endswith(("wte", "wpe", "embed_tokens")): return a.copy()
    if conv and layer != "lm_head": return a.copy()
    return np.ascontiguousarray(np.swapaxes(a, 0, 1))


def split__heads(W, n_head, n_kv_head):
    heads = W.reshape(n_head + 2 * n_kv_head, -1, W.shape[1])
    parts = heads[:n_head], heads[n_head:-n_kv_head], heads[-n_kv_head:]
    return [np.einsum("hdc->chd", part).reshape(W.shape[1], -1) for part in parts]


def split__turned_first(W, n_head, n_kv_head):
    ours, D = W.T.copy(), W.shape[0] // (2 * n_kv_head + n_head)
    kv = n_kv_head * D
    return ours[:, :n_head * D], ours[:, -2 * kv:-kv], ours[:, -kv:]


def halves__index(W, n_head):
    D = W.shape[1] // n_head
    order = np.r_[0:D:2, 1:D:2]
    return W[:, np.concatenate([h * D + order for h in range(n_head)])]


def halves__loops(W, n_head):
    new, D = np.empty_like(W), W.shape[1] // n_head
    for h in range(n_head):
        for i in range(D // 2):
            new[:, h * D + i] = W[:, h * D + 2 * i]
            new[:, h * D + D // 2 + i] = W[:, h * D + 2 * i + 1]
    return new
