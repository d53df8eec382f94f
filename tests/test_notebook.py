"""examples/uwct.ipynb runs from top to bottom, all but the cell that installs, on pictures small enough for a test."""

import base64
import io
import os
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import picture
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[1]
PATH = ROOT / "examples" / "uwct.ipynb"
NOTEBOOK = nbformat.read(PATH, as_version=4)


def test_the_notebook_is_small_and_stored_without_outputs():
    nbformat.validate(NOTEBOOK)
    code = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert PATH.stat().st_size < 20_000
    assert f"/blob/main/{PATH.relative_to(ROOT)}" in NOTEBOOK.cells[0].source  # the badge opens this file


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """What Colab has of its own: the upload of a photo, 64 x 48 pixels."""
    file = io.BytesIO()
    Image.fromarray(np.uint8(255 * picture(48, 64, 1))).save(file, "PNG")
    (tmp_path / "google" / "colab").mkdir(parents=True)
    stub = f"def upload():\n    return {{'mine.png': {file.getvalue()!r}}}\n"
    (tmp_path / "google" / "colab" / "files.py").write_text(stub)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("gallery"))
    return tmp_path


def test_the_notebook_runs_and_every_step_gives_another_picture(colab):
    (parameters,) = [cell for cell in NOTEBOOK.cells if "parameters" in cell.metadata.get("tags", ())]
    assert parameters.source.startswith("SIZE, STEPS, FRAMES = ")
    parameters.source = "SIZE, STEPS, FRAMES = 64, 2, 2"
    NotebookClient(NOTEBOOK, timeout=500, resources={"metadata": {"path": colab}}).execute()
    outputs = [output for cell in NOTEBOOK.cells if cell.cell_type == "code" for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"display_data"}  # nothing is printed, no warning either
    kinds = {"image/png", "image/gif"}
    shown = [base64.b64decode(output.data[kind]) for output in outputs for kind in kinds & output.data.keys()]
    sizes = [Image.open(io.BytesIO(data)).size for data in shown]
    # The upload; painted beside it; presets; mixtures; a mask; a texture; the clip; refined; as a photograph.
    wide, alone = (128, 48), (64, 48)
    assert sizes == [alone, wide, wide, wide, wide, alone, (48, 48), wide, wide]
    assert len(set(shown)) == len(shown)
    assert np.asarray(Image.open(colab / "refined.png")).std() > 10
    upload, beside = (np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float) for data in shown[:2])
    np.testing.assert_allclose(upload / 255, picture(48, 64, 1), atol=1 / 255)
    np.testing.assert_array_equal(beside[:, :64], upload)
    assert np.abs(beside[:, 64:] - upload).mean() > 5
