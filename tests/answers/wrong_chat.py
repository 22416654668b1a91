"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
ANSWERS = {"shared": "shared", "read": "tokens_read", "kept": "turns_kept", "once": "read_once"}


def shared__from_the_end(read, ids):
    n = 0
    while n < min(len(read), len(ids)) and read[-1 - n] == ids[-1 - n]: n += 1
    return n


def shared__one_too_few(read, ids):
    return max(0, next((n for n, (a, b) in enumerate(zip(read, ids)) if a != b), len(read)) - 1)


def read__each_turn_reads_all_turns(turns, remembers):
    total = sum(q + a for q, a in turns)
    return total if remembers else total * len(turns)


def read__the_answer_is_read_twice(turns, remembers):
    if not remembers: return sum(sum(map(sum, turns[:k + 1])) for k in range(len(turns)))
    return sum(q + 2 * a for q, a in turns)


def kept__messages_one_by_one(messages, room):
    while sum(n for _, n in messages) > room and len(messages) > 1: messages = messages[1:]
    return messages


def kept__to_nothing(messages, room):
    system, rest = [m for m in messages if m[0] == "system"], messages[:]
    rest = [m for m in rest if m[0] != "system"]
    while rest and sum(n for _, n in system + rest) > room:
        rest = rest[1:]
        while rest and rest[0][0] != "user": rest = rest[1:]
    return system + rest


def once__the_longest_counts(conversations):
    return max(map(len, conversations), default=0)


def once__whole_conversations_only(conversations):
    return sum(map(len, {tuple(ids) for ids in conversations}))
