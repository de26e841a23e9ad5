"""`mipin explain` of photographs by a network trained on ImageNet, where the data for development are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mipin_ref.cli import main

SHARED = Path(__file__).parents[3] / "shared"
MODEL = SHARED / "models" / "efficientnet_lite0_imagenet.onnx"
PHOTOGRAPHS = SHARED / "data" / "imagenet20"
"""Files called after their ImageNet class, as imagenet_00_243.jpg."""

if MODEL.is_file() and PHOTOGRAPHS.is_dir():

    @pytest.mark.slow
    def test_photographs_with_class_names_of_ones_own(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The network was trained on (x - 127) / 128, to which `inception` comes nearest; both know these pictures."""
        monkeypatch.chdir(tmp_path)
        Path("photos").mkdir()
        files = sorted(PHOTOGRAPHS.glob("*.jpg"))[:3]
        for file in files:
            Path("photos", file.name).symlink_to(file)
        Path("names.txt").write_text("\n".join(f"kind {number}" for number in range(1000)))
        assert main(["explain", str(MODEL), "photos", "--class-names", "names.txt", "-o", "out", "--no-cache"]) == 0
        told = capsys.readouterr().out
        assert "preprocessing guessed: inception" in told
        assert "explained at '_conv_head_y_r6', the last map" in told
        with np.load("out/attribution.npz") as stored:
            labels = [int(file.stem.rpartition("_")[2]) for file in files]
            assert stored["target"].tolist() == labels
            assert stored["class_names"][:, 0].tolist() == [f"kind {number}" for number in labels]
            assert stored["names"].tolist() == [file.name for file in files]
            assert np.isfinite(stored["contribution"]).all()
        page = Path("out/index.html").read_text()
        assert all(file.name in page for file in files)
        pictures = sorted(Path("out").glob("overlay_*.png"))
        assert len(pictures) == len(files)
        for picture in pictures:
            # Something lies over the picture: it is not grey alone.
            pixels = np.asarray(Image.open(picture).convert("RGB"), np.int64)
            assert (pixels[..., 0] - pixels[..., 1]).max() > 60
