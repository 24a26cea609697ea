"""Runs the code blocks of a page in the page's own folder, shortened where they would take long."""

import contextlib
import glob
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from snippet_checks import check_command, check_python, handpose_words, parse
from snippet_inputs import Inputs
from snippet_pages import ROOT, Block
from snippet_shell import commands_of

from handpose.cli import main
from handpose.engine import load_config

COPIED = ('configs', 'constraints.txt', 'Makefile', 'setup.py', 'docs/ablations')
OUTPUTS = ('-o', '--out', '--output')


@dataclass
class PageRun:
    """What the blocks of a page share: a folder, and the names of its Python code.

    Attributes:
        page: its path in the repository.
        folder: the page's own, as a reader's clone of the repository.
        inputs: the files that the page's reader has.
        not_run: patterns of commands that cannot run in a test, and why.
        shorter: patterns of commands that take long, and the words that the test adds to them.
        names: the variables that the page's code takes from its reader.
        counts: how many blocks of each language were run, checked, and so on.
    """

    page: str
    folder: Path
    inputs: Inputs
    not_run: Mapping[str, str]
    shorter: Mapping[str, Sequence[str]]
    names: dict[str, Any] = field(default_factory=dict)
    counts: Counter = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for name in COPIED:
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile)(ROOT / name, target)
        (self.folder / 'tools').symlink_to(ROOT / 'tools')
        self.names['__name__'] = '__main__'

    def run(self, block: Block) -> None:
        """Runs or checks a block; counts what was done."""
        kind, text = block.note or (None, '')
        if kind == 'file':
            path = self.folder / text
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif kind == 'run by':
            assert Path(block.page).name in (ROOT / text).read_text(), f'{text} does not mention the page'
        if block.language == 'bash':
            self._run_shell(block, only_checked=kind == 'not run')
            return
        if block.language == 'python':
            check_python(block.text, str(block))
            if kind is None:
                self._run_python(block)
        self.counts['checked' if kind == 'not run' else 'run'] += 1

    def _run_python(self, block: Block) -> None:
        for word in re.findall(r"'([^'\n]+)'", block.text):
            self.inputs.provide(word, self.page, self.folder)
        code = compile('\n' * (block.line - 1) + block.text, str(ROOT / block.page), 'exec')  # lines as on the page
        with _chdir(self.folder):
            exec(code, self.names)

    def _run_shell(self, block: Block, only_checked: bool) -> None:
        done = Counter()
        with _chdir(self.folder):
            for words in commands_of(block.text, self.folder):
                # Bash has left patterns alone that match only what earlier commands of the block have written.
                words = [file for word in words for file in sorted(glob.glob(word)) or [word]]
                with _naming(words):
                    check_command(words)
                    reason = only_checked or self.reason_not_to_run(words)
                    done['checked' if reason else 'run'] += 1
                    if not reason:
                        start = time.process_time()
                        self._run_command(words)
                        print(f'{time.process_time() - start:5.1f} s  {" ".join(words)}')
        assert done, f'{block} has no commands'
        self.counts['run' if done['run'] else 'checked'] += 1

    def reason_not_to_run(self, words: Sequence[str]) -> str | None:
        """Why a test cannot run a command, or None."""
        ours = handpose_words(words)
        line = ' '.join(words if ours is None else ['handpose', *ours])
        return next((reason for pattern, reason in self.not_run.items() if re.search(pattern, line)), None)

    def _shortened(self, ours: Sequence[str]) -> list[str]:
        """The words that are added to a command."""
        line = ' '.join(['handpose', *ours])
        return [word for pattern, more in self.shorter.items() if re.search(pattern, line) for word in more]

    def _provide_data(self, ours: Sequence[str]) -> None:
        """Puts the data that a command's config reads where it reads them."""
        arguments = parse(*ours)
        name, options = vars(arguments).get('config'), vars(arguments).get('cfg_options')
        if name and ours[0] != 'make-data':
            for value in load_config(name, options).values():
                if isinstance(value, str):
                    self.inputs.provide(value, self.page, self.folder)

    def _run_command(self, words: Sequence[str]) -> None:
        ours = handpose_words(words)
        assert ours is not None, 'nothing runs this command, and no reason says why'
        for before, word in pairwise(words):
            if before not in OUTPUTS:
                self.inputs.provide(word, self.page, self.folder)
        ours = [*ours, *self._shortened(ours)]
        self._provide_data(ours)
        try:
            main(None, ours)
        except SystemExit as end:
            assert end.code in (0, None), f'it ends with {end.code}'
        for before, word in pairwise(words):
            assert before not in OUTPUTS or list(self.folder.glob(f'{Path(word).with_suffix("")}*')), f'no {word}'


@contextlib.contextmanager
def _chdir(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _naming(words: Sequence[str]) -> Iterator[None]:
    """Adds the command to the message of an error."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f'{" ".join(words)}\n{type(error).__name__}: {error}') from error
