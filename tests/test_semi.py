"""The semi-supervised extra: what consistency asks, when anything happens, what may teach, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from nephrospot.errors import InputError
from nephrospot.models import build
from nephrospot.training import pseudo_patches
from nephrospot.training.consistency import consistency_loss, draw_view, pool_vectors
from nephrospot.training.semi import SemiOptions, SemiSupervision, read_semi_options
from regions import SIDE, Threshold, draw_field, made_by, supervise, write_project


@pytest.fixture
def project(tmp_path):
    return write_project(tmp_path)


def test_equal_views_cost_nothing_and_others_something():
    rng = torch.Generator().manual_seed(0)
    one, other = torch.randn(3, 8, generator=rng), torch.randn(3, 8, generator=rng)
    assert float(consistency_loss(one, one.clone())) == pytest.approx(0, abs=1e-7)
    for weights in ((1, 0), (0, 1), (1, 1)):
        assert float(consistency_loss(one, other, *weights)) > 0.01
    p, q = (np.exp(v) / np.exp(v).sum(axis=1, keepdims=True) for v in (one.double().numpy(), other.double().numpy()))
    kl = ((p * np.log(p / q)).sum(1) + (q * np.log(q / p)).sum(1)).mean() / 2
    mse = ((one - other) ** 2).mean().item()
    assert float(consistency_loss(one, other, 0.3, 0.7)) == pytest.approx(0.3 * kl + 0.7 * mse, rel=1e-5)
    published = torch.nn.functional.kl_div(torch.from_numpy(p), torch.from_numpy(p), reduction="batchmean")
    assert float(published) < -0.1, "soft-max without its logarithm isn't zero for equal views: the docstring says so"


def test_views_differ_and_seeds_decide_them():
    image = draw_field(6, SIDE)
    views = [draw_view(image, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(views[0], views[1]) and not np.allclose(views[0], views[2])
    many = [draw_view(image, np.random.default_rng(seed)) for seed in range(200)]
    assert all(v.shape == image.shape and v.dtype == np.float32 and v.min() >= 0 and v.max() <= 1 for v in many)
    grey = np.mean([np.ptp(view, axis=2).max() < 1e-4 for view in many])
    assert 0.1 < grey < 0.3, f"a fifth of the views is grey, not {grey}"


def test_the_gradient_of_consistency_reaches_the_encoder_alone(project):
    torch.manual_seed(0)
    method = build("omni-seg", width=8)
    extra = supervise(project, pseudo=False, consistency=True)
    extra.begin_epoch(method, 2, np.random.default_rng(0))
    extra.loss(method, 2, np.random.default_rng(1)).backward()
    moved = {name for name, p in method.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    for part in ("conv1", "layer0", "layer4", "fusionConv", "GAP"):
        assert any(name.startswith(part) for name in moved), f"{part} belongs to the encoder"
    for part in ("controller", "precls_conv", "x1_resb", "x8_resb"):
        assert not any(name.startswith(part) for name in moved), f"{part} doesn't enter the pooled vector"


def test_a_method_without_a_pooled_vector_is_refused_at_once_but_learns_from_pseudo_labels(project):
    with pytest.raises(InputError, match="Threshold doesn't give; set consistency to false"):
        supervise(project, consistency=True).begin_epoch(Threshold(), 0, np.random.default_rng(0))
    unlike = Threshold()
    unlike.encode = lambda images: (images, images)  # an encoder, but nothing pooled
    with pytest.raises(InputError, match="pooled vector"):
        pool_vectors(unlike, torch.zeros(1, 3, 32, 32))
    extra, method = supervise(project), build("multi-unet", width=4)
    extra.begin_epoch(method, 2, np.random.default_rng(0))
    extra.loss(method, 2, np.random.default_rng(0)).backward()
    reached = {n.split(".")[1] for n, p in method.named_parameters() if p.grad is not None}
    assert reached == {"PT"}, "the pseudo-labelled tissue's network learns and no other"


def test_nothing_happens_before_the_warm_up_is_over(project, monkeypatch):
    def fail(*_):
        raise AssertionError("a region was predicted during the warm-up")

    extra = supervise(project)
    monkeypatch.setattr(pseudo_patches, "predict_roi", fail)
    for epoch in (0, 1):
        extra.begin_epoch(Threshold(), epoch, np.random.default_rng(0))
        assert extra.loss(Threshold(), epoch, np.random.default_rng(0)) is None
    monkeypatch.undo()
    extra.begin_epoch(Threshold(), 2, np.random.default_rng(0))
    assert extra.loss(Threshold(), 2, np.random.default_rng(0)).item() > 0


def test_pseudo_labels_are_made_anew_every_so_many_epochs(project):
    extra, rng = supervise(project, refresh_epochs=3), np.random.default_rng(0)
    kept = []
    for epoch in range(7):
        extra.begin_epoch(Threshold(), epoch, rng)
        kept.append(id(extra._pseudo))
    assert kept[2] == kept[3] == kept[4] and kept[5] == kept[6] and len({kept[1], kept[2], kept[5]}) == 3


def test_the_ratio_scales_the_loss_and_the_parts_add_up(project):
    torch.manual_seed(0)
    method = build("omni-seg", width=4).eval()

    def loss(**options):
        extra = supervise(project, **options)
        extra.begin_epoch(method, 2, np.random.default_rng(3))
        return extra.loss(method, 2, np.random.default_rng(4)).item()

    tenth = loss(ratio=0.1)
    assert tenth > 0 and loss(ratio=0.4) == pytest.approx(4 * tenth, rel=1e-5)
    assert loss(ratio=0.1, ratio_ptc=9.0) == tenth, "the ratio of PTC is PTC's alone"
    both, agreement = loss(ratio=0.1, consistency=True), loss(ratio=0.0, consistency=True)
    assert agreement > 0 and both == pytest.approx(tenth + agreement, rel=1e-5)
    assert (
        SemiSupervision(SemiOptions(pseudo=False, consistency=False), None, project[1]).loss(method, 99, None) is None
    )


def test_seeds_decide(project):
    torch.manual_seed(1)
    method = build("omni-seg", width=4)

    def run(seed):
        extra = supervise(project, strategy="random", consistency=True)
        extra.begin_epoch(method, 2, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        return [extra.loss(method, 2, rng).item() for _ in range(3)]

    assert run(7) == run(7) and run(7) != run(8)


def test_regions_with_anything_held_out_teach_nothing(project):
    rois, patches = project
    held = patches.assign(split=np.where((patches["roi"] == "2") & (patches["tissue"] == "CAP"), "test", "training"))
    extra = supervise((rois, held), strategy="grid")
    assert list(extra.rois["roi"]) == ["1"], "one test patch of a region is enough to leave it out"
    by_patient = patches.assign(patient="x", split=["training", "test", "training", "test"])
    with pytest.raises(InputError, match="none may be used"):
        supervise((rois.assign(patient="x"), by_patient))
    with pytest.raises(InputError, match="no training patch of VES"):
        supervise(project, tissues=("PT", "VES"))
    with pytest.raises(InputError, match="none of 4 labelled patches was found"):
        supervise((rois.assign(mpp=0.11), patches), zooms=(1.0, 1.0), threshold=0.9).begin_epoch(
            Threshold(), 2, np.random.default_rng(0)
        )


def test_shares_of_the_regions_lie_within_each_other(project):
    rois = pd.concat([project[0].iloc[[0]].assign(roi=str(n)) for n in range(1, 10)], ignore_index=True)
    chosen = [
        set(supervise((rois, project[1]), strategy="grid", share=share).rois["roi"]) for share in (1 / 3, 2 / 3, 1.0)
    ]
    assert [len(names) for names in chosen] == [3, 6, 9] and chosen[0] < chosen[1] < chosen[2]


def test_a_bounded_number_of_regions_is_drawn_each_epoch(project):
    extra = supervise(project, strategy="grid", rois_per_epoch=1, patches_per_roi=2)
    seen = {made_by(extra, seed=seed)[0].image.tobytes() for seed in range(12)}
    assert len(made_by(extra)) == 2 and len(seen) > 2, "regions and places change from epoch to epoch"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"startegy": "grid"}, "did you mean 'strategy'"),
        ({"strategy": "grids"}, "did you mean 'grid'"),
        ({"tissues": ["PT", "pt"]}, "tissue 'pt' is unknown"),
        ({"ratio": -1}, "ratio is -1; give 0 or a number above"),
        ({"share": 0}, "above 0 and at most 1"),
        ({"zooms": [1.2, 0.6]}, "the smallest and the largest"),
        ({"warm_up_epochs": 2.5}, "whole number, 0 or more"),
        ({"consistency": "yes"}, "give true or false"),
    ],
)
def test_options_that_can_t_be_are_refused_in_a_sentence(content, sentence):
    with pytest.raises(InputError, match=sentence):
        read_semi_options(content)


def test_options_have_the_paper_s_defaults():
    options = read_semi_options({"tissues": ["PT"], "rois_per_epoch": 3})
    assert options.warm_up_epochs == 50 and (options.patches_per_roi, options.patches_per_roi_ptc) == (4, 16)
    assert json.loads(json.dumps(options.as_dict())) == options.as_dict(), "the card is read back as it was written"
    assert options.tissues == ("PT",) and SemiOptions().tissues == ("DT", "PT", "VES", "PTC")
