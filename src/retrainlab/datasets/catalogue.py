"""What public data sets there are: for each its card, where it is on the network, and how it becomes label folders."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import RetrainLabError
from .downloads import Source


@dataclass(frozen=True)
class Dataset:
    """How a dataset is had, and what it must turn out to be.

    `card` is what `dataset.json` says: title, images and labels (how many; both are verified), licence, cite, caveat,
    and where others published figures, those and their protocol. `arrange(folder, *unpacked)` fills a folder with
    label folders from the unpacked archives of `sources`, in their order.
    """

    card: dict[str, Any]
    arrange: Callable[..., None]
    sources: tuple[Source, ...] = ()


def _arrange_elpv(folder: Path) -> None:
    """Lay out the images of the `elpv-dataset` package as the published two-label task."""
    try:
        import elpv_dataset
    except ImportError as error:
        raise RetrainLabError(
            "The images of 'elpv' are not installed. Expected the package elpv-dataset; install it, or the extra "
            "`retrainlab[demo]`."
        ) from error
    source = Path(str(elpv_dataset.__file__)).parent / "data"
    for line in (source / "labels.csv").read_text().splitlines():
        name, probability, _ = line.split()  # file, probability of a defect, kind of cell
        label = folder / ("defective" if float(probability) >= 0.5 else "functional")
        label.mkdir(exist_ok=True)
        shutil.copyfile(source / name, label / Path(name).name)


def _arrange_dogs(folder: Path, lists: Path, images: Path) -> None:
    """Give the breeds' folders readable names, and write the official split as `splits.csv`."""
    top = _member(images, "Images")
    for synset, breed in readable_breeds(path.name for path in top.iterdir() if path.is_dir()).items():
        (top / synset).replace(folder / breed)
    there = {path.name: path.relative_to(folder).as_posix() for path in image_files(folder)}
    listed = [
        (path.rpartition("/")[2], split)  # file names carry the breed's number, so they are unique
        for split in ("train", "test")
        for path in read_cell_texts(_member(lists, f"{split}_list.mat"), "file_list")
    ]
    if sorted(name for name, _ in listed) != sorted(there):
        raise RetrainLabError(
            f"The lists of Stanford Dogs name {len(listed):,} images, the archive holds {len(there):,}, and these "
            "are not the same. Expected every image in exactly one of train_list.mat and test_list.mat."
        )
    splits = pd.DataFrame([(there[name], split) for name, split in listed], columns=["path", "split"])
    splits.to_csv(folder / "splits.csv", index=False)


def readable_breeds(synsets: Iterable[str]) -> dict[str, str]:
    """Turn folder names such as `n02085936-Maltese_dog` into labels, `Maltese dog`: name -> label.

    Labels that would be the same, be it but for capitals (some file systems tell no difference), keep their number.
    """
    parts = {synset: synset.partition("-") for synset in sorted(synsets)}
    breeds = {synset: (breed or number).replace("_", " ") for synset, (number, _, breed) in parts.items()}
    count = Counter(breed.lower() for breed in breeds.values())
    return {s: breed if count[breed.lower()] == 1 else f"{breed} ({parts[s][0]})" for s, breed in breeds.items()}


def _arrange_flowers(folder: Path, archive: Path) -> None:
    """Take the label folders and the list of photographers; the images' licence asks to credit them."""
    for path in _member(archive, "flower_photos").iterdir():
        if path.is_dir() or path.name == "LICENSE.txt":
            path.replace(folder / path.name)


def _member(unpacked: Path, name: str) -> Path:
    if not (unpacked / name).exists():
        top = ", ".join(sorted(path.name for path in unpacked.iterdir())[:5]) or "nothing"
        raise RetrainLabError(f"The archive {unpacked.name} has {top} at its top. Expected '{name}'; has it changed?")
    return unpacked / name


