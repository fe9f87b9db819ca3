"""What is stored of images and of the training of nets: lines of the schema."""

from __future__ import annotations

from tdtool.store.array_spec import ArraySpec, FileSchema

_CLASS_NAME = ArraySpec("classes/name", ("class",), "S", "the classes, in the order of their numbers")

IMAGES = FileSchema(
    "tdtool.images",
    1,
    "Labelled images, as pixels of one size or as the encoded files, for nets to be trained on.",
    False,
    (
        ArraySpec(
            "pixels/value", ("image", "row", "column", "channel"), "u", "red, green, blue, 0 to 255", optional=True
        ),
        ArraySpec("encoded/start", ("image+1",), "i", "where each image's file starts", "bytes", optional=True),
        ArraySpec("encoded/data", ("byte",), "u", "the files one after the other: JPEG, PNG, ...", optional=True),
        ArraySpec("images/label", ("image",), "i", "class of the image"),
        ArraySpec("images/split", ("image",), "u", "0: for training, 1: for validation, 2: for testing"),
        ArraySpec("images/height", ("image",), "i", "rows of the image", "pixels"),
        ArraySpec("images/width", ("image",), "i", "columns of the image", "pixels"),
        ArraySpec("images/name", ("image",), "S", "name of the image: its path, or its place in the source"),
        _CLASS_NAME,
        ArraySpec("partitions/start", ("partition+1",), "i", "first image of each partition"),
        ArraySpec("partitions/digest", ("partition",), "S", "BLAKE2b-128 of the partition's images and labels"),
    ),
)

TRAINING = FileSchema(
    "tdtool.training",
    1,
    "How the training of a net went, and the factors of its tensor layers.",
    True,
    (
        ArraySpec("steps/step", ("record",), "i", "steps of the optimiser so far, ascending"),
        ArraySpec("steps/loss", ("record",), "f", "training loss, mean since the record before, NaN: diverged"),
        ArraySpec("steps/learning_rate", ("record",), "f", "of the last step"),
        ArraySpec("steps/gradient_norm", ("record",), "f", "before clipping, of the last step, NaN: not known"),
        ArraySpec("steps/rate", ("record",), "f", "since the record before", "images a second"),
        ArraySpec("epochs/epoch", ("evaluation",), "i", "epochs so far, ascending"),
        ArraySpec("epochs/step", ("evaluation",), "i", "steps of the optimiser so far"),
        ArraySpec("epochs/train_loss", ("evaluation",), "f", "mean of the epoch, while it was trained"),
        ArraySpec("epochs/loss", ("evaluation",), "f", "on the images that are scored, NaN: there are none"),
        ArraySpec("epochs/top1", ("evaluation",), "f", "share of them whose class is the first guess"),
        ArraySpec("epochs/top5", ("evaluation",), "f", "share of them whose class is among the first five guesses"),
        _CLASS_NAME,
        ArraySpec(
            "head/factor*", ("mode*", "rank*"), "f", "factor of the head along one mode, classes last", optional=True
        ),
        ArraySpec("head/core", ("rank*",), "f", "core of the head's weight", optional=True),
        ArraySpec("head/bias", ("output",), "f", "what the head adds", optional=True),
    ),
)
