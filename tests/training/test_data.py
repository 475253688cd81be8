"""Training images: reading of each kind of data, the split, and refusals."""

import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artattack.errors import ArtattackError
from artattack.inputs.images import fit, read_image, save_png
from artattack.training.data import LabelledImages, count_images, image_files, read_labelled


def read(path: Path, size: int = 16, **options: Any) -> LabelledImages:
    given = {"held_out": 0.2, "validation": 0.25, "seed": 0} | options
    return read_labelled(path, size, on_progress=lambda *_: None, **given)


def test_a_folder_is_parted_class_by_class(coloured: Path) -> None:
    found = read(coloured)
    assert found.classes == ("blue", "green", "red")
    assert count_images(coloured) == (found.classes, 60, 0)
    # 20 of each: a fifth is 4, a quarter of the other 16 is 4
    for part, each in ((found.test, 4), (found.validation, 4), (found.train, 12)):
        assert np.bincount(part[1]).tolist() == [each] * 3
    everything = np.concatenate([part[0] for part in (found.train, found.validation, found.test)])
    assert len(np.unique(everything.reshape(60, -1), axis=0)) == 60  # none is in two parts
    assert not found.own_test
    again, other = read(coloured), read(coloured, seed=1)
    assert (again.test[0] == found.test[0]).all()
    assert (other.test[0] != found.test[0]).any()


def test_images_are_read_as_everywhere_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        for number in range(3):
            save_png(tmp_path / name / f"{number}.png", rng.integers(0, 256, (20, 30, 3), np.uint8))
    found = read(tmp_path)
    expected = {fit(read_image(file), 16, 1.0).tobytes() for file in image_files(tmp_path)}
    parts = (found.train[0], found.validation[0], found.test[0])
    assert {image.tobytes() for part in parts for image in part} == expected


def test_folders_of_their_own_for_measuring(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("val", 2)):
        for shade, name in enumerate("ab"):
            for number in range(count):
                save_png(tmp_path / part / name / f"{number}.png", np.full((16, 16, 3), 40 * number + shade, np.uint8))
    found = read(tmp_path)
    assert found.own_test
    assert count_images(tmp_path) == (("a", "b"), 8, 4)
    assert sorted(found.test[0][:, 0, 0, 0]) == [0, 1, 40, 41]
    assert np.bincount(found.train[1]).tolist() == [3, 3]


def test_files_that_are_no_images_are_left_out_and_reported(tmp_path: Path) -> None:
    for name in "ab":
        for number in range(4):
            save_png(tmp_path / name / f"{number}.png", np.zeros((16, 16, 3), np.uint8))
    (tmp_path / "a" / "broken.png").write_bytes(b"no image")
    (tmp_path / "a" / "notes.txt").write_text("not counted")
    found = read(tmp_path)
    assert len(found.unreadable) == 1
    assert "broken.png" in found.unreadable[0]
    assert sum(len(part[1]) for part in (found.train, found.validation, found.test)) == 8


def test_arrays_of_an_npz_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (8, 16, 16, 3), np.uint8), np.array([0, 1] * 4)
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y[:, None], x_test=x[:2] // 2, y_test=y[:2])
    found = read(tmp_path / "own.npz")
    assert found.classes == ("0", "1")
    assert found.own_test
    assert (found.test[0] == x[:2] // 2).all()
    np.savez(tmp_path / "objects.npz", x_train=np.array([object()], dtype=object), y_train=y)
    with pytest.raises(ArtattackError, match=r"objects\.npz: cannot be read as arrays"):
        read(tmp_path / "objects.npz")
    np.savez(tmp_path / "floats.npz", x_train=x / 255, y_train=y)
    with pytest.raises(ArtattackError, match="images must be uint8"):
        read(tmp_path / "floats.npz")


def batches(rng: np.random.Generator) -> dict[str, dict[bytes, Any]]:
    names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
    content: dict[str, dict[bytes, Any]] = {
        name: {b"data": rng.integers(0, 256, (4, 3072), np.uint8), b"labels": [0, 1, 0, 1]} for name in names
    }
    return content | {"batches.meta": {b"label_names": [b"airplane", b"automobile"]}}


def test_cifars_batches_in_a_folder_and_in_an_archive(tmp_path: Path) -> None:
    content = batches(np.random.default_rng(0))
    folder, archive = tmp_path / "cifar-10-batches-py", tmp_path / "cifar.tar.gz"
    folder.mkdir()
    with tarfile.open(archive, "w:gz") as file:
        for name, batch in content.items():
            packed = pickle.dumps(batch, protocol=2)
            (folder / name).write_bytes(packed)
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(packed)
            file.addfile(info, io.BytesIO(packed))
    for path in (folder, tmp_path, archive):
        found = read(path, size=32)
        assert found.classes == ("airplane", "automobile")
        assert len(found.train[1]) + len(found.validation[1]) == 20
        # a row of a batch is 1024 reds, then greens, then blues
        first = content["test_batch"][b"data"][0]
        assert found.test[0][0, 0, 1].tolist() == [first[1], first[1024 + 1], first[2048 + 1]]
        assert found.test[0][0, 1, 0].tolist() == [first[32], first[1024 + 32], first[2048 + 32]]


def test_a_batch_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "done"),)

    for name in batches(np.random.default_rng(0)):
        (tmp_path / name).write_bytes(pickle.dumps({b"data": Harmful()}))
    with pytest.raises(ArtattackError, match=r"data_batch_1 is not a CIFAR-10 batch: it contains \w+\.mkdir"):
        read(tmp_path)
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "0 class folders with images"),
        (["a/0.png", "a/1.png", "a/2.png"], "1 class folders with images"),
        (["a/0.png", "a/1.png", "a/2.png", "b/0.png"], "class 'b' has 1 images; at least 3 are needed"),
        (["train/a/0.png", "train/b/0.png", "test/a/0.png"], "class 'b' is only in one of train and test"),
    ],
)
def test_too_little_is_refused_before_anything_is_read(files: list[str], words: str, tmp_path: Path) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    with pytest.raises(ArtattackError, match=words):
        count_images(tmp_path)


def test_no_such_data(tmp_path: Path) -> None:
    with pytest.raises(ArtattackError, match="no such folder or file"):
        count_images(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ArtattackError, match=r"no folder of class folders, no \.npz file"):
        count_images(tmp_path / "a.txt")
