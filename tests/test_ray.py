"""Ray Data on a local cluster of two workers, as the example does it."""

from pathlib import Path

import pytest
import ray
from test_loaders import arguments, example  # noqa: F401

import uwct
from uwct.pictures import images


@pytest.fixture
def cluster():
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_two_actors_make_what_one_stylizer_makes(cluster, arguments):  # noqa: F811
    module = example("augment_with_ray")
    given = module.Arguments(**arguments | {"model": str(Path("tiny.safetensors").resolve())}, output=Path("out"))
    found = {row["key"]: row for row in module.stylized(given).take_all()}
    assert sorted(found) == [f"{i}.jpg" for i in range(8)]
    alone = uwct.Stylizer("styles", model="tiny.safetensors")
    for path in images.pictures_in(arguments["photos"]):
        drawn = alone.draw(path.name)
        assert float(found[path.name]["strength"]) == pytest.approx(float(drawn.strengths[0]))
        assert found[path.name]["image"].shape == (16, 16, 3)
