"""One test for each flag of retrain.py: that it does what it says."""

import logging
import shutil
from dataclasses import fields

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import make_folder, mounted
from PIL import Image

from retrainlab.cli import retrain
from retrainlab.cli.flags import Flags
from retrainlab.cli.main import main
from retrainlab.errors import RetrainLabError
from retrainlab.export import contracts
from retrainlab.labeling import answering, labelers
from retrainlab.pixels.levels import Levels

# The table of the reference: retrain.py's defaults.
DEFAULTS = {
    "image_dir": "", "output_graph": "/tmp/output_graph.pb",
    "intermediate_output_graphs_dir": "/tmp/intermediate_graph/", "intermediate_store_frequency": 0,
    "output_labels": "/tmp/output_labels.txt", "summaries_dir": "/tmp/retrain_logs", "how_many_training_steps": 4000,
    "learning_rate": 0.01, "testing_percentage": 10, "validation_percentage": 10, "eval_step_interval": 10,
    "train_batch_size": 100, "test_batch_size": -1, "validation_batch_size": 100,
    "print_misclassified_test_images": False, "bottleneck_dir": "/tmp/bottleneck",
    "final_tensor_name": "final_result", "flip_left_right": False, "random_crop": 0, "random_scale": 0,
    "random_brightness": 0,
    "tfhub_module": "https://tfhub.dev/google/imagenet/inception_v3/feature_vector/3", "saved_model_dir": "",
    "logging_verbosity": "INFO", "checkpoint_path": "/tmp/_retrain_checkpoint",
}  # fmt: skip


@pytest.fixture
def usual(tmp_path, photos, module, bottleneck_dir):
    """Flags of a quick training with all outputs in a temporary folder."""
    return {
        "image_dir": str(photos), "tfhub_module": str(module), "bottleneck_dir": str(bottleneck_dir),
        "output_graph": str(tmp_path / "graph.pb"), "output_labels": str(tmp_path / "labels.txt"),
        "summaries_dir": str(tmp_path / "logs"), "checkpoint_path": str(tmp_path / "checkpoint"),
        "intermediate_output_graphs_dir": str(tmp_path / "between"), "how_many_training_steps": 60,
        "learning_rate": 0.5, "testing_percentage": 20, "validation_percentage": 20, "eval_step_interval": 30,
    }  # fmt: skip


@pytest.fixture
def run(usual, caplog):
    """Retrain; returns (metrics, said)."""

    def call(**flags):
        caplog.clear()
        caplog.set_level("INFO", logger="retrainlab")
        metrics = retrain.retrain(Flags(**(usual | flags)))
        return metrics, [record.getMessage() for record in caplog.records]

    return call


@pytest.fixture
def command(usual):
    """Call `retrainlab retrain` with the flags as a person types them; True stands for a flag without a value."""
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # as `backend` does where it is the first to import TensorFlow
    root, own = logging.getLogger(), logging.getLogger("retrainlab")
    handlers, level = root.handlers[:], own.level
    root.handlers[:] = []  # the command sets up the log anew

    def call(joined=True, **flags):
        words = []
        for name, value in (usual | flags).items():
            words += [f"--{name}"] if value is True else [f"--{name}={value}"] if joined else [f"--{name}", str(value)]
        return CliRunner().invoke(main, ["retrain", *words])

    yield call
    root.handlers[:] = handlers
    own.setLevel(level)


def kernel(tmp_path):
    import tensorflow as tf

    return tf.train.load_checkpoint(str(tmp_path / "checkpoint")).get_tensor("final_retrain_ops/weights/final_weights")


def graph_probabilities(file, output="final_result"):
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(file.read_bytes()), name="import")
        with tf.compat.v1.Session(graph=graph) as session:
            pixels = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
            return session.run(f"import/{output}:0", {"import/Placeholder:0": pixels})


def scalars(folder, tag="accuracy"):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    events = EventAccumulator(str(folder), {"tensors": 0}).Reload()
    return {event.step: float(tensor_util.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)}


def test_every_flag_is_there_with_its_default():
    own = {flag.name: flag.default for flag in fields(Flags)}
    assert own.pop("distortion_variants") == 8 and own.pop("image_size") == 0  # the new ones
    assert own == DEFAULTS | {"validation_batch_size": -1}  # the one that differs, and the help says why
    shown = CliRunner().invoke(main, ["retrain", "--help"]).output
    assert all(f"--{name} " in shown or f"--{name}\n" in shown for name in DEFAULTS)


