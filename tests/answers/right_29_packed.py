"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"bytes": "token_bytes", "round": "to_bfloat16", "rows": "quantise",
           "bound": "int8_bound", "cores": "cores_for", "value": "bfloat16_value"}


def bytes__by_shapes(config, size, length):
    C, D, F = config.n_embd, config.head_size, config.n_hidden
    H, K, L = config.n_head, config.n_kv_head, config.n_layer
    shapes = [(C, H * D), (C, K * D), (C, K * D), (H * D, C), (C, F), (F, C)]
    if config.activation == "swiglu": shapes.append((C, F))
    shapes = shapes * L + [(C, config.vocab_size)]
    cache = (L, K, length, D), (L, K, length, D)
    return size * sum(n * m for n, m in shapes) + 4 * sum(int(np.prod(s)) for s in cache)


def bytes__block_by_block(config, size, length):
    total = config.vocab_size * config.n_embd * size
    for _ in range(config.n_layer):
        q = config.n_embd * config.n_head * config.head_size
        k = config.n_embd * config.n_kv_head * config.head_size
        mlp = config.n_embd * config.n_hidden * {"swiglu": 3}.get(config.activation, 2)
        total += size * (q + k + k + q + mlp)
        total += 2 * 4 * length * config.n_kv_head * config.head_size
    return total


def bytes__numbers_first(config, size, length):
    per_head = config.n_embd * config.head_size
    ups = 2 if config.activation == "swiglu" else 1
    layer = per_head * (2 * config.n_head + 2 * config.n_kv_head)
    layer += config.n_embd * config.n_hidden * (ups + 1)
    kept = length * config.n_layer * config.n_kv_head * config.head_size
    return (config.n_layer * layer + config.vocab_size * config.n_embd) * size + kept * 8


def round__by_remainder(x):
    u = x.view(np.uint32).astype(np.int64)
    kept, rest = np.divmod(u, 65536)
    up = (rest > 32768) | ((rest == 32768) & (kept % 2 == 1))
    bits = (kept + up).astype(np.uint16)
    bits[np.isnan(x)] = 0x7FC0
    return bits


def round__by_rint(x):
    u = x.view(np.uint32).astype(np.float64)
    bits = np.rint(u / 65536).astype(np.int64)
    return np.where(np.isnan(x), 0x7FC0, bits).astype(np.uint16)


def round__nearer_neighbour(x):
    u = x.view(np.uint32).astype(np.int64)
    below = u >> 16
    down, up = u - (below << 16), ((below + 1) << 16) - u
    bits = np.where(down < up, below, np.where(up < down, below + 1, below + (below & 1)))
    return np.where(x != x, 0x7FC0, bits).astype(np.uint16)


def rows__loop(w):
    q, scale = np.zeros(w.shape, np.int8), np.ones(len(w), np.float32)
    for j, row in enumerate(w):
        if row.any():
            scale[j] = np.abs(row).max() / 127
            q[j] = np.round(row / scale[j])
    return q, scale


def rows__times_127(w):
    most = np.maximum(w.max(1), -w.min(1)).astype(np.float32)
    safe = np.where(most > 0, most, np.float32(127))
    return np.rint(w * (127 / safe)[:, None]).astype(np.int8), safe / np.float32(127)


def rows__in_double(w):
    wide = w.astype(np.float64)
    scale = np.max(np.abs(wide), axis=1, keepdims=True) / 127
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    return np.around(w / scale).astype(np.int8), scale[:, 0]


def bound__as_a_product(x, W): return np.abs(x) @ np.ones_like(W) * (np.max(np.abs(W), 0) / 127 / 2)


def cores__by_time(n, size, rate, bandwidth):
    seconds = n * size / bandwidth
    return 1 / seconds, int(np.ceil(n / seconds / rate))


def value__ldexp(bits):
    s, e, m = bits // 32768, bits // 128 % 256, bits % 128
    whole = np.where(e > 0, 128.0 + m, m)
    return np.where(s == 1, -1.0, 1.0) * np.ldexp(whole, np.maximum(e.astype(int), 1) - 134)
