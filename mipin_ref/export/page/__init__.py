"""The explainer as a web page: one file that opens from disk, asks for nothing, and explains what it is given."""

from mipin_ref.export.page.of_export import PageOf
from mipin_ref.export.page.render import Example, page_of
from mipin_ref.export.page.told import Grid, PageInput, Told

__all__ = ["Example", "Grid", "PageInput", "PageOf", "Told", "page_of"]
