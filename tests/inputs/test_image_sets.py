"""Image sets: the ones known by name, folders, manifests, and fetching."""

import csv
import hashlib
import os
import shutil
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from artattack.errors import ArtattackError
from artattack.inputs import image_sets as datasets
from artattack.inputs.entry_classes import ENTRY_CLASSES, cues_of
from artattack.inputs.image_sets import (
    Sample,
    fetch_image_set,
    half_of,
    image_set_infos,
    load_images,
    open_image_set,
    read_sample,
    spread,
)
from artattack.inputs.images import fit, read_image, save_png
from artattack.inputs.labels import class_name, imagenet_classes
from artattack.inputs.paths import data_dir

SHARED = Path(__file__).resolve().parents[3] / "shared" / "datasets"


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)).save(path)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def manifest(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "set.csv"
    path.write_text(text, encoding=encoding)
    return path


def labels(path: Path) -> dict[str, int | None]:
    return {sample.id: sample.label for sample in open_image_set(path).samples}


def refused(name: str | Path, why: str) -> None:
    with pytest.raises(ArtattackError, match=why) as caught:
        open_image_set(name)
    assert "\n" not in str(caught.value)


# Sets known by name


def test_samples_are_there_and_right():
    image_set = open_image_set("samples")
    assert len(image_set.samples) == 20
    assert image_set.note == ""
    for sample in image_set.samples:
        assert sample.sha256 == sha256(sample.path)
        assert sample.label == int(sample.path.stem.rsplit("_", 1)[1])  # their names end in their class
        assert min(read_image(sample.path).shape[:2]) >= 512


def test_infos_show_the_available_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ARTATTACK_DATA", str(tmp_path))
    infos = {info.name: info for info in image_set_infos()}
    assert list(infos) == ["samples", "imagenet-sample", "cue-conflict"]
    assert infos["samples"].available
    assert not infos["imagenet-sample"].available
    refused("imagenet-sample", "not on this machine; it needs: artattack datasets fetch imagenet-sample")


def test_imagenet_sample_has_one_image_of_each_class():
    samples = datasets._manifest(datasets.data_dir() / "imagenet-sample.csv", Path())
    assert [sample.label for sample in samples] == list(range(1000))
    assert all(len(sample.sha256 or "") == 64 for sample in samples)


def test_without_foolbox_the_need_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    refused("samples", "'samples' is not on this machine; it needs: foolbox")
    assert not image_set_infos()[0].available


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("sample", "unknown image set 'sample'; did you mean 'samples'"),
        ("imagenet_sample", "did you mean 'imagenet-sample'"),
        ("no/such/folder", "'no/such/folder': no such folder or manifest"),
        ("absent.csv", "no such folder or manifest"),
    ],
)
def test_no_such_set(name: str, why: str):
    refused(name, why)


def test_a_file_that_is_no_manifest(tmp_path: Path):
    refused(picture(tmp_path / "photo.png"), "neither a folder nor a .csv manifest")


# Manifests


def test_a_manifest_labels_by_index_wnid_or_name(tmp_path: Path):
    path = manifest(
        tmp_path,
        "file,class_index,wnid,name,extra\n"
        "a.png,440,,,x\n"
        "b.png,,n02823428,,\n"
        "c.png,,,beer bottle,\n"
        "sub/d.png,440,n02823428,any words,\n"  # a name counts only where nothing surer is given
        "e.png\n"
        f"{tmp_path}/f.png, 0 ,,,\n",
    )
    image_set = open_image_set(path)
    assert image_set.name == "set"
    assert labels(path) == {"a": 440, "b": 440, "c": 440, "d": 440, "e": None, "f": 0}
    assert image_set.samples[3].path == tmp_path / "sub" / "d.png"
    assert image_set.samples[5].path == tmp_path / "f.png"


def test_a_manifest_with_a_byte_order_mark(tmp_path: Path):
    path = manifest(tmp_path, "file,class_index\nmünze.png,7\n", encoding="utf-8-sig")
    assert labels(path) == {"münze": 7}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has a column 'file'; this file has: none"),
        ("picture,label\na.png,1\n", "has a column 'file'; this file has: picture, label"),
        (
            "path,filename\na.png,b.png\n",
            "both columns 'filename' and 'path' may name the image: rename the right one to 'file'",
        ),
        ("file,label,Label\na.png,1,2\n", "columns 'label' and 'Label' have the same name"),
        ("file,ILSVRC2012_ID\na.png,1\n", "column 'ILSVRC2012_ID' has the development kit's own numbers; give wnids"),
        (
            "file,label\na.png,65\nb.png,3\na.png,66\n",
            "line 4: 'a.png' has another class in line 2: delete one of the lines",
        ),
        ("file,label\na.png,cat\nb.png,dog\n", "its labels, 'cat', 'dog', are no ImageNet classes; if .*of your own"),
        ("file,wnid\n", "no images are listed"),
        ("file\na.png\n../b.png\n", r"line 3: '\.\./b\.png' leads out of the table's folder: give the absolute path"),
        ("file\nx/../../b.png\n", "line 2: .* leads out of"),
        ("ImageId,TrueLabel\n../b,1\n", "line 2: .* leads out of"),
        ("file,class_index\na.png,1\n ,2\n", "line 3: no file is named"),
        ("file,class_index\na.png,1\nb.png,1000\n", "line 3: no ImageNet class '1000'"),
        ("file,class_index\n\n\na.png,1.5\n", "line 4: no ImageNet class '1.5'"),
        ("file,name\na.png,tensh\n", "line 2: no ImageNet class 'tensh'; did you mean 'tench'"),
        ("file,name\na.png,crane\n", "line 2: 'crane' is the name of ImageNet classes 134 .* and 517"),
        ("file,class_index,wnid\na.png,0,n01440764\nb.png,5,n01440764\n", "line 3: class_index 5 is not n01440764"),
    ],
)
def test_a_wrong_manifest_is_refused_by_line(tmp_path: Path, text: str, why: str):
    refused(manifest(tmp_path, text), rf"set\.csv(: .*|, )?{why}")


