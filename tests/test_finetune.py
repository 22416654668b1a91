"Fine-tuning: a start from the shipped model, with some of its weights frozen to the bit"
import numpy as np
import pytest

from numpygpt import checkpoint
from numpygpt.data import Dataset, tinyplays
from numpygpt.training import Run, TrainConfig, evaluate, fit


@pytest.fixture(scope="module")
def shipped():
    model, tokenizer = checkpoint.load()
    return model, Dataset.from_text(tinyplays(60_000), tokenizer)


def tuned(shipped, freeze, steps=12, weights=True):
    model, dataset = shipped
    config = TrainConfig(steps=steps, batch_size=2, lr=2e-3, warmup=2, eval_every=0, eval_batches=2,
                         freeze=freeze)
    run = Run(model.config, config, dataset, weights=model.state_dict() if weights else None)
    return run, list(fit(run))


@pytest.mark.parametrize("freeze", [(), ("emb",), ("emb", "blocks.0", "blocks.1", "blocks.2"),
                                    ("blocks",)], ids=str)
def test_frozen_weights_keep_every_bit_and_the_others_move(shipped, freeze):
    run, _ = tuned(shipped, freeze, steps=3)
    before = shipped[0].named_parameters()
    for path, w in run.model.named_parameters().items():
        frozen = any(path == name or path.startswith(name + ".") for name in freeze)
        assert np.array_equal(w, before[path]) == frozen, path


def test_it_learns_the_new_text_from_where_it_was_faster_than_from_nothing(shipped):
    _, dataset = shipped
    before = evaluate(shipped[0], dataset.val, 4, 2)
    (_, warm), (_, cold) = tuned(shipped, ()), tuned(shipped, (), weights=False)
    assert warm[-1].val_loss < before - 0.5 and warm[-1].val_loss < cold[-1].val_loss


def test_less_that_moves_learns_less(shipped):
    frozen = (), ("blocks.0", "blocks.1", "blocks.2"), ("emb", "blocks.0", "blocks.1", "blocks.2")
    losses = [tuned(shipped, freeze)[1][-1].val_loss for freeze in frozen]
    assert losses == sorted(losses)
