# The front door: what `from numpygpt import ...` knows, each name once, with its module.
__version__: str

from .attention import Attention as Attention, KVCache as KVCache
from .backend import use as use, using as using, xp as xp
from .bpe import BPETokenizer as BPETokenizer, CharTokenizer as CharTokenizer
from .bpe import WordTokenizer as WordTokenizer
from .checkpoint import save as save
from .data import DataLoader as DataLoader, Dataset as Dataset, Windows as Windows
from .generate import beam_search as beam_search, generate as generate
from .gradcheck import certify as certify, dot_test as dot_test, kill_table as kill_table
from .gradcheck import wrongs as wrongs
from .hub import load as load
from .layernorm import LayerNorm as LayerNorm, RMSNorm as RMSNorm
from .linear import Linear as Linear
from .losses import cross_entropy as cross_entropy
from .lora import load_adapter as load_adapter, merge as merge, save_adapter as save_adapter
from .module import Flat as Flat, Module as Module
from .optimizers import SGD as SGD, Adam as Adam, AdamW as AdamW
from .optimizers import clip_grad_norm as clip_grad_norm
from .training import Run as Run, TrainConfig as TrainConfig, evaluate as evaluate, fit as fit
from .transformer import GPT as GPT, Block as Block, GPTConfig as GPTConfig
from .tuning import resume as resume, tuning_run as tuning_run