@pytest.mark.parametrize(
    "header",
    [
        *("file,label", "file,class", "file,Class_Index", "file,class_idx", "file,class_id", "file, class_index"),
        *("File,class_index", "filename,label", "path,label", "image,label", "Image Path,Label", ",file,label"),
        *("file;label", "file\tlabel", "file|label", "ImageId,label"),
    ],
)
def test_columns_are_found_by_many_names(tmp_path: Path, header: str):
    sign = next((sign for sign in ";\t|" if sign in header), ",")
    line = sign.join(["0"] * (header.count(sign) - 1) + ["a.png", "65"])
    assert labels(manifest(tmp_path, f"{header}\n{line}\n")) == {"a": 65}
    assert open_image_set(tmp_path / "set.csv").doubts == ()


@pytest.mark.parametrize("header", ["synset", "WNID", "wordnet_id", "label"])
def test_a_wnid_may_stand_in_any_column_of_labels(tmp_path: Path, header: str):
    assert labels(manifest(tmp_path, f"file,{header}\na.png,n01440764\n")) == {"a": 0}


def test_a_manifest_as_pandas_writes_it(tmp_path: Path):
    path = manifest(tmp_path, ",file,class_index\n0,a.png,65.0\n1,b.png,\n2,c.png,nan\n3,d.png,-1\n")
    assert labels(path) == {"a": 65, "b": None, "c": None, "d": None}


def test_a_manifest_in_utf_16(tmp_path: Path):
    (tmp_path / "set.csv").write_bytes("file,class_index\nmünze.png,7\n".encode("utf-16"))
    assert labels(tmp_path / "set.csv") == {"münze": 7}


