"""Makes a table of text features of action and object names, which G-HTT compares actions with.

    handpose text-features names.txt -o names.npz
    handpose text-features --taxonomy my_actions.yml -o my_actions.npz --model openclip:ViT-B-32/laion2b_s34b_b79k

The default, `compositional`, needs no download: it knows which words two names share, and nothing of their meaning.
docs/your_own_actions.md says more.
"""

import argparse

from handpose.cli.errors import UsageError, UserError
from handpose.datasets.fpha.labels import FPHA_ACTIONS
from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.datasets.io.action_labels import read_taxonomy
from handpose.files.reading import read_text
from handpose.inference.text_models import COMPOSITIONAL, EXAMPLES, make_text_features

OFFICIAL = {'h2o': H2O_ACTIONS, 'fpha': FPHA_ACTIONS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('names', nargs='?', metavar='NAMES.txt', help='a name in each line; # begins a comment')
    parser.add_argument(
        '--taxonomy',
        metavar='FILE',
        help=f'instead of NAMES.txt: a YAML list of actions, or {" or ".join(OFFICIAL)}; its actions and its objects',
    )
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
    if (arguments.names is None) == (arguments.taxonomy is None):
        raise UsageError('give NAMES.txt or --taxonomy FILE, and not both')
    names = _names_of_file(arguments.names) if arguments.names else _names_of_taxonomy(arguments.taxonomy)
    table = make_text_features(names, arguments.model, arguments.seed)
    table.save(arguments.out)
    print(f'{arguments.out}: {len(table)} names, {table.model}')
    if table.kind == 'compositional':
        print('the features know which words two names share, and nothing of their meaning')


def _names_of_file(path: str) -> list[str]:
    lines = [line.partition('#')[0].strip() for line in read_text(path, error=UserError).splitlines()]
    names = [line for line in lines if line]
    if not names:
        raise UserError(f'{path} must have a name of an action or an object in each line, but has none')
    return names


def _names_of_taxonomy(path: str) -> list[str]:
    """The names of all actions and objects, each once."""
    taxonomy = OFFICIAL[path] if path in OFFICIAL else read_taxonomy(path)
    return list(dict.fromkeys((*taxonomy.actions, *taxonomy.objects)))