def read_cell_texts(file: Path, variable: str) -> list[str]:
    """Read a cell array of texts from a MATLAB file (MATLAB 5 to 7, compressed or not).

    Raises:
        RetrainLabError: the file is damaged or of another format, or has no such variable.
    """
    from scipy.io import loadmat

    problem = f"it holds no cell array '{variable}'"
    try:
        cells = loadmat(file, variable_names=[variable]).get(variable)
        if cells is not None and cells.dtype == object:
            return ["".join(cell) for cell in cells.ravel(order="F")]
    except Exception as error:  # SciPy raises nearly anything on damaged files
        problem = f"{type(error).__name__}: {error}"
    raise RetrainLabError(
        f"'{file.name}' cannot be read ({problem}). Expected a MATLAB 5 file with the cell array '{variable}' of texts."
    )


def image_files(folder: Path) -> list[Path]:
    """List the images in the label folders of a dataset."""
    found = folder.glob("*/*")
    return [path for path in found if path.suffix.lower() in (".jpg", ".png") and not path.name.startswith(".")]


_DOGS = "http://vision.stanford.edu/aditya86/ImageNetDogs/"
# Sizes and digests of the archives: TensorFlow Datasets, url_checksums/stanford_dogs.txt and tf_flowers.txt.
DATASETS = {
    "elpv": Dataset(
        {
            "title": "ELPV: solar cells in electroluminescence images, functional or defective",
            "images": 2624,
            "labels": 2,
            "licence": "CC BY-NC-SA 4.0",
            "cite": [
                "Deitsch et al. 2019, Automatic classification of defective photovoltaic module cells in "
                "electroluminescence images, doi.org/10.1016/j.solener.2019.02.067",
                "Deitsch et al. 2021, Segmentation of photovoltaic module cells in uncalibrated electroluminescence "
                "images, doi.org/10.1007/s00138-021-01191-9",
                "Buerhop-Lutz et al. 2018, A benchmark for visual identification of defective solar cells in "
                "electroluminescence imagery, doi.org/10.4229/35thEUPVSEC20182018-5CV.3.15",
            ],
            "published": {
                "support vector machine (Deitsch et al. 2019)": 0.8244,
                "fine-tuned VGG-19 (Deitsch et al. 2019)": 0.8842,
            },
            "protocol": "defective from probability 1/2 up; 75% of the images for training, 25% for testing",
            "caveat": "The cells come from 44 modules and neighbours are alike, so random splits flatter every method.",
        },
        _arrange_elpv,
    ),
    "stanford-dogs": Dataset(
        {
            "title": "Stanford Dogs: 120 breeds, with the official split of 12,000 training and 8,580 test images",
            "images": 20580,
            "labels": 120,
            "licence": "none stated; the images are ImageNet's, for non-commercial research and education only",
            "cite": [
                "Khosla et al. 2011, Novel dataset for fine-grained image categorization: Stanford Dogs, workshop on "
                "fine-grained visual categorization at CVPR, vision.stanford.edu/aditya86/ImageNetDogs",
                "Deng et al. 2009, ImageNet: a large-scale hierarchical image database, CVPR",
            ],
            "published": {"frozen Inception v3 by retrain.py, validation (tutorial)": 0.91},
            "protocol": "a tutorial's validation images, which are not those of the official test",
            "caveat": "The images come from ImageNet, so a network trained on ImageNet may have seen the test images, "
            "labels included: its figures say little of dogs that are new to it.",
        },
        _arrange_dogs,
        (
            Source(_DOGS + "lists.tar", 481280, "34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c"),
            Source(_DOGS + "images.tar", 793579520, "a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58"),
        ),
    ),
    "flower-photos": Dataset(
        {
            "title": "TensorFlow's flower photos: daisy, dandelion, roses, sunflowers, tulips",
            "images": 3670,
            "labels": 5,
            "licence": "CC BY 2.0; LICENSE.txt beside the images names the photographers to credit",
            "cite": ["The TensorFlow Team 2019, Flowers, download.tensorflow.org/example_images/flower_photos.tgz"],
            "caveat": "There is no official split, so figures of different splits are hard to compare.",
        },
        _arrange_flowers,
        (
            Source(
                "http://download.tensorflow.org/example_images/flower_photos.tgz",
                228_813_984,
                "4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
            ),
        ),
    ),
}
