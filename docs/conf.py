"""How Sphinx builds these pages, without a network: no fonts, scripts or indexes from elsewhere."""

import sys
from pathlib import Path

from gemmbench import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "gemmbench"
author = "The gemmbench authors"
project_copyright = "The gemmbench authors, Apache 2.0"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_click",
    "sphinx_copybutton",
    "from_program",
]
exclude_patterns = ["_ext"]
default_role = "literal"  # `x` in a docstring is code
highlight_language = "none"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 80
add_module_names = False

myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"gemmbench {__version__}"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}
