"""Every code block of the documentation runs, or is checked where a test cannot run it, and says so.

tests/README.md explains how a page says what is special about a block.
"""

import importlib.util
import logging
import re

import pytest
import torch
from scripted_hands import session_of, two_hands
from snippet_checks import REGISTRIES, check_command, check_python
from snippet_inputs import INPUTS, SMALL_DATA, Inputs, data_words, recording_folder
from snippet_names import NAMES
from snippet_pages import LANGUAGES, PAGES, ROOT, Block, blocks_of, name_of
from snippet_runs import PageRun, line_of
from snippet_shell import commands_of

from handpose.cli import live
from handpose.experiments.benchmarks.case import CASES
from handpose.inference import video_hands, video_job
from handpose.inference.annotation import job

# Commands that no test can run, and why; they are checked: arguments, configs with their options, extras, files.
NOT_RUN = {
    r'^(\S*pip|\.venv/bin/pre-commit) install': 'needs the network',
    r'^handpose zoo get ': 'needs the network',
    r'^handpose text-features .*--model ': 'needs the network',
    r'^make ': 'makes a virtual environment; `make smoke` of CI runs `make train`',
    r'^handpose live\b(?!.*--no-window)': 'needs a camera and a window',
    r'^(torchrun|sbatch|tools/(dist|slurm)_)': 'needs several GPUs; tests/engine/test_distributed.py runs the scripts',
    r'^docker ': 'needs docker',
    r'^mlflow |^handpose train .* --logger (wandb|mlflow)': 'needs another extra; tests/engine/test_loggers.py',
    r'^tools/cuda_check.sh': 'needs a GPU; tests/tools/test_cuda_check.py runs it without',
    r'^handpose export-model (?!pdtm_)': 'takes half a minute; tests/export/test_network.py exports every system',
    r' --runtime openvino': "needs the extra 'openvino'",
    r'^handpose ablate\b(?!.*(--dry-run|--report-only))': 'takes hours; tests/experiments/test_ablation.py runs tables',
    r'^handpose benchmark\b(?!.*(--list|--show))': 'takes minutes; tests/experiments/test_benchmark.py runs cases',
    r'^handpose (train|test|browse|predict-dataset) \S*deformer/dexycb': 'needs DexYCB and the files of MANO',
    r'^handpose (train|test) \S*deformer/ho3d': "has the paper's size; tests/datasets/test_ho3d_training.py trains",
    r'^handpose (train|test) \S*pdtm/(dexycb|interhand)\b(?!_)': 'needs DexYCB or InterHand2.6M, and the files of MANO',
    r'^handpose predict-dataset .*data_root=data/rendered': 'needs more recordings; tests/cli/test_predict_dataset.py',
    r'^handpose (train|test) .*(predictions=data/detected|pdtm/mediapipe)': 'needs hands that real networks find',
    r'^handpose (train|test) \S*ghtt/dexycb_motion': "needs DexYCB's labels",
    r'^handpose (train|test) \S*(htt/h2o|ghtt/image)': 'needs H2O',
    r'^handpose (train|test) \S*htt/fpha': 'needs FPHA',
    r'^handpose (train|test) \S*assemblyhands/(mvexonet|svegonet|verbs)': 'needs AssemblyHands',
}
if importlib.util.find_spec('viser') is None:
    NOT_RUN[r'^handpose view (?!.*mark)'] = "needs the extra 'view'"


def small(layout):
    """The options of a config that make its built-in data small and its training short."""
    data = [f'+synthetic_data.{name}={value}' for name, value in {**SMALL_DATA[layout], 'workers': 1}.items()]
    return ['--cfg-options', *data, 'epochs=1', 'batch_size=4', 'num_workers=0']


