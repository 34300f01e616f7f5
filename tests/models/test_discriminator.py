"""The discriminator of STPA learns what can be told apart, and says where it learnt nothing."""

import pytest
import torch

from ddllib import DDLError
from ddllib.methods.stpa_semantic import descend, labelled
from ddllib.models.discriminator import Discriminator

DIMENSION = 16


def features(count, shift, seed):
    """Features of length 1, those of pseudo-anomalies shifted."""
    rng = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, DIMENSION, generator=rng)
    altered = torch.randn(count, DIMENSION, generator=rng)
    altered[:, 0] += shift
    both, labels = labelled(normal, altered)
    return torch.nn.functional.normalize(both, dim=1), labels


def trained(shift, seed=0):
    torch.manual_seed(seed)
    discriminator = Discriminator(DIMENSION)
    descend(discriminator, *features(100, shift, 1), torch.Generator().manual_seed(seed))
    return discriminator


def test_what_can_be_told_apart_is_learnt():
    discriminator, (samples, labels) = trained(shift=5), features(200, 5, 2)
    answers = discriminator.examine(samples, labels)
    assert answers.shape == (400,) and 0 <= answers.min() and answers.max() <= 1
    assert answers[labels == 1].mean() > answers[labels == 0].mean() + 0.5
    assert discriminator.facts["accuracy"] > 0.9 and not discriminator.collapsed


def test_what_cannot_be_told_apart_is_reported_as_such():
    discriminator = trained(shift=0)
    discriminator.examine(*features(2000, 0, 2))
    assert discriminator.facts["accuracy"] == pytest.approx(0.5, abs=0.05)
    assert discriminator.collapsed and discriminator.facts["collapsed"]


def test_one_answer_for_all_has_collapsed_even_if_most_are_right():
    discriminator = trained(shift=5)
    torch.nn.init.zeros_(discriminator.layers[-1].weight)
    labels = torch.tensor([1.0] * 9 + [0.0])
    torch.nn.init.ones_(discriminator.layers[-1].bias)
    discriminator.examine(features(5, 5, 2)[0], labels)
    assert discriminator.facts["accuracy"] == pytest.approx(0.9)
    assert discriminator.facts["spread"] == 0 and discriminator.collapsed


def test_the_same_seed_gives_the_same_bits():
    one, two = trained(5).state_dict(), trained(5).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    other = trained(5, seed=1).state_dict()
    assert not torch.equal(one["layers.0.weight"], other["layers.0.weight"])


def test_features_by_other_weights_are_refused():
    discriminator = Discriminator(DIMENSION)
    own, other = torch.full((32,), 7, dtype=torch.uint8), torch.zeros(32, dtype=torch.uint8)
    discriminator.check_source(other)  # not trained yet
    discriminator.source.copy_(own)
    discriminator.check_source(own)
    with pytest.raises(DDLError, match="other weights.*feature_weights"):
        discriminator.check_source(other)
