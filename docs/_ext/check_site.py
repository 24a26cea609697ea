"""Checks a built site: python docs/_ext/check_site.py build/site

Every link between pages leads to a page and a heading that exist, the search index knows some terms, and every public
object, command and registered type has an entry. Prints what the site contains.
"""

import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from handpose_docs import api, config_keys

from handpose.cli import COMMANDS

# Titles of the search index, and words of the text (as the index holds them, without endings).
TITLES = ('your first video', 'handpose infer', 'deformer', 'dynamicfusionhead')
WORDS = ('jitter', 'triangul', 'metr')


class PageParser(HTMLParser):
    """Collects the links and the anchors of a page.

    Attributes:
        links: what `href` and `src` name.
        anchors: every `id`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        for name, value in attrs:
            if value and name in ('href', 'src'):
                self.links.append(value)
            elif value and name == 'id':
                self.anchors.add(value)


def parse_pages(site: Path) -> dict[Path, PageParser]:
    """Returns the parsed pages of a site.

    Args:
        site: folder of the built site.
    """
    pages = {}
    for file in sorted(site.rglob('*.html')):
        pages[file.resolve()] = PageParser()
        pages[file.resolve()].feed(file.read_text(encoding='utf-8'))
    return pages


def dead_links(pages: dict[Path, PageParser]) -> tuple[list[str], int, int]:
    """Returns links to missing files or anchors, and the numbers of links between files and to other sites.

    Args:
        pages: all pages of the site.
    """
    dead, internal, external = [], 0, set()
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                external.add(link)
                continue
            internal += 1
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                dead.append(f'{file.name}: {link}')
    return dead, internal, len(external)


def missing_entries(site: Path) -> list[str]:
    """Returns what the search index should contain and does not.

    Args:
        site: folder of the built site.
    """
    text = (site / 'searchindex.js').read_text(encoding='utf-8')
    index = json.loads(text[text.index('(') + 1 : text.rindex(')')])
    titles = {title.lower() for title in index['alltitles']}
    objects = {
        f'{prefix}.{entry[-1]}' if prefix else entry[-1]
        for prefix, entries in index['objects'].items()
        for entry in entries
    }
    missing = [f'title {title}' for title in TITLES if title not in titles]
    missing += [f'word {word}' for word in WORDS if word not in index['terms']]
    missing += [f'command {command}' for command in COMMANDS if f'handpose {command}' not in titles]
    for registry in config_keys.registries().values():
        missing += [f'type {name}' for name in config_keys.own_types(registry) if name.lower() not in titles]
    public = {item.path for items in api.public_objects().values() for item in items}
    return missing + [f'object {path}' for path in sorted(public) if path not in objects]


def main(site: Path) -> None:
    """Checks a site and prints what it contains.

    Args:
        site: its folder.

    Raises:
        SystemExit: a link is dead, or something is missing.
    """
    pages = parse_pages(site)
    dead, internal, external = dead_links(pages)
    missing = missing_entries(site)
    print(f'{len(pages)} pages, {internal} links inside the site of which {len(dead)} are dead, {external} to others')
    if dead or missing:
        sys.exit('\n'.join(['error: the site is not complete', *dead[:50], *missing[:50]]))


if __name__ == '__main__':
    main(Path(sys.argv[1]))