# Commands that take long: what the test adds to them.
LAYOUTS = ('h2o', 'fpha', 'ho3d', 'interhand', 'assembly101', 'assemblyhands')
WITH_CONFIG = (
    r'^handpose (train|test|make-data|extract-features|forecast-figures|multi-view-report|simulate-predictions) .*\b'
)
SHORTER = {
    WITH_CONFIG + r'deformer/synthetic': [*small('dexycb'), 'clip_step=12'],
    WITH_CONFIG + r'(htt/synthetic|ghtt/synthetic_(image|htt))': small('h2o'),
    WITH_CONFIG + r'(pdtm|kernel_smoother)/synthetic': small('interhand'),
    WITH_CONFIG + r'(ghtt/synthetic_(pose|action)|assemblyhands/synthetic_verbs)': small('assembly101'),
    WITH_CONFIG + r'assemblyhands/synthetic_mvexonet': small('exo'),
    WITH_CONFIG + r'assemblyhands/synthetic_svegonet': small('ego'),
    **{rf'^handpose make-data (?!.*--config).*--layout {name}\b': data_words(name) for name in LAYOUTS},
    r'^handpose make-data --root data/synthetic_dexycb': data_words('dexycb'),
    r'^handpose (train|test) .*kitchen': ['--cfg-options', 'epochs=1', 'batch_size=2', 'num_workers=0'],
    r'^handpose test (?!.*--draw)': ['--draw', '0'],
    r'^handpose test .*--draw': ['--draw', '1'],
    r'^handpose multi-view-report ': ['--views', '2', '--frame-step', '4'],
    r'^handpose make-data .*--serials ': ['--serials', '836212060125'],
    r'^handpose make-data .*--motion ': ['--size', '96', '--cameras', '1', '--workers', '1'],
    r'^handpose forecast-figures ': ['--samples', '2', '--clips', '1', '--seconds', '0.5'],
    r'^handpose noise-report .*--family': ['--family', '2'],
    r'^handpose view (?!.*mark)': ['--no-browser', '--no-mesh'],
    r'^handpose calibrate (?!.*--draw)': ['--every', '1'],
}
BLOCKS = {name_of(page): blocks for page in PAGES if (blocks := blocks_of(page))}


@pytest.fixture(scope='session')
def inputs(tmp_path_factory):
    return Inputs(tmp_path_factory.mktemp('inputs'))


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch, tmp_path_factory):
    """Scripted hands in place of the networks of the detector, and a page of the viewer that is closed at once."""
    monkeypatch.setattr(
        video_job, 'make_session', lambda networks, estimator, licence: session_of(two_hands, licence=licence)
    )
    scene = recording_folder(tmp_path_factory.mktemp('scene'))
    monkeypatch.setattr(job, 'make_session', lambda networks: scene.session())
    monkeypatch.setattr(video_hands, 'Session', lambda keep: session_of(two_hands, keep=keep))
    monkeypatch.setattr(live, 'make_session', lambda networks, keep: session_of(two_hands, keep=keep))
    monkeypatch.setenv('HANDPOSE_CACHE', str(tmp_path_factory.mktemp('cache')))  # `zoo verify` reads what is there
    if importlib.util.find_spec('viser') is not None:
        from handpose.visualization.viewer_page import PlayerPage

        def run(self):
            raise KeyboardInterrupt

        monkeypatch.setattr(PlayerPage, 'run', run)


