"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import math
from statistics import fmean, stdev

import numpy as np

ANSWERS = {"bits": "bits_of_pieces", "bound": "claim_bound", "size": "size_for_seconds"}


def bits__by_hand(nats, pieces):
    total, count = 0.0, 0
    for cost, piece in zip(nats, pieces):
        total += cost / math.log(2)
        count += len(piece.encode("utf-8"))
    return total / count


def bits__weighted(nats, pieces):
    sizes = np.array([len(p.encode()) for p in pieces])
    return float(np.average(np.log2(np.exp(nats)) / sizes, weights=sizes))


def bound__library(bits, t):
    n = len(bits)
    return fmean(bits) + t * stdev(bits) * math.sqrt((n + 1) / n)


def bound__variances(bits, t):
    x = np.asarray(bits)
    v = ((x - x.mean()) ** 2).sum() / (len(x) - 1)
    return float(x.mean() + t * (v + v / len(x)) ** 0.5)


def size__logarithms(rate, seconds, A, B, alpha, beta):
    exponent = math.log(alpha * A) - math.log(beta * B) + beta * math.log(rate * seconds / 6)
    return math.exp(exponent / (alpha + beta))


def size__golden(rate, seconds, A, B, alpha, beta):
    D = rate * seconds / 6
    slope = lambda x: -alpha * A * math.exp(-alpha * x) + beta * B * (math.exp(x) / D) ** beta
    low, high = 0.0, 60.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return math.exp(low)
