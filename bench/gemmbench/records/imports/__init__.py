"""What other tools measured, read into our own words: one file a format.

Nothing here is ours: a run says which tool measured it (`Header.tool`) and how (`Method.preset`),
its verdict is `imported`, and no ratio within a round is ever made of it.
"""

from gemmbench.records.imports.formats import FORMATS, keep, read_foreign
from gemmbench.records.imports.words import Asked

__all__ = ["FORMATS", "Asked", "keep", "read_foreign"]
