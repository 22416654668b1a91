"The plain recipe: the preset nano as it stands, on characters, for as long as the clock allows"
import numpy as np

from numpygpt.bpe import CharTokenizer
from numpygpt.data import Dataset
from numpygpt.race import falling, train_for
from numpygpt.training import PRESETS, Run, TrainConfig
from numpygpt.transformer import GPTConfig


def recipe(race):
    nano, tokenizer = PRESETS["nano"], CharTokenizer.train(race.text)
    ids = np.array(tokenizer.encode(race.text), np.uint16)
    model = GPTConfig(**nano.model | {"vocab_size": tokenizer.vocab_size})
    train = TrainConfig(**nano.train | dict(schedule="constant", warmup=0, seed=race.seed))
    run = Run(model, train, Dataset(ids, ids, tokenizer))
    train_for(race, run, falling(warmup=0.05, floor=0.1))
    return run.model, tokenizer
