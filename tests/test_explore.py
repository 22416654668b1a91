"Pictures that move: what stands on the page, what is held, what is refused"
import base64
import json
import re

import matplotlib.pyplot as plt
import pytest

from numpygpt import explore
from numpygpt.explore import MOST, VIEW, Placed, Typed, page, panel, watch, without_views


def draw(a, b=0, c=0):
    figure, ax = plt.subplots(figsize=(1, 1))
    ax.bar(["a", "b", "c"], [a, b, c])
    return figure, f"a {a}, b < {b}, c {c}"


def frames(found):
    "What the script of a page holds"
    data = re.search(r"frames\} = (\{.*\})", found)
    return json.loads(data[1])


def test_every_choice_has_its_picture_in_order_and_the_middle_stands_first():
    before = plt.get_fignums()
    found = page(explore.explore(draw, a=[1, 2, 3], b=[5, 6]))
    data = frames(found)
    assert data["names"] == ["a", "b"] and data["options"] == [["1", "2", "3"], ["5", "6"]]
    said = [f"a {a}, b < {b}, c 0" for a in (1, 2, 3) for b in (5, 6)]
    assert [says for _, says in data["frames"]] == said
    assert len({src for src, _ in data["frames"]}) == 6
    image = re.match(r'<figure class="explore"><img alt="a 2, b &lt; 6, c 0" src="([^"]+)"', found)
    assert image[1] == data["frames"][3][0]
    kind, _, code = image[1].partition(";base64,")
    assert kind == "data:image/webp" and base64.b64decode(code)[8:12] == b"WEBP"
    assert plt.get_fignums() == before


def test_what_does_not_fit_is_held_and_said():
    found = page(explore.explore(draw, a=range(8), b=range(8), c=range(MOST // 8)))
    assert frames(found)["names"] == ["a", "c"]
    assert "Held here: b = 4" in found


def test_a_sentence_cannot_end_the_script():
    found = page(explore.explore(lambda a: (plt.figure(figsize=(1, 1)), "</script><b>"), a=[1, 2]))
    assert found.count("</script>") == 1 and "<b>" not in found


def test_a_page_that_grows_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(explore, "LARGEST", 1000)
    with pytest.raises(ValueError, match=r"2 pictures take [\d,]+ bytes.*1,000: give fewer values"):
        page(explore.explore(draw, a=[1, 2]))


def test_a_quantity_needs_two_values():
    with pytest.raises(ValueError, match="b has 1 values: give two or more"):
        explore.explore(draw, a=[1, 2], b=[3])


def test_a_panel_draws_what_is_chosen_and_says_what_went_wrong():
    def fails(text, n):
        if text == "bad": raise ValueError("no <word>")
        return draw(n)
    box = panel(explore.explore(fails, text=Typed(("one", "two")), n=[1, 2, 3]))
    text, n, picture = box.children
    assert text.value == "two" and n.value == 2 and "a 2" in picture.value
    n.value = 3
    assert 'alt="a 3' in picture.value
    text.value = "bad"                         # typed: not among the examples
    assert picture.value == '<p role="alert">ValueError: no &lt;word&gt;</p>'


def test_a_panel_plays_its_first_quantity():
    box = panel(explore.explore(draw, a=[1, 2, 3], b=[1, 2]))
    play = box.children[0].children[1]
    play.value = 0
    assert 'alt="a 1, b' in box.children[-1].value


def placed(a, at):
    "A picture of 200 by 100 pixels that is all axes"
    figure = plt.figure(figsize=(2, 1), layout="none")
    figure.add_axes((0, 0, 1, 1), xlim=(0, 8), ylim=(0, 4)).plot(*at, "o")
    return figure, f"a {a}, at {at}"


POINTS = Placed([(1, 1), (2, 3), (7, 2)])


def test_a_page_knows_where_its_points_lie():
    found = page(explore.explore(placed, a=[1, 2], at=POINTS))
    assert '{"i": 1, "spots": [[0.125, 0.75], [0.25, 0.25], [0.875, 0.5]]}' in found
    assert "spots" not in page(explore.explore(draw, a=[1, 2]))


def test_a_click_in_a_panel_takes_the_point_itself_and_keys_go_on_from_there():
    asked = []
    def seen(a, at):
        asked.append(at)
        return placed(a, at)
    _, slider, place, picture = panel(explore.explore(seen, a=[1, 2], at=POINTS)).children
    assert asked == [(2, 3)] and '<img style="cursor: crosshair" onclick="' in picture.value
    place.value = "0.5,0.25"                   # parts of width and height, from the upper left
    place.value = "0.75,1.5"                   # below the axes
    assert asked == [(2, 3), (4, 3), (6, 0)] and "at (6.0, 0.0)" in picture.value
    assert slider.index == 0 and slider.options[1:] == tuple((str(p), p) for p in POINTS)
    slider.index = 1
    assert asked[-1] == (1, 1)
    assert "onclick" not in panel(explore.explore(draw, a=[1, 2])).children[-1].value


def test_what_is_watched_stays_in_one_place(monkeypatch):
    class Place(list):
        def update(self, shown): self.append(shown.data)
    places = []
    def display(shown, display_id):
        places.append(Place([shown.data]))
        return places[-1]
    monkeypatch.setattr("IPython.display.display", display)
    before = plt.get_fignums()
    watch(draw(a) for a in (1, 2, 3))
    assert [re.search("alt=.(a .)", shown)[1] for shown in places[0]] == ["a 1", "a 2", "a 3"]
    assert len(places) == 1 and plt.get_fignums() == before


def test_views_are_dropped_and_pages_stay():
    bundle = explore.explore(draw, a=[1, 2])._repr_mimebundle_()
    assert {VIEW, "text/html", "text/plain"} <= {*bundle}
    nb = {"metadata": {"widgets": {"state": {}}}, "cells": [
        {"outputs": [{"data": bundle}, {"name": "stdout", "text": ""}]}, {"source": ""}]}
    kept = without_views(nb)["cells"][0]["outputs"][0]["data"]
    assert VIEW not in kept and kept["text/html"] and "widgets" not in nb["metadata"]


def test_twice_the_same_page():
    assert page(explore.explore(draw, a=[1, 2])) == page(explore.explore(draw, a=[1, 2]))
