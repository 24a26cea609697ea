import argparse

import pytest

from handpose.synthesis import EgocentricOptions, MultiViewOptions, RecordedOptions, RecordingOptions
from handpose.synthesis.arguments import add_arguments, options_from_arguments
from handpose.synthesis.options import OPTIONS


def parse(*words, config=None):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_from_arguments(parser.parse_args(words), config)


def test_every_option_is_documented():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    text = parser.format_help()
    assert all(f'--{name.replace("_", "-")}' in text for options in OPTIONS for name in options.names())


@pytest.mark.parametrize(
    ('words', 'config', 'options'),
    [
        ([], None, MultiViewOptions('data/synthetic_dexycb')),
        (['--size', '64'], {'root': 'x', 'size': 96, 'seed': 2}, MultiViewOptions('x', size=64, seed=2)),
        (['--layout', 'hanco'], None, MultiViewOptions('data/synthetic_hanco', layout='hanco')),
        (
            ['--layout', 'fpha', '--actions', 'open_milk', 'close_milk'],
            None,
            EgocentricOptions('data/synthetic_fpha', 'fpha', 6, 3, 3, actions=('open_milk', 'close_milk')),
        ),
        (
            ['--layout', 'assembly101', '--subjects', '5', '--actions', 'pour milk'],
            None,
            RecordingOptions('data/synthetic_assembly101', subjects=5, actions=('pour milk',)),
        ),
        (['--motion', 'm.npz'], {'root': 'x', 'subjects': 3}, RecordedOptions('x', 'm.npz')),
        (['--motion', 'm.npz', '--serials', 'a', 'b'], None, RecordedOptions('data/recorded', 'm.npz', 2, ('a', 'b'))),
    ],
)
def test_options_of_a_command_line(words, config, options):
    assert parse(*words, config=config) == options
