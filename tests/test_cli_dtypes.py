import jax
import pytest

from uwct.cli import dtypes


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu avx512f amx_bf16 amx_tile", "bfloat16"),
        ("flags : fpu avx512_bf16", "bfloat16"),
        ("flags : fpu avx2 avx512f", "float32"),
        ("nothing", "float32"),
        (None, "float32"),
    ],
)
def test_auto_goes_by_the_cpu(tmp_path, monkeypatch, flags, expected):
    path = tmp_path / "cpuinfo"
    if flags is not None:
        path.write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr(dtypes, "CPUINFO", path)
    assert dtypes.dtype_for("auto") == expected
    assert dtypes.dtype_for("float16") == "float16"


@pytest.mark.parametrize(
    ("platform", "capability", "fast"), [("gpu", "9.0", True), ("gpu", "7.5", False), ("tpu", "", True)]
)
def test_auto_goes_by_the_accelerator(monkeypatch, platform, capability, fast):
    device = type("Device", (), {"platform": platform, "compute_capability": capability})
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert dtypes.is_fast() is fast
