import numpy as np
import pandas as pd
from PIL import Image

from nephrospot.report.answer import tell_answer, tell_simulation
from nephrospot.report.figures import draw_scatter
from nephrospot.report.maps import Panel, draw_maps
from nephrospot.report.pictures import embed_jpegs
from nephrospot.report.wording import join_words, letter, tell_signed, tell_value


def save_noise(path, side):
    """A JPEG that compresses as badly as can be."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)).save(path, quality=90)


def test_many_pictures_are_shrunk_to_the_budget(tmp_path):
    paths = [tmp_path / f"{index}.jpg" for index in range(4)]
    for path in paths:
        save_noise(path, 600)
    as_drawn, size = embed_jpegs(paths, 10**8)
    assert size is None and len(as_drawn) == 4, "with room enough they stay as drawn"
    shrunk, size = embed_jpegs(paths, 500_000)
    assert sum(map(len, shrunk.values())) <= 500_000 and len(shrunk) == 4 and size < 600, "all fit, made smaller"
    few, _ = embed_jpegs(paths, 100_000)
    assert 0 < len(few) < 4 and list(few) == [str(p) for p in paths[: len(few)]], "the last are left out first"


def test_scatter_is_small_and_prints_r_and_n():
    rng = np.random.default_rng(0)
    pairs = pd.DataFrame(
        {"slide": "A$1_", "predicted": rng.uniform(0, 100, 6000), "observed": rng.uniform(0, 100, 6000)}
    )
    svg = draw_scatter(pairs, {"A$1_": (-0.25, 6000), "B": (np.nan, 0)}, "x, %", "y, %", True)
    assert len(svg) < 150_000, f"{len(svg)} bytes"
    assert "r = −0.25, n = 6,000" in svg and "A$1_" in svg, "each panel prints its numbers; a $ is only a $"
    assert "r not defined, n = 0" in svg, "a slide without spots has a panel that says so"
    assert svg == draw_scatter(pairs, {"A$1_": (-0.25, 6000), "B": (np.nan, 0)}, "x, %", "y, %", True)


def test_map_draws_every_spot_once():
    spots = pd.DataFrame({"x_px": [0.0, 200, 400, 100, 300], "y_px": [0.0, 0, 0, 173, 173]})
    values = np.array([0.0, 100, 50, np.nan, 50])
    svg = draw_maps(spots, [Panel("<a>", values, 100.0, "%")], mpp=0.5)
    dots = svg.count("h.01")
    assert dots == 5, f"{dots} dots for 5 spots"
    assert "n = 4, 1 without a value" in svg and "&lt;a&gt;" in svg, "unknown spots are counted, titles escaped"
    assert svg.count("<path d") - 1 == 4, "equal values share a shade: 0, 50, 100, unknown, beside the scale bar"


def test_answer_names_ties_and_lone_methods():
    columns = {"PT rctd: r_x100": [70.0, 70.0], "PT rctd: n": [9, 9]}
    table = pd.DataFrame({"block": "method", "method": ["a", "b"], "label": ["A", "B"], **columns})
    assert "A and B are highest together" in tell_answer(table), "a tie names both"
    assert "highest" not in tell_answer(table[:1]), "one method alone can't be highest"


def test_mixed_cohorts_name_the_simulated_slides():
    told = tell_simulation({"K1": {"group": "simulated"}, "R1": {"group": "cohort"}}, {}, {})
    assert told and "1 of 2" in told[0] and "K1" in told[0], told
    assert tell_simulation({"R1": {"group": None}}, {"m": {"card": {}}}, {}) == [], "nothing says simulated"
    weights = {name: {"card": {"data": "simulated tissue"}} for name in ("net", "net@5x", "net@20x")}
    (told,) = tell_simulation({"R1": {"group": "cohort"}}, weights, {"net": "Net", "net@5x": "Net, all at 5×"})
    assert "The weights of Net were trained" in told, "a sweep's weights are told of once"


def test_words_and_numbers():
    assert tell_value(-0.001, 2) == "0.00", "there is no minus zero"
    assert tell_value(-1234.5, 1) == "−1,234.5" and tell_value(np.nan, 2) == "–"
    assert tell_signed(3.0, 1) == "+3.0" and tell_signed(-3.0, 1) == "−3.0" and tell_signed(0.01, 1) == "0.0"
    assert join_words(["a", "b", "c"]) == "a, b and c" and join_words([]) == ""
    assert [letter(i) for i in (0, 25, 26)] == ["a", "z", "aa"]
