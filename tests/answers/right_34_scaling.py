"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math

import numpy as np

ANSWERS = {"law": "power_law", "budget": "compute_optimal", "miss": "law_misses_by"}


def law__by_hand(sizes, losses):
    x, y = np.log(sizes), np.log(losses)
    dx = x - x.mean()
    b = -(dx * y).sum() / (dx * dx).sum()
    return float(np.exp(y.mean() + b * x.mean())), float(b)


def law__lstsq_in_bits(sizes, losses):
    table = np.stack([np.ones(len(sizes)), -np.log2(sizes)], 1)
    height, b = np.linalg.lstsq(table, np.log2(losses), rcond=None)[0]
    return float(2 ** height), float(b)


def budget__tokens_first(flops, ratio=20.0):
    tokens = math.sqrt(ratio * flops / 6)
    return flops / 6 / tokens, tokens


def miss__by_a_mask(sizes, losses):
    others = sizes < sizes.max()
    slope, start = np.polyfit(np.log(sizes[others]), np.log(losses[others]), 1)
    said = math.exp(start + slope * math.log(sizes.max()))
    return said - float(losses[~others][0])


def miss__sorted(sizes, losses):
    order = np.argsort(sizes)
    *x, last = np.log(sizes[order])
    *y, end = np.log(losses[order])
    return float(np.exp(np.polyval(np.polyfit(x, y, 1), last)) - np.exp(end))
