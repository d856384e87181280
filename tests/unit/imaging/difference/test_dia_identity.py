"""Images that share their noise are recognised; those of two exposures are not."""

import numpy as np
import pytest

from prompt_processing.images import Exposure
from prompt_processing.imaging.difference.identity import are_one_image

SHAPE = (150, 160)
SKY = np.random.default_rng(1).normal(0, 10, SHAPE).astype(np.float32)


def compared(other):
    mask, variance = np.zeros(SHAPE, np.int32), np.full(SHAPE, 100.0, np.float32)
    science, template = (Exposure(image, mask, variance) for image in (SKY, other))
    return are_one_image(science, template, science.image, template.image)


@pytest.mark.parametrize("step", [0.01, 1.0, 4.0])
def test_rounded_copy_is_the_same_image(step):
    assert compared((np.round(SKY / step) * step).astype(np.float32))


def test_copy_with_other_borders_and_changes_is_the_same_image():
    other = SKY.copy()
    other[:, :3] = 500
    other[50:60, 50:60] += 300
    assert compared(other)


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.8])
def test_images_of_other_exposures_are_not(shared):
    other = np.random.default_rng(2).normal(0, 10, SHAPE)
    assert not compared((shared * SKY + np.sqrt(1 - shared**2) * other).astype(np.float32))