def test_files_with_backslashes_or_without_suffix_are_found(tmp_path: Path):
    for name in ("sub/a.JPEG", "b.png", "c.d.png", "e.png", "e.jpg", "f\\g.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name, "PNG")
    (tmp_path / "b.txt").touch()
    path = manifest(tmp_path, "file,label\n.\\sub\\a.JPEG,1\nsub/a,1\nb,2\nc.d,3\nf\\g.png,4\ngone,5\n")
    files = [sample.path.relative_to(tmp_path).as_posix() for sample in open_image_set(path).samples]
    assert files == ["sub/a.JPEG", "sub/a.JPEG", "b.png", "c.d.png", "f\\g.png", "gone"]
    refused(manifest(tmp_path, "file\ne\n"), r"line 2: 'e' may be e\.jpg or e\.png: give the suffix, too")
    refused(manifest(tmp_path, "file\n..\\b.png\n"), "line 2: .*leads out of the table's folder")


@pytest.mark.parametrize(
    ("header", "cell", "doubted"),
    [
        ("true_class", "65", True),
        ("target", "65", True),  # a label to some, what attacks aim at to others
        ("lbl", "tench", True),  # by what stands in it
        ("lbl", "65", True),
        ("width", "500", False),
        ("photographer", "Ann", False),
        ("TargetClass", "65", False),
    ],
)
def test_a_column_that_looks_like_labels_is_named(tmp_path: Path, header: str, cell: str, doubted: bool):
    path = manifest(tmp_path, f"file,{header}\n{picture(tmp_path / 'a.png').name},{cell}\n")
    image_set = open_image_set(path)
    assert image_set.samples[0].label is None
    named = [f"column '{header}' looks like labels but is not read" in doubt for doubt in image_set.doubts]
    assert named == [True] * doubted
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_images(path, size=8)
    assert [str(warning.message) for warning in caught] == list(image_set.doubts)


def test_numbers_beside_labels_are_no_doubt(tmp_path: Path):
    path = manifest(tmp_path, "file,label,rating\na.png,65,5\n")
    assert open_image_set(path).doubts == ()


# ImageNet as it is handed out

VAL = [f"ILSVRC2012_val_{k:08d}" for k in (1, 2, 3)]
SOLUTION = (
    f"ImageId,PredictionString\n{VAL[1]},n09193705 0 0 499 374 n09193705 1 2 3 4 \n"
    f"{VAL[0]},n01751748 111 108 230 366\n{VAL[2]},n01440764 1 2 3 4\n"
)


@pytest.mark.parametrize("folder", ["val", "ILSVRC/Data/CLS-LOC/val", "."])
def test_kaggles_table_of_imagenet(tmp_path: Path, folder: str):
    (tmp_path / "LOC_val_solution.csv").write_text(SOLUTION)
    refused(tmp_path / "LOC_val_solution.csv", "none of its 3 images exists")
    for name in VAL[:2]:
        picture((tmp_path / folder / name).with_suffix(".JPEG"))
    image_set = open_image_set(tmp_path / "LOC_val_solution.csv")
    assert [(sample.id, sample.label) for sample in image_set.samples] == [(VAL[1], 970), (VAL[0], 65)]
    assert image_set.note == "2 of 3 images present"


def test_kaggles_table_of_training_images(tmp_path: Path):
    (tmp_path / "LOC_train_solution.csv").write_text("ImageId,PredictionString\nn01440764_18,n01440764 1 2 3 4\n")
    picture(tmp_path / "ILSVRC/Data/CLS-LOC/train/n01440764/n01440764_18.JPEG")
    assert labels(tmp_path / "LOC_train_solution.csv") == {"n01440764_18": 0}


def test_a_wrong_line_of_kaggles_table(tmp_path: Path):
    (tmp_path / "s.csv").write_text("ImageId,PredictionString\na,n01440764 1 2 3 4 n01443537 1 2 3 4\n")
    refused(tmp_path / "s.csv", "line 2: give a wnid and four numbers for each box, all of one class")


def test_the_development_kits_list(tmp_path: Path):
    path = tmp_path / "kit" / "data" / "ILSVRC2012_validation_ground_truth.txt"
    path.parent.mkdir(parents=True)
    path.write_text("1\n281\n1\n")
    for name in VAL[:2]:
        picture(tmp_path / "val" / f"{name}.JPEG")
    refused(path, "numbers classes in its own order, which its file meta.mat holds: put that file beside the list")
    order = [281, *range(281), *range(282, 1000)]  # 1 stands for class 281, and 281 for class 279
    rows = [(k, imagenet_classes()[index].wnid, "words") for k, index in enumerate(order, 1)]
    kinds = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    synsets = np.array([*rows, (1001, "n00001740", "entity")], kinds)
    savemat(path.with_name("meta.mat"), {"synsets": synsets[:, None]})
    image_set = open_image_set(path)
    assert [(sample.id, sample.label) for sample in image_set.samples] == [(VAL[0], 281), (VAL[1], 279)]
    assert image_set.note == "2 of 3 images present"
    path.write_text("1\n1001\n")
    refused(path, "line 2: '1001' is not a class number of the kit")
    path.with_name("meta.mat").write_bytes(b"nothing")
    refused(path, r"meta\.mat: not the development kit's list of synsets")


def test_a_manifest_that_is_no_text(tmp_path: Path):
    (tmp_path / "set.csv").write_bytes(b"file\n\xff\xfe\x00")
    refused(tmp_path / "set.csv", r"set\.csv: cannot be read as CSV")


# Folders


def test_folders_are_classes(tmp_path: Path):
    for name in ("n01440764", "1", "Beer_Bottle", ".git"):
        picture(tmp_path / name / f"in_{name.strip('.')}.png")
    (tmp_path / "empty").mkdir()  # no files, so no name to understand
    (tmp_path / "1" / "notes.txt").touch()
    (tmp_path / "1" / ".DS_Store").touch()
    (tmp_path / "1" / "deeper").mkdir()
    assert labels(tmp_path) == {"in_n01440764": 0, "in_1": 1, "in_Beer_Bottle": 440}
    assert open_image_set(tmp_path).note == ""


def test_files_beside_class_folders_are_told(tmp_path: Path):
    picture(tmp_path / "0" / "a.png")
    picture(tmp_path / "stray.png")
    (tmp_path / "README.md").touch()
    image_set = open_image_set(tmp_path)
    assert [sample.id for sample in image_set.samples] == ["a"]
    assert image_set.note == "1 files beside the class folders left out"


def test_a_folder_that_is_no_class(tmp_path: Path):
    picture(tmp_path / "tensh" / "a.png")
    refused(tmp_path, "sub-folders are classes, but no ImageNet class 'tensh'; did you mean 'tench'")


def test_folders_as_people_call_them(tmp_path: Path):
    names = {
        "000": 0,
        "0017": 17,
        "n01443537-goldfish": 1,
        "n02823428_beer_bottle": 440,
        "N01484850": 2,
        "hen, biddy": 8,
    }
    for name, index in names.items():
        picture(tmp_path / name / f"in_{index}.png")
    assert labels(tmp_path) == {f"in_{index}": index for index in names.values()}


def test_folders_that_count_from_1_are_refused(tmp_path: Path):
    for name in ("1", "1000"):
        picture(tmp_path / name / "a.png")
    refused(tmp_path, "sub-folders are classes, but no ImageNet class '1000': here they count from 0")


def test_the_parts_of_a_data_set_are_named(tmp_path: Path):
    picture(tmp_path / "train" / "n01440764" / "a.png")
    picture(tmp_path / "val" / "n01440764" / "a.png")
    refused(tmp_path, f"no images in its class folders; give one of its parts, {tmp_path}/train or {tmp_path}/val")


# Classes of one's own

CIFAR = ("airplane", "automobile", "bird", "cat")


def test_folders_of_own_classes_are_labelled_by_the_list_given(tmp_path: Path):
    for name in ("Cat", "bird"):
        picture(tmp_path / name / "a.png")
    image_set = open_image_set(tmp_path, CIFAR)
    assert {sample.id: sample.label for sample in image_set.samples} == {"Cat_a": 3, "bird_a": 2}
    assert image_set.classes == CIFAR
    assert load_images(tmp_path, size=8, classes=CIFAR).y.tolist() == [3, 2]
    why = (
        "these, 'Cat', 'bird', are no ImageNet classes; if they are classes of your own, name all of them in the order"
    )
    refused(tmp_path, why)
    picture(tmp_path / "boat" / "a.png")
    with pytest.raises(ArtattackError, match=r"'boat', are neither classes of the models .airplane, automobile"):
        open_image_set(tmp_path, CIFAR)


def test_a_manifest_of_own_classes(tmp_path: Path):
    path = manifest(tmp_path, "file,label,name\na.png,3,cat\nb.png,,Bird\nc.png,0,\nd.png,,\n")
    image_set = open_image_set(path, CIFAR)
    assert [sample.label for sample in image_set.samples] == [3, 2, 0, None]
    path.write_text("file,label,name\na.png,2,cat\n")
    with pytest.raises(ArtattackError, match="line 2: label 2 is not cat"):
        open_image_set(path, CIFAR)
    path.write_text("file,label\na.png,none\nb.png,some\n")  # `none` is a class where the list has it
    assert [sample.label for sample in open_image_set(path, ("some", "none")).samples] == [1, 0]


def test_images_of_imagenet_stay_so_beside_models_of_other_classes(tmp_path: Path):
    picture(tmp_path / "n01440764" / "a.png")
    assert (open_image_set(tmp_path, CIFAR).classes, open_image_set("samples", CIFAR).classes) == ((), ())
    path = manifest(tmp_path, "ImageId,TrueLabel\na,3\n")
    assert open_image_set(path, CIFAR).samples[0].label == 2  # class 2 of ImageNet


def test_a_flat_folder_is_labelled_by_wnid_where_names_begin_so(tmp_path: Path):
    for name in ("n01440764_10026.JPEG", "n15075141_roll.png", "holiday.png", "n0144_x.png", "ILSVRC2012_val_1.png"):
        picture(tmp_path / name)
    assert labels(tmp_path) == {
        "ILSVRC2012_val_1": None,
        "holiday": None,
        "n01440764_10026": 0,
        "n0144_x": None,
        "n15075141_roll": 999,
    }


def test_a_flat_folder_with_an_unknown_wnid_is_refused(tmp_path: Path):
    picture(tmp_path / "n00000001_a.png")
    refused(tmp_path, "names WNID_.* label files, but no ImageNet class 'n00000001'")


def test_empty_folders(tmp_path: Path):
    refused(tmp_path, "no images$")
    (tmp_path / "notes.txt").touch()
    refused(tmp_path, "no images$")
    (tmp_path / "0" / "images").mkdir(parents=True)
    refused(tmp_path, "no images in its class folders")


# Links, and what cannot be read


def errors(path: Path) -> dict[str, str]:
    return load_images(path, size=8).errors


@pytest.mark.parametrize("folder", ["", "440"])
def test_links_that_lead_nowhere_are_told_and_the_others_followed(tmp_path: Path, folder: str):
    home, away = tmp_path / "set" / folder, tmp_path / "away"
    picture(home / "here.png")
    (home / "good.png").symlink_to(picture(away / "there.png"))
    (home / "chain.png").symlink_to(home / "broken.png")
    (home / "broken.png").symlink_to(away / "gone.png")
    (home / "loop.png").symlink_to("pool.png")
    (home / "pool.png").symlink_to("loop.png")
    label = 440 if folder else None
    assert labels(tmp_path / "set") == dict.fromkeys(["broken", "chain", "good", "here", "loop", "pool"], label)
    assert errors(tmp_path / "set") == {
        "broken": f"{home}/broken.png: a broken link: there is no {away}/gone.png",
        "chain": f"{home}/chain.png: a broken link: there is no {away}/gone.png",
        "loop": f"{home}/loop.png: a link that leads back to itself",
        "pool": f"{home}/pool.png: a link that leads back to itself",
    }


def test_links_to_class_folders_are_followed_and_broken_ones_told(tmp_path: Path):
    home, away = tmp_path / "set", tmp_path / "away"
    picture(away / "a.png")
    home.mkdir()
    (home / "n01440764").symlink_to(away)
    (home / "n01443537").symlink_to(tmp_path / "unplugged")
    (home / "1").symlink_to("1")
    (home / "latest").symlink_to(away / "a.png")  # a file beside the class folders
    assert labels(home) == {"a": 0, "n01443537": None, "1": None}
    assert open_image_set(home).note == "1 files beside the class folders left out"
    assert errors(home) == {
        "n01443537": f"{home}/n01443537: a broken link: there is no {tmp_path}/unplugged",
        "1": f"{home}/1: a link that leads back to itself",
    }


def test_links_to_folders_above_come_to_an_end(tmp_path: Path):
    picture(tmp_path / "0" / "a.png")
    (tmp_path / "0" / "up").symlink_to(tmp_path)
    (tmp_path / "0" / "same").symlink_to(tmp_path / "0")
    assert labels(tmp_path) == {"a": 0}
    (tmp_path / "1").symlink_to(tmp_path)  # a link to its own folder is a class folder without images
    assert labels(tmp_path) == {"a": 0}


def test_a_broken_link_in_a_manifest_or_the_competition_is_told(tmp_path: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "aa.png").symlink_to(tmp_path / "gone.png")
    path = manifest(tmp_path, "file\nimages/aa.png\n")
    told = {"aa": f"{tmp_path}/images/aa.png: a broken link: there is no {tmp_path}/gone.png"}
    assert errors(path) == told
    path.write_text(COMPETITION + "aa,,,,,,5,,,,,\n")
    assert errors(path) == told


def test_a_file_that_is_gone_by_the_time_it_is_read(tmp_path: Path):
    picture(tmp_path / "a.png")
    (sample,) = open_image_set(tmp_path).samples
    sample.path.unlink()
    with pytest.raises(ArtattackError, match=r"a\.png: no such file$"):
        read_sample(sample, 8)


def test_a_pipe_is_told_and_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "a.png")
    assert errors(tmp_path) == {"a": f"{tmp_path}/a.png: a pipe or a device, not an image"}


