"Attention in tiles: the plain version's numbers for any tile, certified, in float32 and complex"
import numpy as np
import pytest

from numpygpt.attention import attend, attend_bwd, causal, fold, unfold
from numpygpt.gradcheck import caught_by, certify, wrongs
from numpygpt.tiling import TiledAttention, attend_tiled, attend_tiled_bwd, tiles, visible

rng = np.random.default_rng(7)
N = lambda *shape: rng.normal(size=shape)


def inputs(T=13, S=13, G=2, D=5): return N(2, 3, G, T, D), N(2, 3, 1, S, D), N(2, 3, 1, S, D)


@pytest.mark.parametrize("size", [1, 3, 5, 13, 64])
@pytest.mark.parametrize("T, S, G", [(13, 13, 2), (13, 13, 1), (5, 13, 2), (1, 7, 3), (1, 1, 1)])
def test_it_is_the_plain_version(T, S, G, size):
    q, k, v = inputs(T, S, G)
    o, L = attend_tiled(q, k, v, size)
    plain, kept = attend(fold(q), k[:, :, 0], v[:, :, 0], T, causal(T, S))
    np.testing.assert_allclose(o, unfold(plain, T), atol=1e-12)
    do = N(*o.shape)
    for mine, whole in zip(attend_tiled_bwd(do, q, k, v, o, L, size), attend_bwd(fold(do), *kept)):
        np.testing.assert_allclose(mine, whole.reshape(mine.shape), atol=1e-12)
    scores = np.where(causal(T, S), q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]), -np.inf)
    np.testing.assert_allclose(L, np.log(np.exp(scores).sum(-1)), atol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 64])
def test_it_is_certified(size): assert certify(TiledAttention(size), *inputs(7, 7), limit=12).ok


@pytest.mark.parametrize("mistake", wrongs(TiledAttention), ids=lambda w: w.name)
def test_every_mistake_is_caught(mistake):
    assert mistake.thought
    assert caught_by(mistake.apply(TiledAttention(3)), *inputs(7, 9))["dot test"]


def test_the_right_version_is_not_accused():
    assert not caught_by(TiledAttention(3), *inputs(7, 7))["dot test"]


def test_large_scores_stay_finite_and_float32():
    q, k, v = (1e4 * a.astype("f4") for a in inputs())
    layer = TiledAttention(4)
    for a in (y := layer(q, k, v), *layer.backward(np.ones_like(y))):
        assert a.dtype == np.float32 and np.isfinite(a).all()


def test_no_query_sees_what_comes_later():
    q, k, v = inputs()
    before = attend_tiled(q, k, v, 4)[0]
    k[..., 9:, :], v[..., 9:, :] = 50, 50
    after = attend_tiled(q, k, v, 4)[0]
    same = before == after
    assert same[..., :9, :].all() and not same[..., 9:, :].any()


@pytest.mark.parametrize("n, size", [(1, 1), (12, 4), (13, 4), (3, 64)])
def test_tiles_cover_everything_once(n, size):
    cut = tiles(n, size)
    assert [i for rows in cut for i in range(n)[rows]] == list(range(n))
    for rows in cut:
        seen = visible(rows, n, 0, size)
        assert seen[-1].stop >= rows.stop and seen == cut[:len(seen)] and seen[-1].start < rows.stop
