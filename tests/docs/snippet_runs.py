"""Runs the code blocks of a page in the page's own folder, shortened where they would take long."""

import contextlib
import glob
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from snippet_checks import check_command, check_python, handpose_words, parse
from snippet_inputs import Inputs
from snippet_pages import ROOT, Block
from snippet_shell import commands_of

from handpose.cli import main
from handpose.engine import load_config

COPIED = ('configs', 'constraints.txt', 'Makefile', 'setup.py', 'docs/ablations')
OUTPUTS = ('-o', '--out', '--output')
DATA_ROOTS = {'data_root', 'assembly101_root'}
PARSERS = {'json': json.loads, 'yaml': yaml.safe_load}


def line_of(words: Sequence[str]) -> str:
    """A command as one text; `python tools/train.py ...` is `handpose train ...`."""
    ours = handpose_words(words)
    return ' '.join(words if ours is None else ['handpose', *ours])


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
    """

    page: str
    folder: Path
    inputs: Inputs
    not_run: Mapping[str, str]
    shorter: Mapping[str, Sequence[str]]
    names: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in COPIED:
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile)(ROOT / name, target)
        (self.folder / 'tools').symlink_to(ROOT / 'tools')
        self.names['__name__'] = '__main__'

    def run(self, block: Block) -> str:
        """Runs or checks a block.

        Returns:
            What was done: 'run', 'checked' (not run), 'parsed' (a format) or 'text' (no code).

        Raises:
            Exception: whatever is wrong with the block.
        """
        kind, what = block.note or (None, '')
        if kind == 'file':
            path = self.folder / what
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding='utf-8')
        elif kind == 'run by':
            assert Path(block.page).name in (ROOT / what).read_text(), f'{what} does not mention the page'
            return 'run'
        if block.language == 'bash':
            return self._run_shell(block, only_checked=kind == 'not run')
        if block.language == 'python':
            check_python(block.text, str(block))
            if kind is None:
                self._run_python(block)
            return 'checked' if kind == 'not run' else 'run'
        if block.language not in PARSERS:
            return 'text'
        PARSERS[block.language](block.text)
        return 'parsed'

    def _run_python(self, block: Block) -> None:
        for word in re.findall(r"'([^'\n]+)'", block.text):
            self.inputs.provide(word, self.page, self.folder)
        code = compile('\n' * (block.line - 1) + block.text, str(ROOT / block.page), 'exec')  # lines as on the page
        with _chdir(self.folder):
            exec(code, self.names)

    def _run_shell(self, block: Block, only_checked: bool) -> str:
        done = set()
        with _chdir(self.folder):
            for words in commands_of(block.text, self.folder):
                # Bash has left patterns alone that match only what earlier commands of the block have written.
                words = [file for word in words for file in sorted(glob.glob(word)) or [word]]
                with _naming(words):
                    check_command(words)
                    reason = only_checked or self.reason_not_to_run(words)
                    done.add('checked' if reason else 'run')
                    if not reason:
                        start = time.process_time()
                        self._run_command(words)
                        print(f'{time.process_time() - start:5.1f} s  {" ".join(words)}')
        assert done, 'the block has no commands'
        return 'run' if 'run' in done else 'checked'

    def reason_not_to_run(self, words: Sequence[str]) -> str | None:
        """Why a test cannot run a command, or None."""
        line = line_of(words)
        return next((reason for pattern, reason in self.not_run.items() if re.search(pattern, line)), None)

    def _provide_data(self, ours: Sequence[str]) -> None:
        """Puts the data that a command's config reads where it reads them."""
        arguments = parse(*ours)
        name, options = vars(arguments).get('config'), vars(arguments).get('cfg_options')
        if name and ours[0] != 'make-data':
            config = load_config(name, options)
            for key in DATA_ROOTS & config.keys():
                self.inputs.provide(str(config[key]), self.page, self.folder)

    def _run_command(self, words: Sequence[str]) -> None:
        ours = handpose_words(words)
        assert ours is not None, 'nothing runs this command, and no reason says why'
        for before, word in pairwise(words):
            if before not in OUTPUTS:
                self.inputs.provide(word, self.page, self.folder)
        ours += [word for pattern, more in self.shorter.items() if re.search(pattern, line_of(words)) for word in more]
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
