"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
ANSWERS = {"flops": "step_flops", "intensity": "intensity", "roof": "roof_seconds",
           "crossing": "crossing"}


def flops__by_matrices(config, batch):
    C, F, D = config.n_embd, config.n_hidden, config.n_embd // config.n_head
    shapes = [(C, C), (C, config.n_kv_head * D), (C, config.n_kv_head * D), (C, C), (C, F), (F, C)]
    if config.activation == "swiglu": shapes.append((C, F))
    shapes = shapes * config.n_layer + [(C, config.vocab_size)]
    tokens = batch * config.context
    linear = sum(3 * 2 * tokens * n * m for n, m in shapes)
    scores = 2 * batch * config.n_head * config.context * D * config.context
    return linear + 6 * scores * config.n_layer


def flops__one_token(config, batch):
    KD = config.n_kv_head * config.n_embd // config.n_head
    mlp = {"swiglu": 3}.get(config.activation, 2) * config.n_hidden
    layer = 6 * (2 * config.n_embd + 2 * KD + mlp) + 12 * config.context
    each = config.n_embd * (config.n_layer * layer + 6 * config.vocab_size)
    return each * batch * config.context


def flops__forward_and_backward(config, batch):
    C, T, KD = config.n_embd, config.context, config.n_embd // config.n_head * config.n_kv_head
    ups = 3 if config.activation == "swiglu" else 2
    forward = 0
    for _ in range(config.n_layer):
        forward += 2 * T * C * (C + KD + KD + C + ups * config.n_hidden)
        forward += 2 * 2 * T * T * C
    forward += 2 * T * C * config.vocab_size
    return batch * (forward + 2 * forward)


def intensity__bytes(n, m, p, size):
    moved = sum(size * a * b for a, b in ((n, m), (m, p), (n, p)))
    return n * p * 2 * m / moved


def roof__corner(flops, moved, peak, bandwidth):
    if flops / peak >= moved / bandwidth: return flops / peak, "compute"
    return moved / bandwidth, "memory"


def crossing__counted(C):
    weights = 4 * C * C + 2 * C * 4 * C
    return 6 * weights // (12 * C)
