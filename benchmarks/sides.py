"""The sides of a comparison, each in a process of its own:
neither disturbs the other's memory or threads"""
import json
import os
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import cases


def clock(function, wait):
    "Seconds that it takes, without what it gets ready beforehand"
    getattr(function, "ready", lambda: None)()
    start = time.perf_counter()
    function()
    wait()
    return time.perf_counter() - start


def serve(o):   # side, case, and the options of run.py
    "Do the work once for each line that comes in, and answer with its time"
    say = lambda **what: print(json.dumps(what), flush=True)
    try:
        if o.tiny: cases.shrink()
        library = import_module("ours" if o.side.startswith("ours") else "theirs")
        kind, _, name = o.case.partition(" ")
        once = getattr(library, kind)(name, o)
        clock(once, library.wait)                            # caches and compilers warm up
    except Exception as e:
        words = (str(e).splitlines() or [""])[0][:150]
        return say(error=f"{o.side} does not work here: {type(e).__name__}: {words}")
    say(facts=getattr(once, "facts", {}))
    for _ in sys.stdin: say(seconds=clock(once, library.wait))


class Side:
    """'ours', 'theirs' or 'compiled', the first two also with ' tf32':
    one process that does the work of a case when it is asked to"""
    def __init__(self, side, case, o):
        told = json.dumps({"side": side, "case": case, "threads": o.threads, "tiny": o.tiny})
        env = {**os.environ, "NUMPYGPT_BACKEND": o.backend,
               "CUPY_TF32": str(int(side.endswith("tf32")))}
        self.process = subprocess.Popen([sys.executable, __file__, told], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                        text=True, env=env)
        said = self.hear()
        self.error, self.facts = said.get("error"), said.get("facts", {})

    def hear(self):
        line = self.process.stdout.readline()
        if line: return json.loads(line)
        return {"error": f"ended with exit code {self.process.wait()}"}

    def seconds(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        said = self.hear()
        if "error" in said: raise RuntimeError(said["error"])
        return said["seconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def alternate(case, o, names, seconds, least=3):
    """{side: times}, the sides called in turn until the seconds are over; facts about the work;
    why a side is missing"""
    sides = {name: Side(name, case, o) for name in names}
    going = {name: s for name, s in sides.items() if not s.error}
    times, end = {name: [] for name in going}, time.perf_counter() + seconds
    try:
        if "ours" not in going: raise RuntimeError(f"{case}: {sides['ours'].error}")
        while len(times["ours"]) < least or time.perf_counter() < end:
            for name, s in going.items():
                time.sleep(0.02)  # OpenMP's threads spin for a while after their work
                times[name].append(s.seconds())
    finally:
        for s in sides.values(): s.close()
    return times, sides["ours"].facts, "; ".join(s.error for s in sides.values() if s.error)


def tree(pid):
    "A process and all below it"
    yield pid
    try: children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError: return
    for child in children: yield from tree(int(child))


def proportional(pid):
    "Bytes that a process holds, a page that n processes share counted 1/n"
    try: lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError: return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def peak(side, case, o):
    """Largest memory in bytes of a process and its workers in four steps;
    None where it does not work"""
    runner, top, stop = Side(side, case, o), [0], threading.Event()
    def watch():
        while not stop.wait(0.01):
            top[0] = max(top[0], sum(map(proportional, tree(runner.process.pid))))
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        if not runner.error:
            for _ in range(3): runner.seconds()
    finally:
        stop.set()
        watcher.join()
        runner.close()
    return None if runner.error else top[0]


if __name__ == "__main__": serve(SimpleNamespace(**json.loads(sys.argv[1])))
