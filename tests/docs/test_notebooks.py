"""The notebooks run from the first cell to the last, and are stored without outputs.

HANDPOSE_NOTEBOOKS=FOLDER keeps the executed notebooks there, with their images, to look at.
"""

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from zoo_files import needs_opencv, network_or_skip

from handpose.zoo.index import default_index

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / 'docs' / 'notebooks').glob('*.ipynb'))
NAMES = [path.stem for path in NOTEBOOKS]
NEED_NETWORKS = {'video_to_bvh', 'two_cameras_to_recording'}
# IPython goes on after a command that failed; a notebook must not.
STRICT = """
def _strict(run):
    def strict(command):
        run(command)
        if get_ipython().user_ns['_exit_code']:
            raise RuntimeError(f'the command failed: {command}')
    return strict
get_ipython().system = _strict(get_ipython().system)
"""


def test_all_notebooks_are_there():
    assert len(NOTEBOOKS) == 5 and set(NAMES) >= NEED_NETWORKS


@pytest.mark.parametrize('path', NOTEBOOKS, ids=NAMES)
def test_stored_without_outputs(path):
    """Clear them with Jupyter's Edit > Clear Outputs of All Cells, or `jupyter nbconvert --clear-output --inplace`."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    kernel = {'display_name': 'Python 3', 'language': 'python', 'name': 'python3'}
    assert notebook.metadata == {'kernelspec': kernel, 'language_info': {'name': 'python'}}
    for cell in notebook.cells:
        assert not cell.metadata, f'{cell.id} has metadata'
        if cell.cell_type == 'code':
            assert cell.outputs == [] and cell.execution_count is None, f'{cell.id} has outputs'


@pytest.mark.parametrize('path', NOTEBOOKS, ids=NAMES)
def test_how_it_begins(path):
    """A title, how to open it in Colab, and one cell that installs the library there and nothing elsewhere."""
    first, install, *others = nbformat.read(path, as_version=4).cells
    assert first.source.startswith('# ') and '**In Colab:**' in first.source
    *_, condition, command = install.source.splitlines()
    assert condition == "if 'google.colab' in sys.modules:"
    assert re.fullmatch(r'    %pip install -q "handpose\[[\w,]+\]"', command)
    assert not any('pip install' in cell.source for cell in others if cell.cell_type == 'code')


def test_badges_need_an_address():
    address = re.search(r'^repository-code: *(\S+)', (ROOT / 'CITATION.cff').read_text(), re.MULTILINE)
    badges = [path.name for path in NOTEBOOKS if 'colab.research.google.com' in path.read_text()]
    assert address or not badges, f'{badges} link to Colab, and CITATION.cff has no repository-code'


@pytest.mark.timeout(600)
@pytest.mark.parametrize('name', [pytest.param(n, marks=[needs_opencv] if n in NEED_NETWORKS else []) for n in NAMES])
def test_runs(name, tmp_path, monkeypatch):
    if name in NEED_NETWORKS:
        for network in default_index():
            network_or_skip(network)
    path = ROOT / 'docs' / 'notebooks' / f'{name}.ipynb'
    scripts = Path(sys.executable).parent
    monkeypatch.setenv('PATH', f'{scripts}{os.pathsep}{os.environ["PATH"]}')
    monkeypatch.setenv('HANDPOSE_OFFLINE', '1')
    for variable in ('JUPYTER_DATA_DIR', 'JUPYTER_CONFIG_DIR', 'IPYTHONDIR', 'JUPYTER_RUNTIME_DIR'):
        monkeypatch.setenv(variable, str(tmp_path / 'jupyter'))  # nothing of the user's own settings
    work = tmp_path / 'work'
    work.mkdir()
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
    client = NotebookClient(notebook, timeout=500, kernel_name='python3', resources={'metadata': {'path': str(work)}})
    try:
        client.execute()
    finally:
        if folder := os.environ.get('HANDPOSE_NOTEBOOKS'):
            Path(folder).mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, Path(folder) / path.name)
    images = [out for cell in notebook.cells for out in cell.get('outputs', ()) if 'image/png' in out.get('data', {})]
    assert len(images) >= 2, 'a notebook shows what it does in images'