def test_all_flags_in_both_spellings_do_the_same(command, tmp_path):
    flags = {
        "intermediate_store_frequency": 30, "eval_step_interval": 20, "train_batch_size": 50, "test_batch_size": 9,
        "validation_batch_size": -1, "print_misclassified_test_images": True, "final_tensor_name": "my/result",
        "flip_left_right": True, "random_crop": 10, "random_scale": 5, "random_brightness": 10,
        "saved_model_dir": tmp_path / "saved", "logging_verbosity": "WARN", "distortion_variants": 2, "image_size": 32,
    }  # fmt: skip
    found = {}
    for joined in (True, False):
        done = command(joined, **flags)
        assert (done.exit_code, done.output) == (0, "")
        assert (tmp_path / "labels.txt").read_text() == "blue\ngreen\nred\n"
        assert (tmp_path / "between" / "intermediate_30.pb").exists() and (tmp_path / "saved/saved_model.pb").exists()
        found[joined] = kernel(tmp_path), graph_probabilities(tmp_path / "graph.pb", "my/result")
        (tmp_path / "between" / "intermediate_30.pb").unlink()
    assert all(np.array_equal(one, other) for one, other in zip(found[True], found[False], strict=True))


def test_flag_image_dir(run, photos, tmp_path):
    metrics, _ = run()
    assert sum(metrics[split]["n"] for split in ("train", "validation", "test")) == 90
    done = CliRunner().invoke(main, ["retrain", "--image_dir", str(tmp_path / "none")])
    assert done.exit_code == 1 and "does not exist" in done.output and "Traceback" not in done.output


def test_flag_output_graph_and_output_labels(run, tmp_path):
    run()
    assert graph_probabilities(tmp_path / "graph.pb").sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert (tmp_path / "labels.txt").read_text() == "blue\ngreen\nred\n"


def test_flag_intermediate_graphs(run, tmp_path):
    run()
    assert not (tmp_path / "between").exists()
    run(intermediate_store_frequency=25)
    assert sorted(file.name for file in (tmp_path / "between").iterdir()) == [
        "intermediate_25.pb",
        "intermediate_50.pb",
    ]
    early, late = (graph_probabilities(tmp_path / "between" / f"intermediate_{step}.pb") for step in (25, 50))
    assert np.abs(early - late).max() > 1e-3


