"""From trees, archives and arrays of images to a store: what comes out is what was put in, and bad input is named."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tdtool.config import ImagesConfig
from tdtool.data import image_ingest, image_store
from tdtool.data.image_ingest import StoredImages, ingest
from tdtool.data.image_spool import Spool
from tdtool.data.image_store import ImageRecord, ImageSet, open_images, write_images
from tdtool.data.planted_shapes import png
from tdtool.data.readers import image_arrays
from tdtool.data.readers.image_sources import looks_like_images
from tdtool.errors import InputError, ResourceError, UsageError
from tdtool.store import hdf5
from tdtool.store.verify import verify
from tests.data.image_files import encoded, jpeg, pixels, shades, smooth, write_tar, write_tree

TREE = {
    **{f"train/cat/{i}.png": 10 + i for i in range(5)},
    **{f"train/dog/{i}.png": 60 + i for i in range(4)},
    **{f"valid/cat/{i}.png": 110 + i for i in range(2)},
    **{f"test/dog/far/{i}.png": 160 + i for i in range(3)},
}


def read(source: Path | str, tmp_path: Path, workers: int = 2, **settings: Any) -> tuple[StoredImages, ImageSet]:
    path = tmp_path / "out.images.h5"
    stored = ingest(str(source), path, ImagesConfig(**settings), workers=workers, force=True)
    return stored, open_images(path)


def told(images: ImageSet) -> dict[str, tuple[str, int, int]]:
    """Name -> class, split and shade of each image."""
    assert images.pixels is not None
    return {
        images.names(i): (images.classes[images.labels[i]], int(images.splits[i]), int(images.pixels[i, 0, 0, 0]))
        for i in range(images.n)
    }


def wanted(tree: dict[str, int]) -> dict[str, tuple[str, int, int]]:
    splits = {"train": 0, "valid": 1, "test": 2}
    return {name: (name.split("/")[1], splits[name.split("/")[0]], shade) for name, shade in tree.items()}


def test_tree_with_splits(tmp_path: Path) -> None:
    stored, images = read(write_tree(tmp_path / "data", shades(TREE)), tmp_path)
    assert told(images) == wanted(TREE)
    assert images.classes == ("cat", "dog")
    assert stored.splits == {"training": 9, "validation": 2, "test": 3}
    assert (stored.encoding, stored.height, stored.width) == ("pixels", 5, 7)
    assert stored.ledger.rows_used == stored.ledger.rows_in == 14
    assert verify(stored.path) == []
    assert list(tmp_path.glob("tmp*")) == [], "scratch files have no names"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
@pytest.mark.parametrize("shared", ["", "./", "set/images/"])
def test_the_same_store_however_packed(mode: str, shared: str, tmp_path: Path) -> None:
    tree, _ = read(write_tree(tmp_path / "data", shades(TREE)), tmp_path)
    digest = open_images(tree.path).digest
    files = {shared + name: data for name, data in reversed(shades(TREE).items())}
    _, images = read(write_tar(tmp_path / "data.tar", files, mode), tmp_path, workers=5)
    assert images.digest == digest


def test_zip_and_plain_classes(tmp_path: Path) -> None:
    names = {"b/1.png": 5, "a/1.png": 6, "b/sub/2.png": 7, "train/x.png": 8}
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, data in shades(names).items():
            archive.writestr(name, data)
    stored, images = read(tmp_path / "x.zip", tmp_path)
    assert {name: values[0] for name, values in told(images).items()} == {name: name.split("/")[0] for name in names}
    assert stored.splits == {"training": 4}, "a class may be called train"


def test_classes_and_splits_are_mixed_on_disk(tmp_path: Path) -> None:
    _, images = read(
        write_tree(tmp_path / "data", shades({f"{c}/{i}.png": i for c in "ab" for i in range(40)})), tmp_path
    )
    assert 20 < np.count_nonzero(np.diff(images.labels)) < 60
    keys = [hashlib.blake2b(images.names(i).encode(), digest_size=8).digest() for i in range(images.n)]
    assert keys == sorted(keys), "the order is a promise: stores and their digests rest on it"


def test_shards_with_labels_beside(tmp_path: Path) -> None:
    png_of = shades({str(shade): shade for shade in range(9)})
    write_tar(
        tmp_path / "s-train-000.tar",
        {"a.jpg": png_of["1"], "a.cls": b"7", "b.cls": b"2\n", "b.json": b"{}", "b.png": png_of["2"]},
    )
    write_tar(tmp_path / "s-train-001.tar", {"a.png": png_of["3"], "a.cls": b"2", "c.png": png_of["4"], "d.cls": b"3"})
    write_tar(tmp_path / "s-val-000.tar", {"x/k.v.png": png_of["5"], "x/k.cls": b"7"})
    for source in (tmp_path, tmp_path / "s-*.tar"):
        stored, images = read(source, tmp_path)
        assert told(images) == {
            "s-train-000/a.jpg": ("7", 0, 1),
            "s-train-000/b.png": ("2", 0, 2),
            "s-train-001/a.png": ("2", 0, 3),
            "s-val-000/x/k.v.png": ("7", 1, 5),
        }
        assert stored.ledger.skips["no .cls file beside the image"].examples == [f"{tmp_path}/s-train-001.tar:c.png"]
        assert stored.ledger.counters["labels without an image"] == 1
        assert any("no image has the label 0, 1, 3, 4, 5, 6" in note for note in stored.notes)
    assert read(tmp_path / "s-train-{000..001}.tar", tmp_path)[0].n_images == 3
    folders = tmp_path / "folders"
    folders.mkdir()
    for name, files in (
        ("x-train", {"cat/1.png": png_of["1"]}),
        ("x-val", {"cat/1.png": png_of["2"], "dog/1.png": png_of["3"]}),
    ):
        write_tar(folders / f"{name}.tar", files)
    assert read(folders, tmp_path)[0].splits == {"training": 1, "validation": 2}
    write_tar(tmp_path / "s-val-000.tar", {"a.png": png_of["5"], "a.cls": b"cat"})
    with pytest.raises(InputError, match=r"a\.cls in it is no label: b'cat'"):
        read(tmp_path / "s-val-000.tar", tmp_path)


def cifar(n: int, seed: int, n_labels: int = 1) -> tuple[bytes, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n).astype(np.uint8)
    values = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    rows = [
        bytes([9] * (n_labels - 1)) + bytes([y]) + x.transpose(2, 0, 1).tobytes()
        for x, y in zip(values, labels, strict=True)
    ]
    return b"".join(rows), labels, values


@pytest.mark.parametrize("packed", [False, True])
def test_cifar_10(packed: bool, tmp_path: Path) -> None:
    (one, labels, values), (test, _, _) = cifar(7, 1), cifar(3, 2)
    files = {
        "cifar-10-batches-bin/data_batch_2.bin": one,
        "cifar-10-batches-bin/test_batch.bin": test + b"cut",
        "cifar-10-batches-bin/batches.meta.txt": b"air\nauto\nbird\n\n",
        "cifar-10-batches-bin/readme.html": b"<html>",
    }
    source = write_tar(tmp_path / "c.tar.gz", files, "w:gz") if packed else write_tree(tmp_path / "c", files)
    stored, images = read(source, tmp_path, max_bad=1)
    assert images.pixels is not None
    assert set(images.classes) <= {"air", "auto", "bird"}
    assert stored.splits == {"training": 7, "test": 3}
    place = {images.names(i): i for i in range(images.n)}
    for row in range(7):
        i = place[f"cifar-10-batches-bin/data_batch_2/{row:05d}"]
        np.testing.assert_array_equal(images.pixels[i], values[row])
        assert images.classes[images.labels[i]] == ["air", "auto", "bird"][labels[row]]
    assert stored.ledger.skips["cut short"].count == 1


def test_cifar_100_takes_the_fine_labels(tmp_path: Path) -> None:
    data, labels, _ = cifar(5, 4, n_labels=2)
    _, images = read(write_tree(tmp_path / "c", {"train.bin": data}), tmp_path)
    assert sorted(images.classes[y] for y in images.labels) == sorted(map(str, labels))


@pytest.mark.parametrize("name", ["cifar-10-batches-py/data_batch_1", "cifar-100-python/train", "batches.meta"])
def test_pickles_are_refused(name: str, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "c", {name: pickle.dumps({}), "a/b.png": png(pixels())})
    tar = write_tar(tmp_path / "c.tar.gz", {name: pickle.dumps({})}, "w:gz")
    for source in (tree, tar):
        with pytest.raises(InputError, match="pickled") as caught:
            read(source, tmp_path)
        assert "binary version" in str(caught.value)


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


@pytest.mark.parametrize("packed", [False, True])
def test_mnist(packed: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    files, all_values = {}, {}
    for name, n in (("train", 6), ("t10k", 4)):
        values, labels = rng.integers(0, 256, (n, 3, 5), dtype=np.uint8), rng.integers(4, 6, n).astype(np.uint8)
        all_values[name] = values
        for kind, data in (("images-idx3", idx(values)), ("labels-idx1", idx(labels))):
            files[f"{name}-{kind}-ubyte" + (".gz" if packed else "")] = gzip.compress(data) if packed else data
    folder = write_tree(tmp_path / "m", files)
    stored, images = read(folder, tmp_path)
    assert images.pixels is not None
    assert stored.splits == {"training": 6, "test": 4}
    place = {images.names(i): i for i in range(images.n)}
    for name, values in all_values.items():
        for row, value in enumerate(values):
            found = images.pixels[place[f"{name}-images-idx3-ubyte/{row:06d}"]]
            np.testing.assert_array_equal(found, np.stack([value] * 3, -1))
    one = sorted(folder.glob("train-images*"))[0]
    assert read(one, tmp_path)[0].n_images == 6
    if not packed:
        one.write_bytes(one.read_bytes()[:-1])
        with pytest.raises(InputError, match="it ends after 5 of 6 images"):
            read(one, tmp_path)


def test_npz(tmp_path: Path) -> None:
    x, y = pixels(6, 5)[None].repeat(5, 0), np.array([[3], [1], [1], [3], [1]])
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:2, ..., 0], y_test=y[:2, 0], classes=list("abcd"))
    stored, images = read(tmp_path / "a.npz", tmp_path)
    assert stored.splits == {"training": 5, "test": 2}
    assert images.classes == ("b", "d")
    found = told(images)
    assert found["x_train/000003"] == ("d", 0, int(x[0, 0, 0, 0]))
    for values, same in (
        ((x / 255).astype(np.float32), x),
        (x.astype(np.float64), x),
        (x.astype(np.uint16) << 8, x),
        (x.transpose(0, 3, 1, 2), x),
        (x[..., 0] > 99, np.stack([(x[..., 0] > 99) * np.uint8(255)] * 3, -1)),
        (np.asfortranarray(x), x),
    ):
        np.savez_compressed(tmp_path / "b.npz", images=values, labels=y)
        _, images = read(tmp_path / "b.npz", tmp_path)
        assert images.pixels is not None
        np.testing.assert_array_equal(images.pixels[0], same[0])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((2, 3, 3))}, "are no images with labels"),
        ({"x": np.zeros((2, 3)), "y": np.zeros(2)}, "x has shape"),
        ({"x": np.zeros((2, 3, 3)), "y": np.zeros(3)}, "x has 2 images and y has shape"),
        ({"x": np.zeros((2, 3, 3)), "y": np.array([0.5, 1])}, "y holds no whole numbers"),
        ({"x": np.full((2, 3, 3), -1.0), "y": np.zeros(2)}, "values outside 0 to 1 and 0 to 255"),
        ({"x": np.zeros((2, 4, 4, 5), np.uint8), "y": np.zeros(2)}, "images of shape"),
        ({"x": np.array([[["a"]]]), "y": np.zeros(1)}, "x holds no numbers"),
    ],
)
def test_npz_that_is_no_images(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.npz", tmp_path)


def test_files_of_several_sizes_are_stored_as_they_are(tmp_path: Path) -> None:
    files = {
        "a/1.jpg": jpeg(smooth(20, 30)),
        "b/2.png": png(pixels(9, 8)),
        "b/3.gif": encoded(Image.fromarray(pixels()), "GIF"),
    }
    stored, images = read(write_tree(tmp_path / "d", files), tmp_path)
    assert (stored.encoding, stored.height, stored.width, images.pixels) == ("files", None, None, None)
    for i in range(3):
        assert images.encoded(i) == files[images.names(i)]
    sizes = {images.names(i): (int(images.height[i]), int(images.width[i])) for i in range(3)}
    assert sizes == {"a/1.jpg": (20, 30), "b/2.png": (9, 8), "b/3.gif": (5, 7)}
    assert verify(stored.path) == []


def test_encoding_and_size(tmp_path: Path) -> None:
    small = write_tree(tmp_path / "small", {f"a/{i}.png": png(pixels(96, 96, i)) for i in range(2)})
    large = write_tree(tmp_path / "large", {f"a/{i}.jpg": jpeg(smooth(97, 120)) for i in range(2)})
    mixed = write_tree(tmp_path / "mixed", {"a/0.png": png(pixels(12, 12)), "b/1.jpg": jpeg(smooth(97, 120))})
    assert read(small, tmp_path)[0].encoding == "pixels"
    assert read(large, tmp_path)[0].encoding == "files"
    assert read(small, tmp_path, encoding="files")[0].encoding == "files"
    assert read(large, tmp_path, encoding="pixels")[1].pixels.shape == (2, 97, 120, 3)  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"its images are of 2 sizes \(12 x 12, 97 x 120, \.\.\.\)") as caught:
        read(mixed, tmp_path, encoding="pixels")
    assert "--image-size" in str(caught.value)
    stored, images = read(mixed, tmp_path, size=8)
    assert (stored.encoding, stored.height, stored.width) == ("pixels", 8, 8)
    assert images.image_size == 8
    with pytest.raises(UsageError, match="images of one size are stored as pixels"):
        read(mixed, tmp_path, size=8, encoding="files")
    np.savez(tmp_path / "a.npz", x=np.zeros((1, 3, 3)), y=np.zeros(1))
    with pytest.raises(UsageError, match="it holds pixels, not files"):
        read(tmp_path / "a.npz", tmp_path, encoding="files")


def test_bad_images_are_counted_and_named(tmp_path: Path) -> None:
    files = {f"a/{i:02d}.png": png(pixels(seed=i)) for i in range(20)} | {"b/x.png": png(pixels(seed=99))}
    files |= {
        "b/zero.jpg": b"",
        "b/cut.png": png(pixels())[:-30],
        "b/text.jpg": b"no image",
        "b/readme.txt": b"notes",
        "top.png": png(pixels(9, 9)),
    }
    source = write_tree(tmp_path / "d", files)
    with pytest.raises(InputError, match=r"3 of 25 images cannot be read, more than --max-bad 0\.01") as caught:
        read(source, tmp_path)
    assert f"{source}/b/cut.png" in str(caught.value)
    assert not (tmp_path / "out.images.h5").exists()
    stored, images = read(source, tmp_path, max_bad=3)
    assert images.n == 21
    assert stored.encoding == "pixels", "an image of no class does not count"
    reasons = {reason: (skip.count, skip.examples) for reason, skip in stored.ledger.skips.items()}
    assert reasons == {
        "the file is empty": (1, [f"{source}/b/zero.jpg"]),
        "the PNG image is damaged or cut short": (1, [f"{source}/b/cut.png"]),
        "it is no image of a known format": (1, [f"{source}/b/text.jpg"]),
        "not in a class folder": (1, [f"{source}:top.png"]),
    }
    assert stored.ledger.counters == {"files that are no images were passed over": 1}
    assert read(source, tmp_path, max_bad=0.12)[1].n == 21
    for wrong in (-0.5, 2.5):
        with pytest.raises(UsageError, match="--max-bad"):
            read(source, tmp_path, max_bad=wrong)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "there is no file in this directory"),
        ({"a/readme.txt": b"x"}, "there are no images in it"),
        ({"1.png": png(pixels()), "2.png": png(pixels())}, "none of its 2 images can be used: 2 not in a class folder"),
        ({"train/1.png": png(pixels()), "test/2.png": png(pixels()), "3.png": png(pixels())}, None),
    ],
)
def test_directories_without_classes(files: dict[str, bytes], message: str | None, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "d", files)
    folder.mkdir(exist_ok=True)
    if message is None:
        assert read(folder, tmp_path)[1].classes == ("test", "train"), "without folders in them they are classes"
        return
    with pytest.raises(InputError, match=message):
        read(folder, tmp_path)


def test_notes_on_odd_classes(tmp_path: Path) -> None:
    names = {"train/a/1.png": 1, "test/a/1.png": 2, "test/new/1.png": 3}
    stored, _ = read(write_tree(tmp_path / "d", shades(names)), tmp_path)
    assert stored.notes == ("no training image is of the class new",)
    stored, _ = read(write_tree(tmp_path / "e", shades({"a/1.png": 1})), tmp_path)
    assert "all images are of one class, a" in stored.notes[0]


def test_sources_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(png(pixels()))
    (tmp_path / "x.txt").write_text("words")
    (tmp_path / "empty.tar").write_bytes(b"")
    write_images(tmp_path / "x.h5", [ImageRecord("a", 0, 0, pixels())], ["a"])
    for name, message in {
        "x.jpg": "a single image, without a class",
        "x.txt": "no source of images",
        "x.h5": "an HDF5 file, which holds no raw images",
        "empty.tar": "it is empty",
        "nowhere": "no such file or directory",
        "no-{1..3}.tar": "no such file or directory",
    }.items():
        with pytest.raises(InputError, match=message):
            read(tmp_path / name, tmp_path)
    with pytest.raises(UsageError, match="no format 'jpeg'"):
        read(tmp_path / "x.jpg", tmp_path, format="jpeg")
    with pytest.raises(InputError, match="it is a directory of class folders, not"):
        read(write_tree(tmp_path / "d", shades(TREE)), tmp_path, format="npz")


def test_archives_are_capped_and_their_damage_is_told(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "d.tar.xz", shades(TREE, 60, 60), "w:xz")
    with pytest.raises(InputError, match="more than the 5,000 bytes that are allowed"):
        read(path, tmp_path, max_bytes=5000)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"ends too early|damaged|incomplete"):
        read(path, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["d.tar.xz"]


def test_what_looks_like_images(tmp_path: Path) -> None:
    assert looks_like_images(str(write_tree(tmp_path / "d", shades(TREE) | {"readme.txt": b"x"})))
    assert not looks_like_images(
        str(write_tree(tmp_path / "t", {f"{i}.txt": b"words" for i in range(3)} | {"1.png": b""}))
    )
    assert looks_like_images(str(write_tar(tmp_path / "i.tar.gz", shades(TREE), "w:gz")))
    assert not looks_like_images(str(write_tar(tmp_path / "t.tar.gz", {"a.txt": b"x"}, "w:gz")))
    np.savez(tmp_path / "x.npz", x_train=np.zeros((2, 3, 3)), y_train=np.zeros(2))
    np.savez(tmp_path / "m.npz", data=np.zeros(3), labels=np.zeros(3))
    assert looks_like_images(str(tmp_path / "x.npz"))
    assert not looks_like_images(str(tmp_path / "m.npz"))
    assert not looks_like_images(str(tmp_path / "nowhere"))
    assert not looks_like_images("-")


def test_sets_travel_by_their_path(tmp_path: Path) -> None:
    values = [pixels(seed=i) for i in range(5)]
    write_images(tmp_path / "x.h5", [ImageRecord(f"n{i}", i % 2, 0, v) for i, v in enumerate(values)], ["a", "b"])
    images = pickle.loads(pickle.dumps(open_images(tmp_path / "x.h5")))  # noqa: S301 -- our own, a line ago
    assert dataclasses.replace(images).digest == open_images(tmp_path / "x.h5").digest
    np.testing.assert_array_equal(images.pixels, np.stack(values))
    assert [images.names(i) for i in (4, 0)] == ["n4", "n0"]
    with pytest.raises(ValueError, match="pixels are stored"):
        images.encoded(0)
    with pytest.raises(ValueError, match="pixels of 2 sizes"):
        write_images(
            tmp_path / "y.h5", [ImageRecord("", 0, 0, pixels(2, 3)), ImageRecord("", 0, 0, pixels(3, 2))], ["a"]
        )
    with pytest.raises(ValueError, match="some are encoded"):
        write_images(tmp_path / "y.h5", [ImageRecord("", 0, 0, pixels()), ImageRecord("", 0, 0, png(pixels()))], ["a"])


def test_partitions_are_digests_of_images_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "_PARTITION_BYTES", 250)
    values = [pixels(seed=i) for i in range(6)]  # 105 bytes each
    write_images(tmp_path / "x.h5", [ImageRecord("", i % 2, 0, v) for i, v in enumerate(values)], ["a", "b"])
    with hdf5.open(tmp_path / "x.h5") as reader:
        starts, digests = reader.get("partitions/start"), reader.get("partitions/digest")
    assert starts.tolist() == [0, 3, 5, 6]
    content = b"".join((i % 2).to_bytes(8, "little") + values[i].tobytes() for i in (3, 4))
    assert digests[1] == hashlib.blake2b(content, digest_size=16).hexdigest()


def test_real_cifar(shared_data: Path) -> None:
    """The real archive is known for what it is by its first bytes."""
    assert looks_like_images(str(shared_data / "images" / "cifar10_jpeg.tar.xz"))


def test_folder_of_weird_names(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    (folder / "katze ñ").mkdir(parents=True)
    (folder / "katze ñ" / "ein bild\udcff.PNG").write_bytes(png(pixels()))
    (folder / "katze ñ" / "no suffix").write_bytes(png(pixels(seed=4)))
    (folder / "katze ñ" / ".hidden.png").write_bytes(b"")
    (folder / "leer").mkdir()
    _, images = read(folder, tmp_path)
    assert images.classes == ("katze ñ",)
    assert images.n == 2


@pytest.mark.parametrize("n_images", [3, 4000])
def test_full_disk(n_images: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spool, "_scratch", lambda _: Path("/dev/full").open("w+b", buffering=1 << 16))  # noqa: SIM115
    np.savez(tmp_path / "x.npz", x=np.zeros((n_images, 5, 5), np.uint8), y=np.zeros(n_images))
    with pytest.raises(ResourceError, match="the disk is full"):
        read(tmp_path / "x.npz", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_memory_stays_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (image_arrays, image_ingest):
        monkeypatch.setattr(module, "_BLOCK_BYTES", 1 << 19)
    peaks = []
    for n in (30, 120):  # 6 and 24 MB of pixels
        path = tmp_path / f"{n}.npz"
        np.savez(path, x=np.zeros((n, 256, 256, 3), np.uint8), y=np.arange(n) % 3)
        tracemalloc.start()
        read(path, tmp_path, workers=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