@pytest.fixture(autouse=True)
def restored():
    """What pages register does not stay for other tests; nor does the number of threads that a command sets."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for entries in (*(registry.module_dict for registry in REGISTRIES), CASES):
        for name, entry in list(entries.items()):
            if vars(entry).get('file', '').endswith('.md') or vars(entry).get('__module__') == '__main__':
                del entries[name]


@pytest.mark.parametrize('page', BLOCKS)
def test_page(page, inputs, tmp_path):
    if page.endswith('export_model.md') and tuple(map(int, torch.__version__.split('.')[:2])) < (2, 7):
        pytest.skip('exporting needs torch 2.7 or later')
    run = PageRun(page, tmp_path, inputs, NOT_RUN, SHORTER, NAMES[page]() if page in NAMES else {})
    errors = []
    for block in BLOCKS[page]:
        try:
            print(f'{block}: {run.run(block)}')
        except (Exception, SystemExit) as error:
            logging.getLogger().exception(str(block))
            errors.append(f'{block}: {error!r}')
    assert not errors, '\n'.join(errors)


def test_every_block_has_a_language():
    """So that it is highlighted, and that this file knows what to do with it."""
    wrong = [str(block) for blocks in BLOCKS.values() for block in blocks if block.language not in LANGUAGES]
    assert not wrong, f'the first line must be ``` and one of {LANGUAGES}: {wrong}'


def test_the_tables_hold_what_pages_use():
    """No page has lost the command that a row is for."""
    blocks = [block for blocks in BLOCKS.values() for block in blocks if block.language == 'bash']
    lines = [line_of(words) for block in blocks for words in commands_of(block.text, ROOT)]
    unused = [pattern for pattern in (*NOT_RUN, *SHORTER) if not any(re.search(pattern, line) for line in lines)]
    assert not unused
    assert not NAMES.keys() - BLOCKS.keys()
    text = ' '.join(block.text for blocks in BLOCKS.values() for block in blocks)
    text += ' '.join(path.read_text() for path in (ROOT / 'configs').rglob('*.py'))
    assert [name for name in INPUTS if name.split(':')[-1] not in text] == []


@pytest.mark.parametrize(
    'command, message',
    [
        ('handpose tain deformer/synthetic', 'tain is not a command'),
        ('handpose refine hands.npz --out', 'expected one argument'),
        ('handpose train deformer/sythetic', "Did you mean 'deformer/synthetic'"),
        ('handpose train deformer/dexycb --cfg-options batch_sise=4', "Did you mean 'batch_size'"),
        ('python tools/trian.py deformer/synthetic', 'there is no tools/trian.py'),
        ("pip install '.[Video]' -c constraints.txt", r"no extras \['Video'\]"),
        ('pip install handpose', 'handpose is not on PyPI'),
        ('pip install . -c constraint.txt', 'there is no constraint.txt'),
        ('make trian', 'no target trian'),
        ('make train CONFIGS=a.py', 'CONFIGS is not an option'),
        ('make train CONFIG=configs/a.py', 'configs/a.py'),
        ('tools/dist_train.sh configs/deformer/dexycb.py --resume 8', 'number of processes'),
        ("sbatch --wrap 'handpose anotate RECS/ -o OUT/'", 'anotate is not a command'),
        ('handposee refine hands.npz', 'handposee is not known'),
    ],
)
def test_mistakes_in_commands_are_found(command, message):
    (words,) = commands_of(command, ROOT)
    with pytest.raises(Exception, match=message):
        check_command(words)


def test_bash_that_is_none():
    with pytest.raises(ValueError, match='bash does not understand it'):
        commands_of('handpose publish --show weights-<hash>.safetensors', ROOT)


@pytest.mark.parametrize(
    'code, message',
    [
        ('from handpose.models import Deformr', 'Deformr'),
        ('import handpose.model', 'handpose.model'),
        ("dict(type='Deformr')", 'Deformr is not registered'),
        ("dict(type='EstimatorNoise', strenth=2)", r"EstimatorNoise has no arguments \['strenth'\]"),
        ("dict(type='EstimatorNoise', ..., strength=2)", 'positional argument'),
    ],
)
def test_mistakes_in_python_are_found(code, message):
    with pytest.raises((ImportError, AssertionError, SyntaxError), match=message):
        check_python(code, 'page.md')


@pytest.mark.parametrize(
    'language, text',
    [
        ('python', 'undefined'),
        ('python', 'raise SystemExit(1)'),
        ('bash', '# nothing'),
        ('bash', 'git status'),
        ('bash', 'handpose export hands.npz -o hands.blend'),
        ('json', '{'),
        ('yaml', 'a: [}'),
    ],
)
def test_a_block_that_fails(inputs, tmp_path, language, text):
    run = PageRun('page.md', tmp_path, inputs, NOT_RUN, SHORTER)
    with pytest.raises((Exception, SystemExit)):
        run.run(Block('page.md', 1, language, text, None))
