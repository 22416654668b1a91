"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import itertools
import zlib

import numpy as np

from numpygpt.bpe import pre_tokens

ANSWERS = {"safe": "safe_places", "whole": "whole_bytes", "apart": "kept_apart",
           "stream": "document_stream"}


def safe__loop(text, pattern):
    found, tokens = [], list(pre_tokens(text, pattern))
    for p in range(len(text)):
        left, right = text[:p], text[p:]
        if left and list(pre_tokens(left, pattern)) + list(pre_tokens(right, pattern)) == tokens:
            found.append(p)
    return found


def safe__filter(text, pattern):
    joined = lambda p: [*pre_tokens(text[:p], pattern), *pre_tokens(text[p:], pattern)]
    return list(filter(lambda p: joined(p) == pre_tokens(text, pattern), range(1, len(text))))


def whole__tried(data):
    for n in range(len(data), -1, -1):
        try: data[:n].decode()
        except UnicodeDecodeError: continue
        return n


def whole__from_the_left(data):
    at = 0
    while at < len(data):
        b = data[at]
        size = 1 if b < 0x80 else 2 if b >> 5 == 0b110 else 3 if b >> 4 == 0b1110 else 4
        if at + size > len(data): break
        at += size
    return at


def whole__decoder(data):
    import codecs
    decoder = codecs.getincrementaldecoder("utf-8")()
    decoder.decode(data)
    return len(data) - len(decoder.getstate()[0])


def apart__loop(documents, one_in):
    sides = [], []
    for d in documents: sides[not zlib.crc32(bytes(d, "utf-8")) % one_in].append(d)
    return sides


def apart__filter(documents, one_in):
    held = lambda d: divmod(zlib.crc32(d.encode("utf-8")), one_in)[1] == 0
    return list(itertools.filterfalse(held, documents)), list(filter(held, documents))


def stream__loop(documents, end):
    ids = []
    for d in documents:
        if not d: continue
        ids.extend(d)
        ids.append(end)
    return ids


def stream__sum(documents, end): return sum((d + [end] for d in documents if len(d)), [])


def stream__an_array(documents, end):
    return np.array([i for d in documents if d for i in (*d, end)], int)
