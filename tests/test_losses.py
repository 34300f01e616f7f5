"""Properties of the losses (equations 3 to 7)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddllib import DDLError, DDLLoss, PseudoAnomalyCreator, distinction_loss, reconstruction_loss
from ddllib.losses import EPSILON, pixel_distance

FORMS = ("per_pixel", "norms")


def images(seed=0, batch=2, channels=3, side=8):
    rng = torch.Generator().manual_seed(seed)
    shape = (batch, channels, side, side)
    x, x_a, y = (torch.rand(shape, generator=rng) for _ in range(3))
    mask = (torch.rand(batch, 1, side, side, generator=rng) > 0.5).float()
    return x, x_a, y, mask


def test_reconstruction_loss_is_the_mean_over_pixels_of_the_scaled_norm():
    x, _, y, _ = images()
    total = 0.0
    for b in range(2):
        for i in range(8):
            for j in range(8):
                total += float((x[b, :, i, j] - y[b, :, i, j]).norm()) / 3**0.5
    assert float(reconstruction_loss(x, y)) == pytest.approx(total / (2 * 8 * 8), rel=1e-5)


def test_distinction_loss_is_the_mean_of_ratios_over_masked_pixels_of_the_batch():
    x, x_a, y, mask = images()
    mask[0] = 0
    mask[0, 0, 3, 4] = 1  # samples of unequal weight: the mean runs over the whole batch at once
    ratios = [
        (float((x[b, :, i, j] - y[b, :, i, j]).norm()) / 3**0.5 + EPSILON)
        / (float((x_a[b, :, i, j] - y[b, :, i, j]).norm()) / 3**0.5 + EPSILON)
        for b in range(2)
        for i in range(8)
        for j in range(8)
        if mask[b, 0, i, j]
    ]
    expected = sum(ratios) / len(ratios)
    assert float(distinction_loss(x, x_a, y, mask)) == pytest.approx(expected, rel=1e-5)


def test_norms_form_is_the_mean_over_masked_samples_of_one_ratio_each():
    x, x_a, y, mask = images()
    mask[0] = 0
    m = mask[1].expand(3, -1, -1) > 0
    expected = (x[1] - y[1])[m].norm() / (x_a[1] - y[1])[m].norm()
    loss = distinction_loss(x, x_a, y, mask, "norms")
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_as_sigma_goes_to_zero_the_distinction_loss_is_one(form, seed):
    x, _, y, mask = images(seed)
    assert float(distinction_loss(x, x.clone(), y, mask, form)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("form", FORMS)
@given(seed=st.integers(0, 1000), channels=st.sampled_from([1, 3]))
@settings(max_examples=20, deadline=None)
def test_restoring_gives_almost_nothing_and_copying_very_much(form, seed, channels):
    x, x_a, _, mask = images(seed, channels=channels)
    # The ratio is eps to the distance, or its inverse: where that is next to 0, so is neither.
    x_a = torch.where((x_a - x).abs() < 0.01, (x + 0.5) % 1, x_a)
    assert float(distinction_loss(x, x_a, x, mask, form)) < 1e-3
    assert float(distinction_loss(x, x_a, x_a, mask, form)) > 1e3


@pytest.mark.parametrize("form", [*FORMS, "discrepancy", "target"])
@given(seed=st.integers(0, 1000), batch=st.integers(1, 3), copied=st.booleans())
@settings(max_examples=20, deadline=None)
def test_an_empty_mask_gives_zero_with_a_finite_gradient(form, seed, batch, copied):
    x, x_a, y, mask = images(seed, batch=batch)
    y = (x_a.clone() if copied else y).requires_grad_()  # copied: Q is 0 everywhere
    loss = distinction_loss(x, x_a, y, torch.zeros_like(mask), form)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.isfinite(y.grad).all() and not y.grad.any()


@pytest.mark.parametrize("form", FORMS)
def test_pixels_outside_the_mask_do_not_matter(form):
    x, x_a, y, mask = images()
    other = mask * y + (1 - mask) * torch.rand_like(y)
    before, after = (float(distinction_loss(x, x_a, image, mask, form)) for image in (y, other))
    assert before == pytest.approx(after, rel=1e-6)


def test_repeating_the_batch_changes_no_loss():
    x, x_a, y, mask = images()
    twice = [torch.cat([image, image]) for image in (x, x_a, y, mask)]
    assert float(reconstruction_loss(twice[0], twice[2])) == pytest.approx(
        float(reconstruction_loss(x, y)), rel=1e-6
    )
    assert float(distinction_loss(*twice)) == pytest.approx(
        float(distinction_loss(x, x_a, y, mask)), rel=1e-5
    )


def test_the_distance_and_its_slopes():
    torch.manual_seed(0)
    a, b, weight = torch.rand(2, 3, 5, 4), torch.rand(2, 3, 5, 4), torch.rand(2, 1, 5, 4)
    b = b.contiguous(memory_format=torch.channels_last)
    both = [v.requires_grad_() for v in (a, b)]
    true = [v.detach().double().requires_grad_() for v in both]
    expected = (true[0] - true[1]).square().mean(dim=1, keepdim=True).sqrt()
    slopes = torch.autograd.grad(expected, true, weight.double())
    distances = pixel_distance(*both)
    torch.testing.assert_close(distances.double(), expected, rtol=1e-5, atol=0)
    for mine, slope in zip(torch.autograd.grad(distances, both, weight), slopes, strict=True):
        torch.testing.assert_close(mine.double(), slope, rtol=1e-5, atol=0)
    (alone,) = torch.autograd.grad(pixel_distance(a.detach(), b), [b], weight)
    torch.testing.assert_close(alone.double(), slopes[1], rtol=1e-5, atol=0)


def test_the_distance_has_no_slope_where_it_is_zero():
    x = torch.rand(1, 3, 4, 4, requires_grad=True)
    pixel_distance(x, x.detach().clone()).sum().backward()
    assert x.grad.count_nonzero() == 0


def test_total_is_the_weighted_sum_and_terms_are_logged():
    x, x_a, y, mask = images()
    y_a = torch.rand_like(y)
    terms = DDLLoss(distinction_weight=0.25)(x, y, x_a, y_a, mask)
    assert float(terms.total) == pytest.approx(
        float(terms.reconstruction + 0.25 * terms.distinction)
    )
    inside = mask > 0
    assert float(terms.p) == pytest.approx(float(pixel_distance(x, y_a)[inside].mean()), rel=1e-5)
    assert float(terms.q) == pytest.approx(float(pixel_distance(x_a, y_a)[inside].mean()), rel=1e-5)


@pytest.mark.parametrize("restored, sign", [(0.9, -1), (0.1, +1)])
def test_sigma_is_pulled_up_by_a_restoring_model_and_down_by_a_copying_one(restored, sign):
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 1, 32, 32, generator=rng)
    mask = torch.ones(2, 1, 1, 32, 32)
    creator = PseudoAnomalyCreator()
    x_a = creator(x, mask, torch.rand(x.shape, generator=rng))
    own = 0.05 * torch.randn(x.shape, generator=rng)
    y = restored * x + (1 - restored) * x_a + own
    loss = distinction_loss(x[:, :, 0], x_a[:, :, 0], y[:, :, 0], mask[:, :, 0])
    loss.backward()
    assert sign * float(creator.l.grad) > 0


@given(
    seed=st.integers(0, 1000),
    value=st.floats(-4, 4),
    restored=st.floats(0, 1),
    form=st.sampled_from(FORMS),
)
@settings(max_examples=20, deadline=None)
def test_the_gradient_of_l_is_the_slope_of_the_distinction_loss(seed, value, restored, form):
    x, noise, own, mask = images(seed)

    def loss(weight):  # equations 1 and 7, of a model between restoring and copying
        x_a = x + mask * torch.sigmoid(weight) * (noise - x)
        y = restored * x + (1 - restored) * x_a + 0.2 * (own - 0.5)
        return distinction_loss(x, x_a, y, mask, form)

    creator = PseudoAnomalyCreator()
    torch.nn.init.constant_(creator.l, value)
    x_a = creator(x[:, :, None], mask[:, :, None], noise[:, :, None])[:, :, 0]
    y = restored * x + (1 - restored) * x_a + 0.2 * (own - 0.5)
    distinction_loss(x, x_a, y, mask, form).backward()
    above, below = (float(loss(torch.tensor(value + step))) for step in (0.01, -0.01))
    slope = (above - below) / 0.02
    assert float(creator.l.grad) == pytest.approx(slope, rel=0.05, abs=2e-3)


def test_discrepancy_is_the_distance_from_the_pseudo_anomaly_alone():
    x, x_a, y, mask = images()
    inside = mask > 0
    q = pixel_distance(x_a, y)[inside].mean()
    assert float(distinction_loss(x, x_a, y, mask, "discrepancy")) == pytest.approx(-float(q))
    other = torch.rand_like(x)
    assert distinction_loss(other, x_a, y, mask, "discrepancy") == pytest.approx(-float(q))
    assert float(distinction_loss(x, x_a, y, torch.zeros_like(mask), "discrepancy")) == 0


def test_an_unknown_form_is_reported():
    x, x_a, y, mask = images()
    with pytest.raises(DDLError, match="expected per_pixel, norms, discrepancy or target"):
        distinction_loss(x, x_a, y, mask, "median")


def test_target_is_the_distance_from_the_normal_frame_alone():
    x, x_a, y, mask = images()
    p = (mask * pixel_distance(x, y)).sum() / mask.sum()
    assert float(distinction_loss(x, x_a, y, mask, "target")) == pytest.approx(float(p))
    other = torch.rand_like(x_a)
    assert distinction_loss(x, other, y, mask, "target") == pytest.approx(float(p))
    assert float(distinction_loss(x, x_a, x, mask, "target")) == 0
    assert float(distinction_loss(x, x_a, y, torch.zeros_like(mask), "target")) == 0
