"""Calibration data, labels, images and the embedded models, read lazily."""

from mipin_ref.data.arrays import as_samples
from mipin_ref.data.boxes import open_boxes
from mipin_ref.data.calibration import Calibration
from mipin_ref.data.embedded import Builtin, builtin, builtin_names
from mipin_ref.data.preprocessing import Preprocessing, Source
from mipin_ref.data.readers import open_array, open_data, open_labels
from mipin_ref.data.seen import Seen
from mipin_ref.data.shared import SharedFile
from mipin_ref.data.view import Samples, first, left_out_of, names_of, turned_of

__all__ = [
    "Builtin",
    "Calibration",
    "Preprocessing",
    "Samples",
    "Seen",
    "SharedFile",
    "Source",
    "as_samples",
    "builtin",
    "builtin_names",
    "first",
    "left_out_of",
    "names_of",
    "open_array",
    "open_boxes",
    "open_data",
    "open_labels",
    "turned_of",
]
