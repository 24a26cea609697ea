"""The Sphinx extension of this site: pages made from the code, and links that also work on GitHub."""

import inspect
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handpose_docs import api, command_line, config_keys, rst
from handpose_docs.links import DOCS, repository_address, site_links

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

SECTIONS = {'api': api, 'command_line': command_line, 'config_keys': config_keys}
PUBLIC_KINDS = ('class', 'data', 'exception', 'function')


def setup(app: 'Sphinx') -> dict[str, Any]:
    """Connects the extension to Sphinx.

    Args:
        app: the running build.
    """
    app.setup_extension('sphinx.ext.autodoc')  # whose events are used
    app.connect('builder-inited', write_pages)
    app.connect('source-read', rewrite_source)
    app.connect('include-read', rewrite_include)
    app.connect('autodoc-process-docstring', link_docstring)
    app.connect('autodoc-skip-member', skip_member)
    app.connect('missing-reference', resolve_object)
    return {'version': '1', 'parallel_read_safe': True, 'parallel_write_safe': True}


def write_pages(app: 'Sphinx') -> None:
    """Writes the pages made from the code to docs/reference; unchanged ones keep their times and are not built again.

    Args:
        app: the running build.
    """
    for name, section in SECTIONS.items():
        folder = Path(app.srcdir, 'reference', name)
        folder.mkdir(exist_ok=True)
        texts = section.pages()
        for old in folder.glob('*.rst'):
            if old.stem not in texts:
                old.unlink()
        for page, text in texts.items():
            file = folder / f'{page}.rst'
            if not file.exists() or file.read_text(encoding='utf-8') != text:
                file.write_text(text, encoding='utf-8')


def rewrite_source(app: 'Sphinx', docname: str, source: list[str]) -> None:
    """Adapts the links of a page.

    Args:
        app: the running build.
        docname: the page.
        source: its text, replaced.
    """
    file = Path(app.env.doc2path(docname))
    if file.suffix == '.md':
        source[0] = site_links(source[0], file, file, repository_address())
    elif file.suffix == '.ipynb':
        source[0] = with_lexer(source[0])


def with_lexer(notebook: str) -> str:
    """Returns a notebook that says that its cells may hold shell commands; else they are read as Python.

    Args:
        notebook: JSON.
    """
    content = json.loads(notebook)
    content['metadata'].setdefault('language_info', {'name': 'python'})['pygments_lexer'] = 'ipython3'
    return json.dumps(content)


def rewrite_include(app: 'Sphinx', path: Path, parent: str, source: list[str]) -> None:
    """Adapts the links of an included file.

    Args:
        app: the running build.
        path: the file, relative to docs/.
        parent: the page without its folder, which is not used: `env.docname` has all of it.
        source: the text, replaced.
    """
    source[0] = site_links(
        source[0], (DOCS / path).resolve(), Path(app.env.doc2path(app.env.docname)), repository_address()
    )


def link_docstring(app: 'Sphinx', what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turns a docstring into reStructuredText, before its sections are read.

    Args:
        app: the running build.
        what: kind of the object.
        name: its full name.
        obj: the object.
        options: of the directive.
        lines: the docstring, replaced.
    """
    lines[:] = rst.docstring(lines)


def skip_member(app: 'Sphinx', what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leaves out the fields of named tuples whose only text is Python's own; the class describes them.

    Args:
        app: the running build.
        what: kind of the object.
        name: of the member.
        obj: the member.
        skip: what autodoc would do.
        options: of the directive.
    """
    return True if re.match(r'Alias for field number \d+$', inspect.getdoc(obj) or '') else None


def resolve_object(
    app: 'Sphinx', env: 'BuildEnvironment', node: 'pending_xref', contnode: 'nodes.Element'
) -> 'nodes.Element | None':
    """Finds the page of an object that is named by the module that defines it, or only by its own name.

    Args:
        app: the running build.
        env: of the build.
        node: the reference.
        contnode: its text, which stays as it is where the object is not public.
    """
    if node.get('refdomain') != 'py':
        return None
    domain = env.domains.python_domain
    target = node['reftarget']
    name = target.rsplit('.', 1)[-1].removesuffix('()')
    if '.' in target and not target.startswith('handpose.'):
        return contnode  # of another library
    found = [
        path
        for path, item in domain.objects.items()
        if item.objtype in PUBLIC_KINDS and not item.aliased and path.endswith(f'.{name}')
    ]
    if len(found) != 1:
        return contnode
    resolved = domain.resolve_xref(env, node.get('refdoc', ''), app.builder, 'obj', found[0], node, contnode)
    return contnode if resolved is None else resolved
