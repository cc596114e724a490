"""What a training is made of: recipe and learning rate, image pools, augmentation."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nephrospot.errors import InputError
from nephrospot.training.augment import augment, drop_coarsely
from nephrospot.training.pools import ImagePools, pool_batches
from nephrospot.training.recipe import Recipe, count_plateaus, read_recipe


class TestRecipe:
    def test_the_defaults_are_omni_segs(self):
        recipe = read_recipe({})
        group = recipe.make_optimiser([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]
        assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (1e-3, 0.99, True, 0)
        assert recipe.rate(0, 0, []) == 1e-3
        assert recipe.rate(50, 9999, []) == pytest.approx(1e-3 * 0.75**0.9) and recipe.epochs == 200

    @pytest.mark.parametrize("name", ["Adam", "NAdam", "RAdam", "RMSprop", "SGD"])
    def test_optimisers(self, name):
        recipe = read_recipe({"optimiser": name.lower(), "weight_decay": 1e-5, "momentum": 0, "learning_rate": 1})
        made = recipe.make_optimiser([torch.nn.Parameter(torch.zeros(1))])
        assert type(made).__name__ == name and made.param_groups[0]["weight_decay"] == 1e-5
        assert isinstance(recipe.learning_rate, float)

    def test_cosine_falls_from_the_full_rate_towards_nothing(self):
        recipe = Recipe(schedule="cosine", epochs=4, learning_rate=2.0)
        assert [recipe.rate(epoch, 0, []) for epoch in range(4)] == pytest.approx([2, 1 + 2**-0.5, 1, 1 - 2**-0.5])

    def test_warm_up_and_plateau(self):
        recipe = Recipe(schedule="plateau", patience=2, factor=0.5, warm_up_steps=4, learning_rate=1.0)
        assert [recipe.rate(0, step, []) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
        scores = [0.1, 0.3, 0.2, 0.3, 0.4, 0.1, 0.1, 0.1, 0.1]
        assert [count_plateaus(scores[:n], 2) for n in range(10)] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 3]
        assert recipe.rate(9, 99, scores) == 0.125
        assert Recipe(schedule="constant").rate(150, 99, []) == 1e-3

    def test_every_mistake_is_told(self):
        wrong = {
            "optimizer": "adam", "optimiser": "adm", "learning_rate": "1e-3", "momentum": 1.5, "epochs": 2.5, "clip": 0,
            "batch": 6, "nesterov": "yes", "patches_per_epoch": 0, "precision": "fp16", "factor": True,
        }  # fmt: skip
        with pytest.raises(InputError) as error:
            read_recipe(wrong, "training → methods → tal → recipe")
        sentences = str(error.value).splitlines()
        for told in (
            "did you mean 'optimiser'?", "did you mean 'adam'?", "write 1.0e-3", "momentum is 1.5", "epochs is 2.5",
            "clip is 0", "pool 11 or more", "true or false", "null for all", "'fp16'", "factor is True",
        ):  # fmt: skip
            assert sum(told in sentence for sentence in sentences) == 1, f"{told} in {sentences}"
        assert all(sentence.startswith("training → methods → tal → recipe: ") for sentence in sentences)

    def test_a_recipe_made_in_code_is_checked_too(self):
        with pytest.raises(InputError, match="schedule 'linear'"):
            Recipe(schedule="linear")


class TestPools:
    @given(st.lists(st.integers(0, 5), max_size=120), st.integers(1, 5))
    def test_batches_have_one_tissue_and_the_oldest_first(self, tissues, batch):
        batches = list(pool_batches(tissues, 2 * batch, batch))
        for positions in batches:
            assert len(positions) == batch and len({tissues[p] for p in positions}) == 1, "a pool never mixes tissues"
        for tissue in range(6):
            mine = [p for positions in batches for p in positions if tissues[p] == tissue]
            expected = [p for p, t in enumerate(tissues) if t == tissue]
            assert mine == expected[: len(expected) // batch * batch], "first in, first out, left-overs dropped"

    def test_a_batch_leaves_as_soon_as_four_wait(self):
        pools = ImagePools()
        assert pools.add([(2, "a"), (0, "b"), (2, "c"), (0, "d")]) == []
        assert pools.add([(2, "e"), (0, "f"), (0, "g"), (2, "h")]) == [["b", "d", "f", "g"], ["a", "c", "e", "h"]]
        pools.add([(2, "i"), (2, "j"), (1, "k")])
        assert pools.clear() == 3 and pools.add([(2, "l"), (2, "m")]) == [], "an epoch leaves nothing to the next"

    def test_nothing_is_lost_when_a_full_batch_meets_three(self):
        pools = ImagePools(depth=7)
        pools.add([(0, n) for n in range(3)])
        assert pools.add([(0, n) for n in range(3, 7)]) == [[0, 1, 2, 3]] and pools.clear() == 3
        with pytest.raises(ValueError, match="7 at least"):
            ImagePools(depth=6)


class TestAugmentation:
    def test_image_and_mask_move_together(self):
        mask = np.zeros((64, 64), np.uint8)
        mask[20:40, 25:50] = 1
        image = np.dstack([mask * 200 + 20] * 3).astype(np.uint8)
        rng, agreement = np.random.default_rng(4), []
        for _ in range(40):
            picture, label = augment(image, mask, rng)
            assert picture.dtype == np.float32 and picture.min() >= 0 and picture.max() <= 1
            assert label.dtype == np.uint8 and set(np.unique(label)) <= {0, 1}
            bright = cv2.GaussianBlur(picture.mean(axis=2), (0, 0), 1)
            if label.any() and not label.all():
                agreement.append(bright[label > 0].mean() > bright[label == 0].mean())
        assert np.mean(agreement) > 0.95

    def test_three_coins_are_tossed_on_their_own(self):
        image, mask = np.full((32, 32, 3), 100, np.uint8), np.zeros((32, 32), np.uint8)
        mask[:, 16:] = 1
        moved = coloured = noisy = 0
        for seed in range(400):
            picture, label = augment(image, mask, np.random.default_rng(seed))
            moved += bool((label != mask).any())
            noisy += bool(picture.std(axis=(0, 1)).max() > 1e-4)
            coloured += abs(float(np.median(picture)) - 100 / 255) > 0.02
        assert all(150 < count < 250 for count in (moved, noisy)) and 100 < coloured < 250, (moved, coloured, noisy)

    def test_the_border_is_mirrored_and_the_official_one_black(self):
        image, mask = np.full((32, 32, 3), 255, np.uint8), np.ones((32, 32), np.uint8)
        full, black, outside = 0, 0, 0
        for seed in range(60):
            full += int(augment(image, mask, np.random.default_rng(seed))[1].all())
            picture, label = augment(image, mask, np.random.default_rng(seed), official=True)
            black += not label.all()
            outside += bool(picture.max() > 1)
        assert full == 60 and black > 15 and outside > 15

    def test_cells_are_dropped_coarsely(self):
        shares, cells = [], []
        for seed in range(200):
            picture = np.ones((64, 64, 3), np.float32)
            drop_coarsely(picture, np.random.default_rng(seed))
            holes = picture[..., 0] == 0
            assert (picture == np.where(holes, 0, 1)[..., None]).all(), "a cell is black in all colours"
            shares.append(holes.mean())
            if holes.any():
                cells.append(cv2.connectedComponentsWithStats(holes.astype(np.uint8))[2][1:, 4].min())
        assert 0.015 < np.mean(shares) < 0.035, "2.5 % of the pixels on average"
        assert min(cells) >= 9, "no cell is smaller than 4 × 4 px, give or take the rounding"
