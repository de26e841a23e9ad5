"""Calibration data, labels, images and the embedded models, read lazily."""

from mipin_ref.data.arrays import as_samples
from mipin_ref.data.boxes import open_boxes
from mipin_ref.data.calibration import Calibration
from mipin_ref.data.embedded import Builtin, builtin, builtin_names
from mipin_ref.data.numpy_files import named_by
from mipin_ref.data.part import files_of, first, holds_pixels, left_out_of, names_of, part, turned_of
from mipin_ref.data.preprocessing import Preprocessing, Source
from mipin_ref.data.presets import PRESETS, preprocessing_named
from mipin_ref.data.readable import Readable, none_readable, read_readable
from mipin_ref.data.readers import open_array, open_data, open_labels
from mipin_ref.data.seen import Seen
from mipin_ref.data.shared import SharedFile
from mipin_ref.data.view import Samples

__all__ = [
    "PRESETS",
    "Builtin",
    "Calibration",
    "Preprocessing",
    "Readable",
    "Samples",
    "Seen",
    "SharedFile",
    "Source",
    "as_samples",
    "builtin",
    "builtin_names",
    "files_of",
    "first",
    "holds_pixels",
    "left_out_of",
    "named_by",
    "names_of",
    "none_readable",
    "open_array",
    "open_boxes",
    "open_data",
    "open_labels",
    "part",
    "preprocessing_named",
    "read_readable",
    "turned_of",
]
