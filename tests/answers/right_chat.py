"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
from itertools import accumulate, takewhile
from os.path import commonprefix

ANSWERS = {"shared": "shared", "read": "tokens_read", "kept": "turns_kept",
           "once": "read_once"}


def shared__while(read, ids):
    n = 0
    while n < len(read) and n + 1 < len(ids) and read[n] == ids[n]: n += 1
    return n


def shared__takewhile(read, ids):
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(read, ids[:-1]))))


def shared__prefix(read, ids): return min(len(commonprefix([read, ids])), len(ids) - 1)


def shared__longest_that_fits(read, ids):
    return max(n for n in range(len(ids)) if read[:n] == ids[:n])


def read__recursion(turns, remembers):
    if not turns: return 0
    *earlier, (q, a) = turns
    again = 0 if remembers else sum(map(sum, earlier))
    return read__recursion(earlier, remembers) + q + a + again


def read__sums(turns, remembers):
    ends = list(accumulate(q + a for q, a in turns))
    return (ends[-1] if ends else 0) if remembers else sum(ends)


def kept__turns_first(messages, room):
    system, turns = [], []
    for role, n in messages:
        if role == "system" and not turns and not system: system.append((role, n))
        elif role == "user" or not turns: turns.append([(role, n)])
        else: turns[-1].append((role, n))
    size = lambda: sum(n for part in (system, *turns) for _, n in part)
    while len(turns) > 1 and size() > room: turns.pop(0)
    return system + sum(turns, [])


def kept__from_the_end(messages, room):
    first = 1 if messages and messages[0][0] == "system" else 0
    users = [i for i in range(first, len(messages)) if messages[i][0] == "user"]
    total = lambda i: sum(n for _, n in messages[:first] + messages[i:])
    if not users: return list(messages)
    start = next((i for i in [first, *users] if total(i) <= room), users[-1])
    return messages[:first] + messages[start:]


def once__tree(conversations):
    tree, n = {}, 0
    for ids in conversations:
        at = tree
        for i in ids:
            if i not in at: at[i], n = {}, n + 1
            at = at[i]
    return n


def once__sorted(conversations):
    last, n = [], 0
    for ids in sorted(conversations):
        n += len(ids) - len(commonprefix([last, ids]))
        last = ids
    return n