def test_flag_summaries_dir(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run()
    events = EventAccumulator(str(tmp_path / "logs" / "train"), {"tensors": 0}).Reload()
    tags = set(events.Tags()["tensors"])
    for name in ("weights", "biases"):
        for statistic in ("mean", "stddev", "max", "min", "histogram"):
            assert f"final_retrain_ops/{name}/summaries/{statistic}" in tags
    assert {"accuracy", "cross_entropy", "activations", "final_retrain_ops/Wx_plus_b/pre_activations"} <= tags
    assert events.Tags()["graph"]
    assert scalars(tmp_path / "logs" / "validation")


def test_flag_how_many_training_steps(run, tmp_path):
    run(how_many_training_steps=30)
    assert max(scalars(tmp_path / "logs" / "train")) == 30


def test_flag_learning_rate(run, tmp_path):
    run(learning_rate=0.001)
    small = np.abs(kernel(tmp_path)).max()
    run(learning_rate=0.5)
    assert np.abs(kernel(tmp_path)).max() > 10 * small


def test_flag_testing_percentage_and_validation_percentage(run):
    fewer, _ = run(testing_percentage=0, validation_percentage=10)
    more, said = run(testing_percentage=40, validation_percentage=30)
    assert fewer["test"]["n"] == 0 and 20 < more["test"]["n"] < 50
    assert fewer["validation"]["n"] < more["validation"]["n"]
    assert any(f"(N={more['test']['n']})" in line for line in said)


def test_flag_eval_step_interval(run, tmp_path):
    run(eval_step_interval=20)
    assert sorted(scalars(tmp_path / "logs" / "validation")) == [0, 20, 40, 60]


def test_flag_train_batch_size(run, tmp_path):
    run(learning_rate=1e-9, how_many_training_steps=1)
    before, spread = kernel(tmp_path), {}
    for size in (1, 100):
        run(train_batch_size=size, how_many_training_steps=1)
        values = np.linalg.svd(kernel(tmp_path) - before, compute_uv=False)
        spread[size] = values[1] / values[0]
    assert spread[1] < 1e-3 < spread[100]  # one image's gradient is an outer product: of rank one


def test_flag_test_batch_size_and_validation_batch_size(run, tmp_path):
    whole, _ = run()
    metrics, said = run(test_batch_size=5, validation_batch_size=4)
    assert whole["test"]["n"] > 5 and whole["validation"]["n"] > 4
    assert (metrics["test"]["n"], metrics["validation"]["n"]) == (5, 4)
    assert any("(N=5)" in line for line in said)
    assert all((4 * value) == pytest.approx(round(4 * value), abs=1e-5)
               for value in scalars(tmp_path / "logs" / "validation").values())  # fmt: skip


def test_flag_print_misclassified_test_images(run):
    # one step of hardly any length: most images are still got wrong
    usual = {"how_many_training_steps": 1, "learning_rate": 1e-6}
    _, silent = run(**usual)
    metrics, said = run(**usual, print_misclassified_test_images=True)
    assert "=== MISCLASSIFIED TEST IMAGES ===" not in silent
    listed = said[said.index("=== MISCLASSIFIED TEST IMAGES ===") + 1 :]
    listed = [line.rsplit("  ", 1) for line in listed if ".jpg  " in line or ".png  " in line]
    test = metrics["test"]
    assert len(listed) == round(test["n"] * (1 - test["accuracy"])) > 0
    assert all(path.strip().split("/")[0] != label for path, label in listed)


def test_flag_bottleneck_dir(run, tmp_path):
    _, first = run(bottleneck_dir=str(tmp_path / "cache"))
    _, second = run(bottleneck_dir=str(tmp_path / "cache"))
    assert "90 computed" in first[1] and "90 bottlenecks from the cache, none computed" in second[1]
    assert list((tmp_path / "cache").rglob("*.arrow"))


def test_flag_final_tensor_name(run, tmp_path):
    run(final_tensor_name="my_result", saved_model_dir=str(tmp_path / "saved"))
    assert graph_probabilities(tmp_path / "graph.pb", "my_result").shape == (2, 3)


@pytest.mark.parametrize(
    "flag", [{"flip_left_right": True}, {"random_crop": 20}, {"random_scale": 20}, {"random_brightness": 20}]
)
def test_flags_of_distortions(run, tmp_path, flag):
    cache = str(tmp_path / "cache")
    run(bottleneck_dir=cache)
    plain = kernel(tmp_path)
    metrics, said = run(**flag, bottleneck_dir=cache, distortion_variants=2)
    (line,) = [line for line in said if "distorted images" in line]
    assert f"{2 * metrics['train']['n']} computed" in line.replace(",", "")
    assert np.abs(kernel(tmp_path) - plain).max() > 1e-4  # it has learnt from other images
    _, again = run(**flag, bottleneck_dir=cache, distortion_variants=2)
    assert any("distorted images" in line and "none computed" in line for line in again)


def test_flag_tfhub_module(run, tmp_path):
    from conftest import save_module

    run(tfhub_module=str(save_module(tmp_path / "wide", dim=31)))
    assert kernel(tmp_path).shape == (31, 3)


def test_flag_image_size(run, tmp_path):
    import tensorflow as tf

    saved = tf.train.Checkpoint()
    saved.__call__ = tf.function(
        lambda images: tf.reduce_mean(images, [1, 2]), input_signature=[tf.TensorSpec([None, None, None, 3])]
    )
    tf.saved_model.save(saved, str(tmp_path / "any"))
    with pytest.raises(RetrainLabError, match="takes images of any size"):
        run(tfhub_module=str(tmp_path / "any"))
    run(tfhub_module=str(tmp_path / "any"), image_size=20)
    definition = tf.compat.v1.GraphDef.FromString((tmp_path / "graph.pb").read_bytes())
    (shape,) = [node.attr["shape"].shape for node in definition.node if node.name == "Placeholder"]
    assert [side.size for side in shape.dim] == [-1, 20, 20, 3]
    with pytest.raises(RetrainLabError, match="does not take images of 20 x 20 pixels"):
        run(image_size=20)  # the tiny module of all tests takes 32 x 32


def test_flag_saved_model_dir(run, tmp_path, photos):
    import tensorflow as tf

    run()
    assert not (tmp_path / "saved").exists()
    run(saved_model_dir=str(tmp_path / "saved"))
    image = next(photos.glob("green/*.png"))
    assert answering.label(labelers.load(tmp_path / "saved"), [image])[0]["label"][0] == "green"
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    pixels = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    found = serve(image=tf.constant(pixels))["prediction"].numpy()
    assert found == pytest.approx(graph_probabilities(tmp_path / "graph.pb"), abs=1e-5)


def test_flag_logging_verbosity(command, tmp_path):
    few = make_folder(tmp_path / "few", {"many": 30, "few": 5})
    said = {}
    for level, often in {"DEBUG": 1, "INFO": 1, "WARN": 20, "ERROR": 20, "FATAL": 20}.items():
        done = command(logging_verbosity=level, image_dir=few, how_many_training_steps=20, eval_step_interval=often)
        assert done.exit_code == 0
        said[level] = [line.partition(":")[0] for line in done.stderr.splitlines()]
    assert set(said["DEBUG"]) == {"DEBUG", "INFO", "WARNING"} and set(said["INFO"]) == {"INFO", "WARNING"}
    assert set(said["WARN"]) == {"WARNING"} and said["ERROR"] == said["FATAL"] == []


def test_flag_checkpoint_path(run, tmp_path):
    import tensorflow as tf

    run()
    saved = tf.train.load_checkpoint(str(tmp_path / "checkpoint"))
    assert saved.get_tensor("final_retrain_ops/weights/final_weights").shape == (24, 3)
    assert saved.get_tensor("final_retrain_ops/biases/final_biases").shape == (3,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--imag_dir", "x"], "--image_dir"),
        (["--learning_rate=fast"], "'fast' is not a valid float"),
        (["--image_dir=x", "--train_batch_size", "0"], "train_batch_size is 0. Expected a whole number from 1 to"),
        (["--image_dir=x", "--random_crop=-1"], "random_crop is -1. Expected a percentage"),
        (["--image_dir=x", "--logging_verbosity=LOUD"], "Expected one of DEBUG, INFO"),
        (["--image_dir=x", "--test_batch_size=0"], "--test_batch_size is 0. Expected -1 or"),
        (["--image_dir=x", "--testing_percentage=60", "--validation_percentage=40"], "is 40. Expected a percentage fr"),
        (["--image_dir=x", "--testing_percentage=-1"], "testing_percentage is -1. Expected a percentage from 0 to 99"),
        (["--image_dir=x", "--distortion_variants=300"], "is 300. Expected a whole number from 1 to 255"),
        (["--image_dir=x", "--image_size=-1"], "--image_size is -1. Expected a whole number"),
        (["--image_dir=x", "--tfhub_module="], "--tfhub_module is ''. Expected a module's address"),
        (["--image_dir=x", "--output_graph="], "--output_graph is ''. Expected a place to write to"),
        ([], "--image_dir is ''"),
    ],
)
def test_bad_flags_end_in_one_sentence(arguments, said):
    done = CliRunner().invoke(main, ["retrain", *arguments])
    assert done.exit_code in (1, 2) and said in done.output
    assert done.output.count("\n") == 1 and "Traceback" not in done.output


