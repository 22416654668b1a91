"Wrong answers as people write them: each function is one, its name begins with a key of ANSWERS"
import numpy as np

ANSWERS = {"advantage": "advantage_in_bits", "stop": "when_to_stop", "tempered": "tempered",
           "calmer": "calmer_head"}


def advantage__with_the_mean_token(a, per_a, b, per_b):
    return float((b - a) / np.log(2) / ((per_a + per_b) / 2))


def advantage__decimal_bits(a, per_a, b, per_b):
    return float((b / per_b - a / per_a) / np.log10(2))


def stop__where_training_passes_validation(steps, train, val):
    i = int(np.argmax(train < val))
    return int(steps[i]), float(val[-1] - val[i])


def stop__before_it_rises_for_the_first_time(steps, train, val):
    i = int(np.argmax(np.diff(val) > 0))
    return int(steps[i + 1]), float(val[-1] - val[i])


def tempered__logs_times_T(p, T):
    z = np.exp(np.log(p) * T)
    return z / z.sum(-1, keepdims=True)


def tempered__divided_by_the_greatest(p, T):
    q = p ** (1 / T)
    return q / q.max(-1, keepdims=True)


def calmer__by_the_root_of_the_loss(loss, V, std):
    return float(std * np.sqrt(np.log(V) / loss))


def calmer__by_the_excess(loss, V, std):
    return float(std * (loss - np.log(V)) / 100)
