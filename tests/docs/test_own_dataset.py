"""docs/guides/your_own_dataset.md: its files and commands, as a reader copies them into an empty folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs' / 'guides' / 'your_own_dataset.md'
BLOCK = re.compile(r'<!-- run by: tests/docs/test_own_dataset.py -->\n```(\w*)\n(.*?)```', re.DOTALL)


@pytest.mark.timeout(900)  # six processes
def test_the_page_works_in_an_empty_folder(tmp_path):
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    printed = {}
    for language, text in BLOCK.findall(PAGE.read_text()):
        if language == 'python':
            name = re.match(r'# (\w+\.py)\n', text)[1]
            (tmp_path / name).write_text(text)
            continue
        for command in text.splitlines():
            program, *words = shlex.split(command)
            assert program == 'python'
            done = subprocess.run(
                [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f'{command}\n{done.stdout}{done.stderr}'
            printed[command] = done.stdout
    assert printed['python check_my_data.py'].startswith('anna_1 torch.Size([8, 1, 3, 120, 160])')
    assert list(tmp_path.glob('work_dirs/*/epoch_2.pth')) and list(tmp_path.glob('work_dirs/browse/*.png'))
    assert '| pa_mpjpe_mm' in printed['python -m handpose test my_config.py']
