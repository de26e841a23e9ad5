"""What `explain` writes: a folder of pictures, a page and arrays, of images, signals, table rows and tokens."""

from mipin_ref.report.explained.earlier import NAMES
from mipin_ref.report.explained.folder import ExplainedFolder
from mipin_ref.report.explained.told import ShownClass, ShownSample, Told

__all__ = ["NAMES", "ExplainedFolder", "ShownClass", "ShownSample", "Told"]
