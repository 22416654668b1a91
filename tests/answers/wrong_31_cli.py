"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import json
import re

ANSWERS = {"flags": "flags", "outcome": "run_outcome", "losses": "losses_so_far"}


def flags__stripped_of_dashes(argv):
    return {w.strip("-").replace("_", "-") for w in argv if w.startswith("--")}


def flags__what_has_a_value(argv):
    return {a.split("=")[0].replace("_", "-") for a, b in zip(argv, argv[1:])
            if a.startswith("--") and not b.startswith("--")}


def outcome__the_error_as_it_is(command):
    try: command()
    except (ValueError, OSError) as error: return 1, str(error)
    return 0, ""


def outcome__a_code_for_each_kind(command):
    try: command()
    except ValueError as error: return 1, f"numpygpt: {error}"
    except OSError as error: return 2, f"numpygpt: {error}"
    return 0, ""


def losses__by_a_pattern(text):
    return [(int(i), float(loss))
            for i, loss in re.findall(r'"index": (\d+), "loss": ([\d.]+)', text)]


def losses__in_the_order_of_the_file(text):
    steps = [json.loads(s) for s in text.splitlines(True) if s.endswith("\n") and s.strip()]
    return [(s["index"], s["loss"]) for s in steps]