@pytest.mark.parametrize("name", ["", "two words", "placeholder", "Bottleneck", "final_retrain_ops", "result:0", "a/"])
def test_a_name_that_the_output_cannot_have_is_said_before_any_work(run, tmp_path, name):
    with pytest.raises(RetrainLabError, match=f"final_tensor_name is '{name}', which the output .* cannot be called"):
        run(final_tensor_name=name, bottleneck_dir=str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").rglob("*.arrow"))


@pytest.mark.parametrize(
    "flag", ["output_graph", "output_labels", "checkpoint_path", "summaries_dir", "saved_model_dir",
             "intermediate_output_graphs_dir"]
)  # fmt: skip
def test_a_place_that_cannot_be_written_is_said_before_any_work(run, tmp_path, flag):
    (tmp_path / "file").touch()
    with pytest.raises(RetrainLabError, match=rf"cannot be written: .*\. Set --{flag} to another place\."):
        run(**{flag: str(tmp_path / "file" / "x")}, intermediate_store_frequency=10, bottleneck_dir=str(tmp_path / "c"))
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("place", ["folder", "folder/file"])
def test_a_folder_of_other_things_is_never_replaced_by_a_saved_model(run, tmp_path, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    with pytest.raises(RetrainLabError, match=r"is there already and is no export with a .*, so it is not replaced\."):
        run(saved_model_dir=str(tmp_path / place), bottleneck_dir=str(tmp_path / "cache"))
    assert (tmp_path / "folder" / "file").exists() and not (tmp_path / "cache").exists()


def test_a_saved_model_takes_the_place_of_an_export_of_ours_alone(run, tmp_path, module):
    shutil.copytree(module, tmp_path / "theirs")
    with pytest.raises(RetrainLabError, match=r"'.*theirs' is there already and is no export with a contract.json"):
        run(saved_model_dir=str(tmp_path / "theirs"))
    saved = tmp_path / "saved"
    run(saved_model_dir=str(saved))
    first = (saved / "contract.json").stat().st_ino
    run(saved_model_dir=str(saved))
    assert (saved / "contract.json").stat().st_ino != first
    (saved / "assets").mkdir(exist_ok=True)
    (saved / "assets" / "notes.txt").write_text("mine")
    with pytest.raises(RetrainLabError, match=r"saved' holds 'notes.txt', which no export has written, so it is not"):
        run(saved_model_dir=str(saved))
    assert (saved / "assets" / "notes.txt").read_text() == "mine"


def test_a_disk_that_fills_up_leaves_all_files_of_the_training_before(run, tmp_path):
    with mounted(tmp_path / "disk", 2) as disk:
        places = {"output_graph": str(tmp_path / "graph.pb"), "output_labels": str(tmp_path / "labels.txt"),
                  "checkpoint_path": str(tmp_path / "checkpoint"), "saved_model_dir": str(disk / "saved")}  # fmt: skip
        run(**places)
        files = [path for path in tmp_path.rglob("*") if path.is_file() and "logs" not in path.parts]
        before = {path: path.read_bytes() for path in files}
        (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - 4096))
        with pytest.raises(RetrainLabError, match=r"saved' cannot be written: No space left on device\. Set"):
            run(**places, learning_rate=0.5)
        assert {path: path.read_bytes() for path in before} == before
        assert not [path for path in [*tmp_path.iterdir(), *disk.iterdir()] if path.name.startswith(".")]


def test_images_of_16_bits_are_on_one_scale_which_is_said_and_exported(run, tmp_path):
    root = make_folder(tmp_path / "images", {"dark": 0, "bright": 0})
    for number in range(15):
        for label, brightness in (("dark", 800), ("bright", 3500)):
            noise = np.random.default_rng(number).integers(0, 100, (40, 48))
            Image.fromarray((brightness + noise).astype(np.uint16)).save(root / label / f"{number}.png")
    metrics, said = run(image_dir=str(root), saved_model_dir=str(tmp_path / "saved"))
    assert metrics["train"]["accuracy"] == 1
    assert "30 images are not of 8 bits: whole numbers are seen from 0 (black) to 4,095 (white)." in said
    assert contracts.read(tmp_path / "saved").levels == Levels((0, 4095))


def test_a_file_that_is_left_out_is_named_once(run, tmp_path):
    root = make_folder(tmp_path / "images", {"a": 15, "b": 15})
    (root / "a" / "empty.png").touch()
    (root / "b" / "text.jpg").write_text("this is no picture")
    _, said = run(image_dir=str(root))
    assert "2 of 32 files are left out." in said and "a/empty.png is left out: the file is empty." in said
    assert all(sum(name in line for line in said) == 1 for name in ("empty.png", "text.jpg"))
    assert not any("`problem`" in line for line in said)


@pytest.mark.parametrize("flag", ["output_graph", "checkpoint_path", "summaries_dir", "bottleneck_dir"])
def test_what_a_saved_model_would_sweep_away_is_said_before_any_work(run, tmp_path, flag):
    (tmp_path / "saved").mkdir()
    with pytest.raises(RetrainLabError, match=rf"^--{flag} .* lies in --saved_model_dir .* replaced as a whole"):
        run(**{flag: str(tmp_path / "saved" / "x")}, saved_model_dir=str(tmp_path / "saved"))


def test_a_module_is_not_replaced_by_what_is_made_of_it(run, module):
    with pytest.raises(RetrainLabError, match=r"^--tfhub_module .* lies in --saved_model_dir"):
        run(saved_model_dir=str(module))


def test_two_outputs_in_one_file(run, tmp_path):
    with pytest.raises(RetrainLabError, match=r"--output_graph and --output_labels are both .*/x'\."):
        run(output_graph=str(tmp_path / "x"), output_labels=str(tmp_path / "logs" / ".." / "x"))


def test_a_disk_error_of_tensorflows_own_is_a_sentence(tmp_path):
    import tensorflow as tf

    (tmp_path / "file").touch()
    said = r"'.*model' cannot be written: .*/file.* Set --x to another place\."
    with pytest.raises(RetrainLabError, match=said), retrain._writing(tmp_path / "model", "x"):
        tf.io.gfile.makedirs(str(tmp_path / "file" / "folder"))
