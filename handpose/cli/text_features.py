"""Makes a table of text features of action and object names, which G-HTT compares actions with.

    handpose text-features names.txt -o names.npz
    handpose text-features --taxonomy my_actions.yml -o my_actions.npz --model openclip:ViT-B-32/laion2b_s34b_b79k
    handpose text-features --config ghtt/action --only actions -o actions.npz

The default, `compositional`, needs no download: it knows which words two names share, and nothing of their meaning.
docs/guides/your_own_actions.md says more.
"""

import argparse

from handpose.cli import arguments as shared
from handpose.cli.errors import UsageError, UserError
from handpose.datasets.fpha.labels import FPHA_ACTIONS
from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.datasets.io.action_labels import ActionTaxonomy, read_taxonomy
from handpose.datasets.io.action_videos import configured_taxonomy
from handpose.engine import load_config
from handpose.files.reading import read_text
from handpose.inference.text_models import COMPOSITIONAL, EXAMPLES, make_text_features

KINDS = ('actions', 'objects')
OFFICIAL = {'h2o': H2O_ACTIONS, 'fpha': FPHA_ACTIONS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('names', nargs='?', metavar='NAMES.txt', help='a name in each line; # begins a comment')
    parser.add_argument(
        '--taxonomy',
        metavar='FILE',
        help=f'instead of NAMES.txt: a YAML list of actions, or {" or ".join(OFFICIAL)}; its actions and its objects',
    )
    parser.add_argument('--config', help='instead of NAMES.txt: the actions and the objects of its training dataset')
    parser.add_argument('--only', choices=KINDS, help='of a taxonomy or a config: these names alone, in their order')
    shared.add_cfg_options(parser)
    parser.add_argument('-o', '--out', required=True, metavar='FILE.npz', help='the table to write')
    parser.add_argument(
        '--model',
        default=COMPOSITIONAL,
        help=f'the text model: {COMPOSITIONAL} (default), {" or ".join(EXAMPLES)}, or others of 512 numbers',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the compositional features (default 0)')


def run(arguments: argparse.Namespace) -> None:
    """Makes the table.

    Args:
        arguments: those of `add_arguments`.
    """
    names = _names(arguments)
    table = make_text_features(names, arguments.model, arguments.seed)
    table.save(arguments.out)
    print(f'{arguments.out}: {len(table)} names, {table.model}')
    if table.kind == 'compositional':
        print('the features know which words two names share, and nothing of their meaning')


def _names(arguments: argparse.Namespace) -> list[str]:
    given = [value for value in (arguments.names, arguments.taxonomy, arguments.config) if value is not None]
    if len(given) != 1:
        raise UsageError('give one of NAMES.txt, --taxonomy FILE and --config CONFIG')
    if arguments.names is not None:
        if arguments.only is not None:
            raise UsageError('--only goes with --taxonomy or --config; NAMES.txt has one list of names')
        return _names_of_file(arguments.names)
    taxonomy = _configured(arguments) if arguments.config is not None else _listed(arguments.taxonomy)
    kinds = KINDS if arguments.only is None else (arguments.only,)
    lists = taxonomy.metainfo()
    return list(dict.fromkeys(name for kind in kinds for name in lists[kind]))


def _names_of_file(path: str) -> list[str]:
    lines = [line.partition('#')[0].strip() for line in read_text(path, error=UserError).splitlines()]
    names = [line for line in lines if line]
    if not names:
        raise UserError(f'{path} must have a name of an action or an object in each line, but has none')
    return names


def _listed(path: str) -> ActionTaxonomy:
    return OFFICIAL[path] if path in OFFICIAL else read_taxonomy(path)


def _configured(arguments: argparse.Namespace) -> ActionTaxonomy:
    """The actions of a config's training dataset, which is not opened."""
    config = load_config(arguments.config, arguments.cfg_options)
    taxonomy = configured_taxonomy(config.train_dataloader.dataset)
    if taxonomy is None:
        raise UserError(f'the training dataset of {arguments.config} has no actions, so it names nothing')
    return taxonomy
