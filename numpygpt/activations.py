"The curves between the matrix products, and dropout"
import math

from .backend import FLOAT, get_device, xp
from .module import Module


def relu(x):
    "max(x, 0)"
    return xp.where(x.real > 0, x, 0)

def relu_bwd(dy, x):
    "dy where x > 0; at the kink, 0"
    return xp.where(x.real > 0, dy, 0)


def sigmoid(x):
    "1 / (1 + exp(-x)), written with tanh: nothing overflows"
    return 0.5 * (1 + xp.tanh(0.5 * x))

def sigmoid_bwd(dy, y):
    "dy y (1 - y), from the output y"
    return dy * y * (1 - y)


_A, _B = math.sqrt(2 / math.pi), 0.044715

def _tanh_part(x):
    "tanh(A (x + B x^3)), in one array"
    t = x * x
    t *= _A * _B
    t += _A
    t *= x
    return xp.tanh(t, out=t)

def gelu(x):
    "x Phi(x), with Phi by the tanh formula (Hendrycks & Gimpel 2016, section 2)"
    y = _tanh_part(x)
    y += 1
    y *= x
    y *= 0.5
    return y

def gelu_bwd(dy, x):
    "dy ((1 + t)/2 + x (1 - t^2) (A + 3AB x^2)/2): the derivative of the formula itself, not of the exact GELU"
    t = _tanh_part(x)
    du = x * x                                # becomes x times the derivative of what tanh was taken of
    du *= 3 * _A * _B
    du += _A
    du *= x
    d = 1 - t * t
    d *= du
    d += t
    d += 1
    d *= 0.5
    d *= dy
    return d


def _erf(x):
    "The error function of SciPy, or of CuPy on a GPU"
    if get_device() == "cpu": from scipy.special import erf
    else: from cupyx.scipy.special import erf
    return erf(x)

def gelu_exact(x):
    "x Phi(x), with Phi the normal distribution function"
    return 0.5 * x * (1 + _erf(x * (1 / math.sqrt(2))))

def gelu_exact_bwd(dy, x):
    "Phi(x) + x phi(x)"
    return dy * (0.5 * (1 + _erf(x * (1 / math.sqrt(2)))) + x * xp.exp(-0.5 * (x * x)) * (1 / math.sqrt(2 * math.pi)))


def silu(x):
    "x sigmoid(x)"
    return x * sigmoid(x)

def silu_bwd(dy, x):
    "s + x s (1 - s)"
    s = sigmoid(x)
    return dy * (s + x * s * (1 - s))


def swiglu(a, b):
    "silu(a) b: one half decides how much of the other passes (Shazeer 2020)"
    return silu(a) * b

def swiglu_bwd(dy, a, b):
    "The product rule: (da, db)"
    return silu_bwd(dy * b, a), dy * silu(a)


def softmax(x, axis=-1, out=None):
    "exp(x) / sum(exp(x)) along `axis`, stabilised by the largest real part; `out=x` works in place"
    y = xp.subtract(x, x.real.max(axis, keepdims=True), out=out)
    xp.exp(y, out=y)
    y /= y.sum(axis, keepdims=True)
    return y

def softmax_bwd(dy, y, axis=-1):
    "y (dy - <dy, y>), from the output y"
    dx = dy * y
    dx -= y * dx.sum(axis, keepdims=True)
    return dx


class Dropout(Module):
    "In training, zero each number with probability p and scale the rest by 1/(1-p); in eval mode, nothing"
    def __init__(self, p, rng):
        if not 0 <= p < 1: raise ValueError(f"dropout must be at least 0 and below 1, got {p}")
        self.p, self.rng = p, rng

    def forward(self, x):
        if not self.training or not self.p: self.save(None); return x
        keep = self.rng.random(x.shape, dtype=FLOAT) >= self.p
        mask = xp.asarray(keep / FLOAT(1 - self.p), dtype=x.real.dtype)
        self.save(mask)
        return x * mask

    def backward(self, dy):
        mask, = self.saved()
        return dy if mask is None else dy * mask
