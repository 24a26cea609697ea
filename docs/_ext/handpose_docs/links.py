"""Links of the repository's Markdown files, as the site has them."""

import os
import re
from pathlib import Path

DOCS = Path(__file__).parents[2]
ROOT = DOCS.parent
# Files outside docs/ that a page of the site includes.
INCLUDED = {
    'CHANGELOG.md': 'project/changelog.md',
    'CONTRIBUTING.md': 'project/contributing.md',
    'SECURITY.md': 'project/security_policy.md',
    'README.md': 'index.md',
    'model_zoo.md': 'reference/model_zoo.md',
}
_LINK = re.compile(r'(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)')
_FENCE = re.compile(r'(^ *```.*?^ *```)', re.DOTALL | re.MULTILINE)


def repository_address() -> str | None:
    """Returns the public address of the repository, `repository-code` of CITATION.cff, or None while there is none."""
    found = re.search(r'^repository-code:\s*[\'"]?(\S+?)[\'"]?\s*$', (ROOT / 'CITATION.cff').read_text(), re.MULTILINE)
    return found[1].rstrip('/') if found else None


def site_links(text: str, source: Path, page: Path, address: str | None) -> str:
    """Returns the text of a Markdown file with the links that a page of the site needs.

    Files that the site includes become links to their pages. Other files outside docs/ become links to the repository
    or, while its address is not known, plain text.

    Args:
        text: of the file.
        source: the file, which links are relative to.
        page: the page that shows the text.
        address: of the repository, or None.
    """

    def replace(match: re.Match[str]) -> str:
        target, _, anchor = match['target'].partition('#')
        if not target or '://' in target or target.startswith('mailto:'):
            return match[0]
        path = Path(os.path.normpath(source.parent / target))
        name = path.relative_to(ROOT).as_posix()
        if name in INCLUDED:
            path = DOCS / INCLUDED[name]
        elif DOCS not in path.parents:
            return match['text'] if address is None else f'[{match["text"]}]({address}/blob/main/{name})'
        relative = Path(os.path.relpath(path, page.parent)).as_posix()
        return f'{match["image"]}[{match["text"]}]({relative}{"#" + anchor if anchor else ""})'

    parts = _FENCE.split(text)
    return ''.join(part if i % 2 else _LINK.sub(replace, part) for i, part in enumerate(parts))