def denied(path: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the system refuse some calls for a path and all below it, as it does to all but root."""
    for name in names:
        allowed = getattr(os, name)

        def call(at: object, *rest: object, allowed=allowed, **options: object) -> object:
            if Path(str(at)).is_relative_to(path):
                raise PermissionError(13, "Permission denied", str(at))
            return allowed(at, *rest, **options)

        monkeypatch.setattr(os, name, call)


def test_a_file_without_read_permission_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    picture(tmp_path / "set" / "a.png")
    (tmp_path / "set" / "b.png").symlink_to(picture(tmp_path / "closed" / "b.png"))
    denied(tmp_path / "set" / "b.png", monkeypatch, "stat")
    assert labels(tmp_path / "set") == {"a": None, "b": None}
    assert errors(tmp_path / "set") == {"b": f"{tmp_path}/set/b.png: cannot be read: Permission denied"}


def test_a_folder_without_read_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    picture(tmp_path / "0" / "a.png")
    denied(tmp_path / "0", monkeypatch, "listdir")
    refused(tmp_path, f"image set '{tmp_path}': {tmp_path}/0 cannot be read: Permission denied")


def test_a_home_without_read_permission_has_no_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ARTATTACK_DATA", str(tmp_path / "data"))
    denied(tmp_path / "data", monkeypatch, "stat")
    assert [info.available for info in image_set_infos()] == [True, False, False]
    refused("imagenet-sample", "cannot be read: Permission denied")


# The images of the NIPS 2017 competition


COMPETITION = "ImageId,URL,x1,y1,x2,y2,TrueLabel,TargetClass,OriginalLandingURL,License,Author,AuthorProfileURL\n"


def competition(folder: Path, labels: dict[str, object], images: str = "", name: str = "images.csv") -> Path:
    """A table such as the competition's, with images in a folder beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, id_ in enumerate(labels):
        picture(folder / images / f"{id_}.png", seed=number)
    rows = (
        f'{id_},https://x/{id_}.jpg,0,0.1,1,0.9,{label},779,https://x,by/2.0,"A, B",\n' for id_, label in labels.items()
    )
    (folder / name).write_text(COMPETITION + "".join(rows))
    return folder / name


@pytest.mark.parametrize("images", ["", "images"])
def test_the_competitions_table_counts_classes_from_1(tmp_path: Path, images: str):
    folder = tmp_path / "nips2017"
    path = competition(folder, {"0c7ac4a8c9dfa802": 306, "f43fbfe8a9ea876c": 1, "4fc263d35a3ad3ee": 1000}, images)
    by_table, by_folder = open_image_set(path), open_image_set(folder)
    assert by_table.samples == by_folder.samples
    assert (by_table.name, by_folder.name) == ("images", "nips2017")
    assert labels(path) == {"0c7ac4a8c9dfa802": 305, "f43fbfe8a9ea876c": 0, "4fc263d35a3ad3ee": 999}
    assert class_name(305) == "dung beetle"  # what that image of the competition shows
    assert load_images(folder, size=8).errors == {}


def test_targets_of_the_competition_and_of_a_manifest(tmp_path: Path):
    path = competition(tmp_path, {"aa": 306})
    assert [sample.target for sample in open_image_set(path).samples] == [778]  # 779, counted from 1
    path.write_text(path.read_text().replace(",779,", ",,"))
    assert [sample.target for sample in open_image_set(path).samples] == [None]
    path.write_text(path.read_text().replace(",306,,", ",306,1001,"))
    refused(path, r"images\.csv, line 2: TargetClass '1001' is not a number from 1 to 1000")
    mine = manifest(tmp_path, "file,target_class\na.png,7\nb.png,n02123045\nc.png,tabby\nd.png,\n")
    assert [sample.target for sample in open_image_set(mine).samples] == [7, 281, 281, None]
    refused(manifest(tmp_path, "file,target_class\na.png,1000\n"), "line 2: no ImageNet class '1000'")


def test_an_image_of_the_competition_that_is_not_there_is_told(tmp_path: Path):
    path = competition(tmp_path, {"aa": 1, "bb": 2}, "images")
    (tmp_path / "images" / "bb.png").unlink()
    images = load_images(path, size=8)
    assert images.ids == ("aa",)
    assert list(images.errors) == ["bb"]


@pytest.mark.parametrize("label", [0, 1001, "", "dung beetle", "-1", "1.0"])
def test_a_label_the_competition_has_not(tmp_path: Path, label: object):
    path = competition(tmp_path, {"aa": 1, "bb": label})
    refused(path, rf"images\.csv, line 3: TrueLabel '{label}' is not a number from 1 to 1000")


def test_an_image_of_the_competition_without_an_id(tmp_path: Path):
    path = competition(tmp_path, {"aa": 1})
    path.write_text(path.read_text() + ",,,,,,5,,,,,\n")
    refused(path, "line 3: no ImageId")


def test_two_tables_of_the_competition_in_one_folder(tmp_path: Path):
    for name in ("dev_dataset.csv", "final_dataset.csv"):
        competition(tmp_path, {"aa": 1}, name=name)
    refused(tmp_path, "give one of dev_dataset.csv, final_dataset.csv")
    assert labels(tmp_path / "final_dataset.csv") == {"aa": 0}


def test_other_tables_in_a_folder_do_not_matter(tmp_path: Path):
    competition(tmp_path, {"aa": 1}, "images")
    (tmp_path / "categories.csv").write_text("CategoryId,CategoryName\n1,tench\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "broken.csv").write_bytes(b"\xff\0" * 200_000)
    (tmp_path / "folder.csv").mkdir()
    assert labels(tmp_path) == {"aa": 0}


def test_a_manifest_made_from_the_competitions_table_is_a_manifest(tmp_path: Path):
    path = manifest(tmp_path, "ImageId,TrueLabel,file,class_index\naa,5,a.png,7\n")
    assert labels(path) == {"a": 7}


# Ids


def test_ids_are_unique_also_where_case_does_not_count(tmp_path: Path):
    path = manifest(tmp_path, "file\na/x.png\nb/X.png\nb/x.jpg\nc/y.png\na_x.png\na/x.bmp\n")
    assert [sample.id for sample in open_image_set(path).samples] == ["a_x_2", "b_X", "b_x_2", "y", "a_x", "a_x_3"]


@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=5),
        min_size=1,
        max_size=12,
    )
)
def test_ids_are_always_safe_and_distinct(stems: list[str]):
    samples = [Sample(datasets._safe(stem), Path("folder") / "x.png") for stem in stems]
    ids = [sample.id for sample in datasets._distinct(samples)]
    assert len({name.casefold() for name in ids}) == len(stems)
    for name in ids:
        assert name
        assert not name.startswith(".")
        assert not set(name) & set(" /\\:*?\"<>|\n'")


