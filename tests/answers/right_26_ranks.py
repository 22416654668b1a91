"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"ring": "ring_round", "sent": "bytes_sent", "share": "share_of_rank",
           "factors": "loss_factors"}


def ring__as_receiver(parts, step):
    p = parts.shape[0]
    new = np.array(parts)
    for r in range(p):
        left = (r - 1) % p
        k = (left - step) % p
        if step < p - 1: new[r, k] += parts[left, k]
        else: new[r, k] = parts[left, k]
    return new


def ring__rolled(parts, step):
    p, ranks = len(parts), np.arange(len(parts))
    k = (ranks - step) % p
    moved, new = parts[ranks, k], parts.copy()
    to = np.roll(ranks, -1)
    new[to, k] = moved + parts[to, k] if step < p - 1 else moved
    return new


def ring__by_parts(parts, step):
    p = len(parts)
    out = [[x.copy() for x in row] for row in parts]
    for k in range(p):
        giver = (k + step) % p
        taker = (giver + 1) % p
        out[taker][k] = out[giver][k] + out[taker][k] if step + 1 < p else out[giver][k].copy()
    return np.array(out)


def sent__rounds(n, p, size):
    rounds = 2 * p - 2
    return rounds * size * n // p, rounds * size * n


def share__slices(m, p, rank, lanes):
    own = [rank + p * j for j in range(m) if rank + p * j < m]
    return [own[lane::lanes] for lane in range(lanes)]


def factors__mean(counts): return counts / np.mean(counts)
