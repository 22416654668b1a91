"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
import heapq

ANSWERS = {"letters": "letters_of_bytes", "marks": "split_at_marks", "merge": "next_merge",
           "chat": "chat_text"}


def letters__table(data):
    table, new = {}, 256
    for b in range(256):
        if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174: table[b] = chr(b)
        else: table[b], new = chr(new), new + 1
    return "".join(map(table.__getitem__, data))


def letters__ranges(data):
    def letter(b):
        if b < 33: return chr(256 + b)
        if 127 <= b < 161: return chr(256 + 33 + b - 127)
        return chr(256 + 33 + 34) if b == 173 else chr(b)
    return "".join(letter(b) for b in data)


def marks__walk(text, marks):
    parts, start, at = [], 0, 0
    while at < len(text):
        here = max((m for m in marks if text.startswith(m, at)), key=len, default=None)
        if here is None: at += 1; continue
        parts += [text[start:at], here]
        start = at = at + len(here)
    return [p for p in [*parts, text[start:]] if p]


def marks__first_found(text, marks):
    found = [(text.find(m), -len(m), m) for m in marks if m in text]
    if not found: return [text] if text else []
    at, _, mark = min(found)
    rest = marks__first_found(text[at + len(mark):], marks)
    return [text[:at]] * (at > 0) + [mark] + rest


def merge__min_with_key(ids, rules):
    places = [i for i in range(len(ids) - 1) if (ids[i], ids[i + 1]) in rules]
    return min(places, key=lambda i: rules[ids[i], ids[i + 1]][0], default=-1)


def merge__heap(ids, rules):
    heap = []
    for i in range(1, len(ids)):
        rule = rules.get((ids[i - 1], ids[i]))
        if rule is not None: heapq.heappush(heap, (rule[0], i - 1))
    return heap[0][1] if heap else -1


def chat__concatenated(messages):
    text = ""
    for role, content in messages:
        text += "<|im_start|>" + role + "\n" + content + "<|im_end|>" + "\n"
    return text + "<|im_start|>" + "assistant" + "\n"


def chat__split_at_the_start(messages):
    turns = ["%s\n%s<|im_end|>\n" % tuple(m) for m in messages] + ["assistant\n"]
    return "<|im_start|>".join(["", *turns])
