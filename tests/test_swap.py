"""Style swap, against a search written out in NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture

from uwct.pipeline.swap import swap
from uwct.pipeline.whole import stylize


def swapped(content, style):
    """Every 3x3 patch replaced by that of the largest cosine, overlaps averaged, in float64."""
    corners = [(y, x) for y in range(style.shape[0] - 2) for x in range(style.shape[1] - 2)]
    total, count = np.zeros(content.shape), np.zeros((*content.shape[:2], 1))
    for y in range(content.shape[0] - 2):
        for x in range(content.shape[1] - 2):
            patch = content[y : y + 3, x : x + 3]
            found = [style[i : i + 3, j : j + 3] for i, j in corners]
            cosines = [(patch * f).sum() / np.linalg.norm(f) for f in found]
            total[y : y + 3, x : x + 3] += found[int(np.argmax(cosines))]
            count[y : y + 3, x : x + 3] += 1
    return total / count


def test_patches_are_those_of_an_exhaustive_search(rng):
    content, style = rng.normal(size=(6, 7, 4)), rng.normal(size=(8, 5, 4))
    found = swap(jnp.asarray(content, jnp.float32), jnp.asarray(style, jnp.float32))
    np.testing.assert_allclose(found, swapped(content, style), atol=1e-5)


def test_what_the_style_holds_stays_as_it_is(rng):
    style = rng.normal(size=(9, 8, 5)).astype(np.float32)
    np.testing.assert_allclose(swap(style[2:7, 1:6], style), style[2:7, 1:6], atol=1e-5)


def test_a_flat_style_is_finite(rng):
    np.testing.assert_array_equal(swap(rng.normal(size=(4, 4, 2)).astype(np.float32), np.zeros((5, 5, 2))), 0)


def test_a_picture_in_its_own_style_is_its_reconstruction(tiny_model):
    photo = picture(32, 32, 1)
    found = stylize(tiny_model, photo, photo, (3, 1), (1.0, 0.0), shrinkage=0.1, patches=True)
    features = tiny_model.encode(photo, 3)[-1]
    between = tiny_model.decode(features, 3)
    np.testing.assert_allclose(found, stylize(tiny_model, between, photo, (1,), 0.0), atol=2e-3)


@pytest.mark.parametrize("levels", [(3, 1), (3,)])
def test_strength_0_is_no_style_and_the_size_is_kept(tiny_model, levels):
    photo, painting = picture(21, 33, 1), picture(30, 25, 2)
    none = stylize(tiny_model, photo, painting, levels, 0.0, patches=True)
    np.testing.assert_allclose(none, stylize(tiny_model, photo, painting, levels, 0.0), atol=1e-4)
    assert np.abs(stylize(tiny_model, photo, painting, levels, 1.0, patches=True) - none).max() > 0.05


def test_pictures_without_a_patch_are_refused(tiny_model):
    with pytest.raises(ValueError, match="patches are 3 features wide"):
        stylize(tiny_model, picture(8, 40), picture(40, 40), (4,), patches=True)
    with pytest.raises(ValueError, match="of one style picture, not of several"):
        stylize(tiny_model, picture(40, 40), [picture(40, 40)] * 2, patches=True)
