"Right answers, written otherwise: each function is one, its name begins with a key of ANSWERS"
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter

ANSWERS = {"size": "graph_size", "uses": "uses", "roads": "roads", "cycle": "has_cycle"}


def size__walk(graph, end):
    seen, stack = set(), [end]
    while stack:
        name = stack.pop()
        if name in seen: continue
        seen.add(name)
        stack.extend(graph[name])
    return len(seen), sum(len(graph[name]) for name in seen)


def size__recursion(graph, end):
    seen = {}
    def visit(name):
        if name not in seen:
            seen[name] = len(graph[name])
            for i in graph[name]: visit(i)
    visit(end)
    return len(seen), sum(seen.values())


def uses__counter(graph):
    count = Counter(name for inputs in graph.values() for name in inputs)
    return {name: count[name] for name in sorted(graph)}


def uses__counted_in_each(graph):
    return {name: sum(inputs.count(name) for inputs in graph.values()) for name in graph}


def roads__recursion(graph, source, end):
    @cache
    def count(name): return 1 if name == source else sum(map(count, graph[name]))
    return count(end)


def roads__handed_back(graph, source, end):
    arriving = Counter({end: 1})
    for name in reversed(list(graph)):
        if name == source: return arriving[name]
        for i in graph[name]: arriving[i] += arriving[name]


def cycle__sorter(graph):
    try: list(TopologicalSorter(graph).static_order())
    except CycleError: return True
    return False


def cycle__from_each_name(graph):
    def below(name):
        seen, stack = set(), list(graph[name])
        while stack:
            n = stack.pop()
            if n not in seen: seen.add(n); stack += graph[n]
        return seen
    return any(name in below(name) for name in graph)
