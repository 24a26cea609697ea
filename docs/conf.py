"""Settings of the documentation site; `make docs` builds it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / '_ext'))

from handpose_docs.links import repository_address

import handpose

project = 'handpose'
author = 'The handpose authors'
project_copyright = author
release = version = handpose.__version__
extensions = [
    'handpose_docs',
    'myst_nb',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx_copybutton',
]
exclude_patterns = ['_ext', '_build']
nitpicky = True

# Markdown: headings are linked by the names that GitHub gives them; notebooks are shown as they are, not executed.
myst_heading_anchors = 4
nb_execution_mode = 'off'

# Docstrings: `name` is a link where such an object exists, and code where it does not.
default_role = 'py:obj'
autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
autodoc_typehints_format = 'short'
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 100

html_theme = 'furo'
html_title = f'handpose {release}'
html_static_path = ['_static']
html_css_files = ['site.css']
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
copybutton_exclude = '.linenos, .gp, .go'
if address := repository_address():
    html_theme_options = {'source_repository': address, 'source_branch': 'main', 'source_directory': 'docs/'}

linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_anchors = False  # pages that scripts render have none
