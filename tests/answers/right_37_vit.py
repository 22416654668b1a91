"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"colour": "colour_patches", "counts": "vit_counts", "moved": "moved_tokens"}


def colour__by_slices(images, p):
    B, height, width, _ = images.shape
    cut = [images[:, r:r + p, c:c + p].reshape(B, -1)
           for r in range(0, height, p) for c in range(0, width, p)]
    return np.stack(cut, 1)


def colour__swapped_axes(images, p):
    B, height, width, channels = images.shape
    split = images.reshape(B, height // p, p, width // p, p * channels)
    return split.swapaxes(2, 3).reshape(B, (height // p) * (width // p), -1)


def counts__part_by_part(side, p, channels, n_embd):
    patches = side * side // (p * p)
    linear = p * p * channels * n_embd + n_embd
    token, positions = n_embd, (patches + 1) * n_embd
    return patches + 1, linear + token + positions, (patches + 1) ** 2


def moved__by_index(tokens, columns, down, right):
    rows = tokens.shape[1] // columns
    r, c = np.divmod(np.arange(rows * columns), columns)
    return tokens[:, (r - down) % rows * columns + (c - right) % columns]


def moved__two_rolls(tokens, columns, down, right):
    B, N, P = tokens.shape
    grid = np.roll(tokens, down * columns, 1).reshape(B * (N // columns), columns, P)
    return np.roll(grid, right, 1).reshape(B, N, P)
