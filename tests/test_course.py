"What a chapter takes where its data cannot be had: it is said, and it is of the same kind"
import numpy as np
import pytest

from numpygpt.course import fold_hidden, printed_digits, prose, real_or


def nothing(): raise OSError("no network: try again")


def damaged(): raise ValueError("cut off: delete it")


def test_what_cannot_be_had_is_replaced_and_this_is_said(capsys):
    assert real_or(lambda: "text", nothing) == ("text", True) and not capsys.readouterr().out
    text, real = real_or(nothing, prose)
    said = capsys.readouterr().out
    assert text == prose() and real is False
    assert "no network: try again" in said and "prose() stands in" in said
    with pytest.raises(ValueError, match="cut off"): real_or(damaged, prose)


def test_prose_is_english_in_the_characters_of_shakespeare():
    text = prose()
    assert len(text) > 400_000 and 60 <= len(set(text)) <= 65 and text.count(" the ") > 5_000
    assert set(text[-len(text) // 10:]) <= set(text[:len(text) // 10 * 9])


def test_printed_digits_are_made_like_mnist():
    train_x, train_y, test_x, test_y = printed_digits()
    assert train_x.shape == (12_000, 28, 28) and test_x.shape == (2_000, 28, 28)
    assert {a.dtype for a in (train_x, train_y, test_x, test_y)} == {np.dtype("u1")}
    assert set(train_y) == set(test_y) == set(range(10)) and train_x.max() == 255
    assert train_x.any((1, 2)).all() and 0.05 < np.mean(train_x > 0) < 0.3
    assert all((a == b).all() for a, b in zip(printed_digits(), (train_x, train_y, test_x, test_y)))


@pytest.mark.parametrize("source, directives, name", [
    ("y = x @ W", {}, "Solution"), ("import numpy as np", {}, "Imports"),
    ('plt.style.use("numpygpt.figures")', {}, "Imports"),
    ("exercise(f)", {"exercise": []}, "Solution and check"),
    ('#| code-fold: show\n#| code-summary: "Exported source"\ny = x @ W', {}, "Solution")])
def test_what_jupyterlab_hides_is_folded_on_the_site(source, directives, name):
    cell = {"cell_type": "code", "metadata": {"jupyter": {"source_hidden": True}},
            "source": source, "directives_": directives}
    shown = {**cell, "metadata": {"tags": ["reader"]}}
    fold_hidden(cell)
    fold_hidden(shown)
    code = source.splitlines()[-1]
    assert cell["source"] == f'#| code-fold: true\n#| code-summary: "{name}"\n{code}'
    assert shown["source"] == source
