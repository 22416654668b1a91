"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import hashlib
import json
import math
import struct

import numpy as np

ANSWERS = {"parse": "parse_arrays",
           "recover": "recover_from", "verdict": "file_verdict", "restart": "restart"}
TYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64}


def parse__struct(data):
    n, = struct.unpack_from("<Q", data)
    found = {}
    for name, entry in json.loads(data[8:n + 8].decode("utf-8")).items():
        if name == "__metadata__": continue
        begin, end = entry["data_offsets"]
        raw = data[8 + n + begin:8 + n + end]
        found[name] = np.frombuffer(raw, dtype=TYPES[entry["dtype"]]).reshape(entry["shape"])
    return found


def parse__offset_and_count(data):
    n = int(np.frombuffer(data, "<u8", 1)[0])
    header = json.loads(bytes(data[8:8 + n]))
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data, TYPES[e["dtype"]], math.prod(e["shape"]),
                                8 + n + e["data_offsets"][0]).reshape(e["shape"]).copy()
            for name, e in header.items()}


def parse__read_as_a_stream(data):
    import io
    f = io.BytesIO(data)
    header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
    start, arrays = f.tell(), {}
    for name in sorted(set(header) - {"__metadata__"}, key=lambda k: header[k]["data_offsets"]):
        begin, end = header[name]["data_offsets"]
        f.seek(start + begin)
        arrays[name] = np.empty(header[name]["shape"], TYPES[header[name]["dtype"]])
        arrays[name].reshape(-1).view(np.uint8)[:] = bytearray(f.read(end - begin))
    return {name: arrays[name] for name in header if name in arrays}


def parse__number_by_number(data):
    size, signs = sum(b << 8 * i for i, b in enumerate(data[:8])), {"F32": "f", "F64": "d"}
    header, body, found = json.loads(data[8:8 + size]), data[8 + size:], {}
    for name, entry in header.items():
        if name.startswith("__"): continue
        sign, (begin, end) = signs.get(entry["dtype"], "q"), entry["data_offsets"]
        numbers = [x for x, in struct.iter_unpack("<" + sign, body[begin:end])]
        found[name] = np.array(numbers, TYPES[entry["dtype"]]).reshape(entry["shape"])
    return found


def recover__two_questions(names):
    if "checkpoint" in names: return "checkpoint"
    return "old" if "old" in names else None


def recover__order(names):
    whole = sorted(set(names) & {"old", "checkpoint"})
    return whole[0] if whole else None


def verdict__step_by_step(data, digest):
    if len(data) < 8: return "cut off"
    n, = struct.unpack("<Q", data[:8])
    header = data[8:8 + n]
    if len(header) != n: return "cut off"
    ends = [0]
    for name, entry in json.loads(header).items():
        if name != "__metadata__": ends.append(entry["data_offsets"][-1])
    if len(data[8 + n:]) < max(ends): return "cut off"
    return ("changed", "whole")[hashlib.sha256(data).hexdigest() == digest]


def restart__one_draw(seed, stop, total):
    rng = np.random.default_rng(seed)
    first = rng.random(stop).tolist()
    other = np.random.Generator(np.random.PCG64())
    other.bit_generator.state = json.loads(json.dumps(rng.bit_generator.state))
    return first + other.random(total - stop).tolist()
