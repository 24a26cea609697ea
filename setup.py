import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
LINK = r'\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)'  # to a file beside the README


def read_value(file, pattern):
    """A value that is written in one file only, read without importing anything; None if it is not there."""
    found = re.search(pattern, (ROOT / file).read_text(encoding='utf-8'), re.MULTILINE)
    return found and found[1]


def long_description(text, version, repository):
    """The README for package indexes, which have none of the images and files that it links to.

    Links lead to the files of this version in the repository or, without its address, become plain text.
    """
    text = re.sub(rf'^!{LINK}\n\n', '', text, flags=re.MULTILINE)
    target = rf'[\1]({repository}/blob/v{version}/\2)' if repository else r'\1'
    return re.sub(LINK, target, text)


class BuildWithConfigs(build_py):
    """Installs `configs/`, which is at the top of the repository, as `handpose/configs`."""

    def run(self):
        super().run()
        if not self.editable_mode:  # an editable installation finds them in the repository
            target = Path(self.build_lib, 'handpose', 'configs')
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree('configs', target, ignore=shutil.ignore_patterns('__pycache__'))

    def get_outputs(self, include_bytecode=1):
        configs = [] if self.editable_mode else sorted(Path('configs').rglob('*.py'))
        return super().get_outputs(include_bytecode) + [str(Path(self.build_lib, 'handpose', c)) for c in configs]


VERSION = read_value('handpose/__init__.py', r"^__version__ = '(.+)'$")
REPOSITORY = read_value('CITATION.cff', r'^repository-code: "?([^"\s]+?)/?"?$')  # unset until the address is known


# What a user wants, and the packages that it takes.
EXTRAS = {
    # True times of frames and more codecs; its wheels bundle GPL-licensed codecs (x264, x265), hence an extra.
    'video': ['av>=14.2'],
    # Backbones, curves and plots. A project that has the full mmcv leaves this out and installs the other two.
    'train': ['mmcv-lite>=2.1', 'tensorboard>=2.16', 'matplotlib>=3.8'],
    # Formats that need a package: LeRobot, HDF5, and supervision's annotators. The others need none.
    'export': ['pyarrow>=17', 'h5py>=3.11', 'supervision>=0.31.2'],
    'view': ['viser>=1.1'],
    # Exported networks: `handpose export-model`, `handpose.runtime`, and --runtime of other commands.
    'runtime': ['onnx>=1.20', 'onnxscript>=0.7.2', 'onnxruntime>=1.23'],
    'openvino': ['onnx>=1.20', 'onnxscript>=0.7.2', 'openvino>=2025.4'],
    'rerun': ['rerun-sdk>=0.41'],
    # The ResNet of trained models. mmcv without its compiled operators, which a full mmcv has too.
    'mmcv': ['mmcv-lite>=2.1'],
    # Files of the model zoo that are on the Hugging Face Hub.
    'hf': ['huggingface_hub>=0.23'],
    # Loggers of `handpose train`. MLflow's client, and what its file of runs takes.
    'wandb': ['wandb>=0.19'],
    'mlflow': ['mlflow-skinny>=3.1', 'sqlalchemy>=2', 'alembic>=1.13'],
    # Text models of `handpose text-features`.
    'openclip': ['open_clip_torch>=2.24'],
    'transformers': ['transformers>=4.40'],
    # The site: `make docs`.
    'docs': ['furo>=2024.8.6', 'myst-nb>=1.2', 'myst-parser>=4.0.1', 'sphinx>=8.1.3', 'sphinx-copybutton>=0.5.2'],
    # What `handpose benchmark` compares the packed store and OpenCV's JPEG decoder with.
    'benchmark': ['lmdb>=1.6.2', 'simplejpeg>=1.8.2', 'webdataset>=1.0.2'],
}

setup(
    name='handpose',
    version=VERSION,
    description='A modular model zoo for hand pose in video',
    long_description=long_description((ROOT / 'README.md').read_text(encoding='utf-8'), VERSION, REPOSITORY),
    long_description_content_type='text/markdown',
    author='The handpose authors',
    license='Apache-2.0 AND CC-BY-NC-4.0',  # the latter for weights trained on DexYCB only (model_zoo.md)
    keywords=['hand pose estimation', 'hand tracking', 'motion refinement', 'action recognition', 'PyTorch'],
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in range(10, 14)),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    project_urls={'Source': REPOSITORY} if REPOSITORY else {},
    python_requires='>=3.10',
    packages=find_packages(include=['handpose', 'handpose.*']),
    package_data={'handpose': ['py.typed'], 'handpose.zoo': ['index.yml', 'weights/*.safetensors']},
    cmdclass={'build_py': BuildWithConfigs},
    entry_points={'console_scripts': ['handpose = handpose.cli:main']},
    install_requires=[
        'torch>=2.6',
        'numpy>=1.26,<3',
        'scipy>=1.11',
        # handpose/engine/compat.py works around bugs of 0.10; check it before a new series is allowed.
        'mmengine>=0.10.7,<0.11',
        'smplx>=0.1.28',
        'opencv-python>=4.8',  # `handpose infer` and `live` need 5, and say so
        'safetensors>=0.5',
        'pyyaml>=6',
        'rich>=13',
        'platformdirs>=3.5.1',
        'typing_extensions>=4.10',  # which torch needs too
        'tomli>=2; python_version < "3.11"',  # newer Pythons have it as tomllib
    ],
    extras_require={
        **EXTRAS,
        # What the commands of the README need. Alone stay what is large (rerun), a second runtime, what sends
        # something away (hf, wandb, mlflow), and what only a special purpose needs.
        'all': sorted({p for name in ('video', 'train', 'export', 'view', 'runtime') for p in EXTRAS[name]}),
        'test': [
            'av>=14.2',
            'h5py>=3.11',
            'ipykernel>=6.29',
            'lmdb>=1.6.2',
            'mypy>=1.11',
            'nbclient>=0.10',
            'nbformat>=5.10',
            'onnx>=1.20',
            'onnxruntime>=1.23',
            'onnxscript>=0.7.2',
            'pyarrow>=17',
            'pybvh>=0.9',
            'pycocotools>=2.0.8',
            'pytest>=8',
            'pytest-timeout>=2.3.1',
            'pytest-xdist>=3.5',
            'ruff>=0.6',
            'simplejpeg>=1.8.2',
            'supervision>=0.31.2',
            'types-pyyaml>=6',
            'webdataset>=1.0.2',
        ],
    },
)