def test_many_images_of_one_name_are_quick(tmp_path: Path):
    samples = [Sample("img", tmp_path / str(n) / "img.png") for n in range(20_000)]
    assert len({sample.id for sample in datasets._distinct(samples)}) == 20_000


@pytest.mark.parametrize("letter", ["x", "語", "𝒳"])
def test_ids_of_the_longest_file_names_can_be_written(tmp_path: Path, letter: str):
    stem = letter * (250 // len(letter.encode()))
    for folder in ("0", "1"):
        picture(tmp_path / folder / f"{stem}.png")
    samples = open_image_set(tmp_path).samples
    for sample in samples:
        save_png(tmp_path / "out" / f"{sample.id}.png", read_sample(sample, 8))
    assert len(list((tmp_path / "out").iterdir())) == len(samples) == 2


# Reading


def test_a_sample_is_read_cut_and_resized(tmp_path: Path):
    path = picture(tmp_path / "a.png")
    np.testing.assert_array_equal(
        read_sample(Sample("a", path, sha256=sha256(path)), 8, 0.5), fit(read_image(path), 8, 0.5)
    )


@pytest.mark.parametrize(("width", "height"), [(1, 1), (50_000, 1), (3, 40)])
def test_an_image_of_hardly_any_pixels_is_told(tmp_path: Path, width: int, height: int):
    save_png(tmp_path / "a.png", np.zeros((height, width, 3), np.uint8))
    with pytest.raises(
        ArtattackError, match=f"a.png: {width} x {height} pixels are too few; sides must have 4 or more"
    ):
        read_sample(Sample("a", tmp_path / "a.png"), 32)


def test_a_very_wide_image_is_cut_to_its_middle(tmp_path: Path):
    image = np.zeros((20, 50_000, 3), np.uint8)
    image[:, 24_990:25_010] = 255
    save_png(tmp_path / "a.png", image)
    assert read_sample(Sample("a", tmp_path / "a.png"), 32).min() == 255


def test_another_file_than_the_manifest_means_is_named(tmp_path: Path):
    path = picture(tmp_path / "a.png")
    with pytest.raises(ArtattackError, match=r"a\.png: not the file in the manifest"):
        read_sample(Sample("a", path, sha256="0" * 64), 8)


def test_loading_keeps_readable_images_and_names_the_others(tmp_path: Path):
    good = picture(tmp_path / "good.png")
    picture(tmp_path / "changed.png", seed=1)
    (tmp_path / "text.jpg").write_text("no image")
    path = manifest(
        tmp_path,
        f"file,class_index,sha256\ngood.png,3,{sha256(good).upper()}\nchanged.png,4,{sha256(good)}\n"
        "text.jpg,5,\nabsent.png,6,\ngood.png,,\n",
    )
    images = load_images(path, size=(6, 8), crop=1.0)
    assert images.x.shape == (2, 6, 8, 3)
    assert images.x.dtype == np.float32
    assert 0 <= images.x.min() < images.x.max() <= 1
    np.testing.assert_array_equal(images.x[0] * 255, fit(read_image(good), (6, 8), 1.0))
    assert images.y.tolist() == [3, -1]
    assert images.y.dtype == np.int64
    assert len(set(images.ids)) == 2
    assert list(images.errors) == ["changed", "text", "absent"]
    for name, message in images.errors.items():
        assert f"{name}." in message
        assert "\n" not in message


def test_loading_nothing_readable_keeps_the_shape(tmp_path: Path):
    (tmp_path / "text.jpg").write_text("no image")
    images = load_images(tmp_path, size=(5, 7))
    assert images.x.shape == (0, 5, 7, 3)
    assert images.y.shape == (0,)
    assert list(images.errors) == ["text"]


def test_a_limit_is_spread_over_the_set(tmp_path: Path):
    for n in range(10):
        picture(tmp_path / f"{n}.png")
    assert load_images(tmp_path, size=4, limit=4).ids == ("0", "2", "5", "7")
    assert len(load_images(tmp_path, size=4, limit=99).ids) == 10


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": -3}, {"crop": 2.0}, {"size": 0}])
def test_senseless_settings_are_refused_at_once(wrong):
    with pytest.raises(ArtattackError):
        load_images("samples", **{"size": 4, **wrong})


@given(n=st.integers(2, 60))
def test_halves_of_a_set_share_no_image_and_leave_none_out(n: int):
    samples = [Sample(str(i), Path(f"{i}.png")) for i in range(n)]
    even, odd = half_of(samples, "even"), half_of(samples, "odd")
    assert {sample.id for sample in even} == {str(i) for i in range(n) if i % 2 == 0}
    assert sorted([*even, *odd], key=lambda sample: int(sample.id)) == samples == half_of(samples, None)


def test_a_set_of_one_image_has_no_odd_half():
    with pytest.raises(ArtattackError, match=r"images\.half: a set of 1 images has none at odd places"):
        half_of([Sample("0", Path("0.png"))], "odd")


@given(n=st.integers(0, 60), limit=st.integers(1, 60))
def test_spread_takes_in_order_without_repeats(n: int, limit: int):
    samples = [Sample(str(i), Path()) for i in range(n)]
    chosen = [int(sample.id) for sample in spread(samples, limit)]
    assert len(chosen) == min(n, limit)
    assert chosen == sorted(set(chosen))
    assert spread(samples, None) == tuple(samples)
    steps = np.diff([*chosen, n])  # no stretch of the set is left out
    assert n == 0 or steps.max() - steps.min() <= 1


# Fetching


class Server(SimpleHTTPRequestHandler):
    """Serves a folder and keeps what was asked for; a file called cut.* breaks off half-way."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/cut"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")
            return
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str, list[str]]]:
    """A server on this machine with seven images, their manifest in place of the real one, and a home for them.

    Yields the served folder, its URL and the list of paths asked for.
    """
    served, data = tmp_path / "served", tmp_path / "data"
    data.mkdir()
    lines = ["file,class_index,sha256"]
    for n, name in enumerate(("a", "b's", "c", "d", "e", "f", "g")):
        path = picture(served / f"{name}.png", seed=n)
        lines.append(f"{path.name},{n},{sha256(path)}")
    (data / "imagenet-sample.csv").write_text("\n".join(lines))
    monkeypatch.setattr(datasets, "data_dir", lambda: data)
    monkeypatch.setenv("ARTATTACK_DATA", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked: list[str] = []
    handler = type("Handler", (Server,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served, f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    thread.join()
    server.server_close()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_fetch_downloads_everything_once(shop, tmp_path: Path):
    served, url, asked = shop
    home = tmp_path / "home" / "imagenet-sample"
    assert fetch_image_set("imagenet-sample", base_url=url) == f"7 of 7 images in {home}, 0 of them already present"
    assert files(home) == files(served)
    assert all(sha256(home / name) == sha256(served / name) for name in files(served))
    assert fetch_image_set("imagenet-sample", base_url=url) == f"7 of 7 images in {home}, 7 of them already present"
    assert len(asked) == 7
    image_set = open_image_set("imagenet-sample")
    assert ([sample.label for sample in image_set.samples], image_set.note) == ([0, 1, 2, 3, 4, 5, 6], "")


def test_fetch_reports_failures_keeps_the_rest_and_resumes(shop, tmp_path: Path):
    served, url, asked = shop
    home = tmp_path / "home" / "imagenet-sample"
    (served / "c.png").rename(tmp_path / "c.png")
    right = (served / "e.png").read_bytes()
    (served / "e.png").write_bytes(right[:-9])
    with pytest.raises(ArtattackError) as caught:
        fetch_image_set("imagenet-sample", base_url=url)
    assert str(caught.value) == (
        f"5 of 7 images in {home}, 0 of them already present; 2 could not be fetched: run again to resume, or copy a "
        "local folder with --from. First failure: c.png: the server says 404 File not found"
    )
    assert files(home) == ["a.png", "b's.png", "d.png", "f.png", "g.png"]
    assert open_image_set("imagenet-sample").note == "5 of 7 images present"

    (tmp_path / "c.png").rename(served / "c.png")
    asked.clear()
    with pytest.raises(
        ArtattackError, match=r"6 of 7 .*, 5 of them .*; 1 could .*: e\.png: the downloaded file is damaged \(sha256"
    ):
        fetch_image_set("imagenet-sample", base_url=url)
    assert asked == ["/c.png", "/e.png"]

    (served / "e.png").write_bytes(right)
    asked.clear()
    assert fetch_image_set("imagenet-sample", base_url=url).startswith("7 of 7 images")
    assert asked == ["/e.png"]


def test_fetch_replaces_a_wrong_file(shop, tmp_path: Path):
    served, url, asked = shop
    fetch_image_set("imagenet-sample", base_url=url)
    home = tmp_path / "home" / "imagenet-sample"
    (home / "d.png").write_bytes(b"cut off")
    asked.clear()
    assert fetch_image_set("imagenet-sample", base_url=url).startswith("7 of 7 images")
    assert asked == ["/d.png"]
    assert sha256(home / "d.png") == sha256(served / "d.png")


def test_fetch_gives_up_when_nothing_comes(shop, tmp_path: Path):
    served, url, asked = shop
    for path in served.iterdir():
        path.unlink()
    with pytest.raises(ArtattackError, match=r"0 of 7 .*; 7 could not be fetched: run again"):
        fetch_image_set("imagenet-sample", base_url=url)
    assert len(asked) == 5


def test_fetch_goes_on_as_long_as_something_comes(shop):
    served, url, asked = shop
    for path in served.iterdir():
        if path.name != "e.png":
            path.unlink()
    with pytest.raises(ArtattackError, match=r"1 of 7 .*; 6 could not be fetched"):
        fetch_image_set("imagenet-sample", base_url=url)
    assert len(asked) == 7


def test_fetch_without_a_network_is_told_in_few_words(shop):
    with pytest.raises(ArtattackError) as caught:
        fetch_image_set("imagenet-sample", base_url="http://127.0.0.1:9/")  # no server listens at the discard port
    first = str(caught.value).partition("First failure: ")[2]
    assert first == "a.png: the connection failed (ConnectionError)"


def test_fetch_survives_a_broken_connection(shop, tmp_path: Path):
    _, url, _ = shop
    table = datasets.data_dir() / "imagenet-sample.csv"
    table.write_text(table.read_text().replace("c.png", "cut.png"))
    with pytest.raises(ArtattackError, match=r"6 of 7 .*First failure: cut\.png: the connection failed \(\w+\)"):
        fetch_image_set("imagenet-sample", base_url=url)
    assert "cut.png" not in files(tmp_path / "home" / "imagenet-sample")


def test_fetch_copies_from_a_folder_and_checks(shop, tmp_path: Path):
    served, _, asked = shop
    home = tmp_path / "home" / "imagenet-sample"
    copy = tmp_path / "copy"
    shutil.copytree(served, copy)
    (copy / "b's.png").unlink()
    (copy / "d.png").write_bytes(b"other")
    with pytest.raises(ArtattackError) as caught:
        fetch_image_set("imagenet-sample", copy)
    assert str(caught.value) == (
        f"5 of 7 images in {home}, 0 of them already present; 2 could not be fetched: use a complete copy. "
        f"First failure: b's.png: not in {copy}"
    )
    assert files(home) == ["a.png", "c.png", "e.png", "f.png", "g.png"]
    assert fetch_image_set("imagenet-sample", served) == f"7 of 7 images in {home}, 5 of them already present"
    assert files(home) == files(served)
    assert asked == []


def test_fetch_from_no_folder(shop, tmp_path: Path):
    with pytest.raises(ArtattackError, match="absent: no such folder"):
        fetch_image_set("imagenet-sample", tmp_path / "absent")


def test_fetch_into_a_place_that_cannot_be(shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ARTATTACK_DATA", str(tmp_path / "file"))
    with pytest.raises(ArtattackError, match="cannot be created: Not a directory; set ARTATTACK_DATA"):
        fetch_image_set("imagenet-sample", shop[0])


# Real images, where they are


def test_500_real_images_are_copied_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = SHARED / "imagenet-sample"
    if not source.is_dir():
        pytest.skip("no local copy of imagenet-sample beside the checkout")
    monkeypatch.setenv("ARTATTACK_DATA", str(tmp_path))
    here = len(list(source.iterdir()))
    try:
        message = fetch_image_set("imagenet-sample", source)
    except ArtattackError as error:  # the copy need not be whole
        message = str(error)
    assert message.startswith(f"{here} of 1000 images in")
    image_set = open_image_set("imagenet-sample")
    assert len(image_set.samples) == here
    wnids = {sample.path.name[:9] for sample in image_set.samples}
    assert len(wnids) == here  # one of each class
    images = load_images("imagenet-sample", size=32, limit=20)
    assert images.errors == {}
    assert len(images.ids) == 20
    assert all((images.y >= 0) & (np.diff(images.y, prepend=-1) > 0))


def test_the_set_of_cue_conflicts_keeps_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """From a copy of the authors' folder; each image says by its name what its shape and texture are."""
    copy = tmp_path / "copy" / "cat"
    copy.mkdir(parents=True)
    Image.new("RGB", (4, 4), (9, 9, 9)).save(copy / "cat7-elephant1.png")
    data = tmp_path / "data"
    data.mkdir()
    (data / "cue-conflict.csv").write_text(
        f"file,sha256\ncat/cat7-elephant1.png,{sha256(copy / 'cat7-elephant1.png')}\n"
    )
    monkeypatch.setattr(datasets, "data_dir", lambda: data)
    monkeypatch.setenv("ARTATTACK_DATA", str(tmp_path / "home"))
    assert fetch_image_set("cue-conflict", copy.parent).startswith("1 of 1 images")
    (sample,) = open_image_set("cue-conflict").samples
    assert (sample.id, sample.label) == ("cat7-elephant1", None)
    assert sample.path == tmp_path / "home" / "cue-conflict" / "cat" / "cat7-elephant1.png"
    with pytest.raises(ArtattackError, match="unknown image set to fetch 'samples'"):
        fetch_image_set("samples")


def test_the_manifest_of_cue_conflicts_is_the_published_set():
    with (data_dir() / "cue-conflict.csv").open() as file:
        names = [Path(row["file"]) for row in csv.DictReader(file)]
    cues = [cues_of(name.stem) for name in names]
    assert len(names) == len(set(names)) == 1280
    assert all(cue and cue[0] == name.parent.name for cue, name in zip(cues, names, strict=True))
    assert Counter(cue[0] for cue in cues if cue) == dict.fromkeys(ENTRY_CLASSES, 80)
    assert sum(cue[0] == cue[1] for cue in cues if cue) == 80  # no conflict
