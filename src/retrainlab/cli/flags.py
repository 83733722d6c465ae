"""The flags of retrain.py: names, defaults, and what they mean here."""

from dataclasses import dataclass, field
from typing import Any

from ..errors import RetrainLabError

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_PLACES = ("output_graph", "intermediate_output_graphs_dir", "output_labels", "summaries_dir", "bottleneck_dir",
           "checkpoint_path")  # fmt: skip


def _flag(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Flags:
    """The flags of retrain.py, with its defaults but for `validation_batch_size`; the last two are new."""

    image_dir: str = _flag("", "Needed: the folder of labelled images.")
    output_graph: str = _flag("/tmp/output_graph.pb", "Where to write the trained frozen graph.")
    intermediate_output_graphs_dir: str = _flag(
        "/tmp/intermediate_graph/", "Folder of the intermediate graphs, named intermediate_STEP.pb."
    )
    intermediate_store_frequency: int = _flag(0, "Write an intermediate graph every so many steps; 0 for never.")
    output_labels: str = _flag("/tmp/output_labels.txt", "Where to write the labels, one a line, in class order.")
    summaries_dir: str = _flag(
        "/tmp/retrain_logs",
        "TensorBoard's logs, in the subfolders train and validation. Those of an earlier training are not deleted but "
        "moved to a subfolder named by their time.",
    )
    how_many_training_steps: int = _flag(4000, "Batches to train on.")
    learning_rate: float = _flag(0.01, "How far a step of gradient descent goes.")
    testing_percentage: int = _flag(10, "Percent of the images that are kept for the final test.")
    validation_percentage: int = _flag(10, "Percent of the images that are kept for validation.")
    eval_step_interval: int = _flag(
        10,
        "Steps between evaluations, each of the whole training and validation split, so that they can be compared. "
        "With tens of thousands of images they cost more than the steps themselves: 100 draws the same curves sooner.",
    )
    train_batch_size: int = _flag(100, "Images a batch: a label is drawn, then an image of it, with replacement.")
    test_batch_size: int = _flag(-1, "How many test images to draw for the final test; -1 for all.")
    validation_batch_size: int = _flag(
        -1,
        "How many validation images to draw for the evaluations; -1 for all. retrain.py drew 100 anew at each "
        "evaluation, which saved time that is not spent any more and made the curve ragged.",
    )
    print_misclassified_test_images: bool = _flag(False, "List the test images that got a wrong label.")
    bottleneck_dir: str = _flag(
        "/tmp/bottleneck",
        "The cache of bottlenecks. The system may empty /tmp: name a lasting place to have them next month.",
    )
    final_tensor_name: str = _flag("final_result", "Name of the output of the trained graph.")
    flip_left_right: bool = _flag(False, "Distortion: mirror every other training image.")
    random_crop: int = _flag(0, "Distortion: percent of a margin to cut a random box from.")
    random_scale: int = _flag(0, "Distortion: percent to enlarge by at most.")
    random_brightness: int = _flag(0, "Distortion: percent to brighten or darken by at most.")
    tfhub_module: str = _flag(
        "https://tfhub.dev/google/imagenet/inception_v3/feature_vector/3",
        "The pretrained network: an address on TF Hub, a Kaggle handle, the folder of a SavedModel, or one that needs "
        "no network: efficientnet_lite0, efficientnet_lite1, efficientnet_lite2.",
    )
    saved_model_dir: str = _flag("", "Folder to write a SavedModel for serving to: input `image`, output `prediction`.")
    logging_verbosity: str = _flag("INFO", "How much to say: DEBUG, INFO, WARN, ERROR or FATAL.")
    checkpoint_path: str = _flag("/tmp/_retrain_checkpoint", "Where to write the checkpoint of the trained layer.")
    distortion_variants: int = _flag(
        8, "New: how many distorted variants of each training image are made, once, and cached."
    )
    image_size: int = _flag(0, "New: pixels a side, for modules that take any size; 0 for what the module asks for.")

    def __post_init__(self) -> None:
        expected = {
            "image_dir": (self.image_dir != "", "the folder of labelled images"),
            "tfhub_module": (self.tfhub_module != "", "a module's address or folder, or the name of an embedded one"),
            "testing_percentage": (0 <= self.testing_percentage < 100, "a percentage from 0 to 99"),
            "validation_percentage": (
                0 <= self.validation_percentage < 100 - self.testing_percentage,
                f"a percentage from 0 to {99 - self.testing_percentage}: testing_percentage is "
                f"{self.testing_percentage}, and some images must be left for training",
            ),
            "intermediate_store_frequency": (self.intermediate_store_frequency >= 0, "a whole number from 0 up"),
            "eval_step_interval": (self.eval_step_interval >= 1, "a whole number from 1 up"),
            "test_batch_size": (self.test_batch_size == -1 or self.test_batch_size >= 1, "-1 or a number from 1 up"),
            "validation_batch_size": (
                self.validation_batch_size == -1 or self.validation_batch_size >= 1,
                "-1 or a number from 1 up",
            ),
            "logging_verbosity": (self.logging_verbosity in LEVELS, f"one of {', '.join(LEVELS)}"),
            "distortion_variants": (1 <= self.distortion_variants <= 255, "a whole number from 1 to 255"),
            "image_size": (self.image_size >= 0, "a whole number from 0 up"),
        }
        expected |= {name: (getattr(self, name) != "", "a place to write to") for name in _PLACES}
        for name, (fits, what) in expected.items():
            if not fits:
                raise RetrainLabError(f"--{name} is {getattr(self, name)!r}. Expected {what}.")
