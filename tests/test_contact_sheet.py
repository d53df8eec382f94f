import numpy as np
import pytest

from uwct.pictures.contact_sheet import contact_sheet
from uwct.pictures.images import Picture


def solid(*rgb, shape=(40, 80)):
    return Picture(np.broadcast_to(np.float32(rgb), (*shape, 3)))


def test_every_picture_lies_in_its_cell_under_its_labels():
    red, green, blue = solid(1, 0, 0), solid(0, 1, 0), solid(0, 0, 1, shape=(80, 20))
    sheet = contact_sheet([[red, None], [green, blue]], ["first", "second"], ["left", "right"], cell=40).rgb
    where = {name: np.argwhere((sheet == color).all(-1)) for name, color in
             {"red": [1, 0, 0], "green": [0, 1, 0], "blue": [0, 0, 1]}.items()}  # fmt: skip
    sizes = {name: tuple(np.ptp(place, axis=0) + 1) for name, place in where.items()}
    assert sizes == {"red": (20, 40), "green": (20, 40), "blue": (40, 10)}
    (red_y, red_x), (green_y, green_x), (blue_y, blue_x) = (where[name].mean(0) for name in ("red", "green", "blue"))
    assert red_x == green_x < blue_x
    assert red_y < green_y == blue_y
    labels = (sheet < 0.5).all(-1)  # dark pixels are text
    assert labels[: int(red_y) - 20].any()
    assert labels[int(red_y) + 20 : int(green_y) - 20].any()


def test_long_labels_are_cut_to_their_cell():
    sheet = contact_sheet([[None]], [""], ["w" * 100], cell=40).rgb
    assert (sheet < 0.5).any()
    assert (sheet[:, -8:] == 1).all()


def test_labels_must_be_as_many_as_rows_and_columns():
    with pytest.raises(ValueError, match="need as many labels"):
        contact_sheet([[None, None]], ["a", "b"], ["x", "y"])
