"""Publishes weights: handpose publish CHECKPOINT CONFIG -o NAME.safetensors --licence Apache-2.0

The file holds the network alone (no optimizer, no discriminator) and a JSON header that says what it is. The licence
must fit what the weights were trained on: the built-in data leave you free (Apache-2.0), DexYCB and MANO do not.
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from handpose.cli import arguments as shared
from handpose.engine import load_config, load_weights
from handpose.evaluation import build_metrics, specs_of
from handpose.registry import MODELS
from handpose.zoo.load import read_header
from handpose.zoo.publish import index_entry, make_header, publish, read_metrics


class ShowHeader(argparse.Action):
    """Prints the header of a published file, and ends."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Prints and exits.

        Args:
            parser: the parser that has the option.
            namespace: what it has read so far.
            values: path of the file.
            option_string: the option as it was typed.
        """
        print(json.dumps(read_header(str(values)), indent=1))
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('checkpoint', help='a checkpoint that training wrote')
    shared.add_config(parser)
    parser.add_argument('-o', '--output', required=True, help='<name>.safetensors; the hash is put behind the name')
    parser.add_argument('--licence', required=True, help='terms of the weights, e.g. Apache-2.0')
    parser.add_argument('--metrics', help='metrics.json that `handpose test` wrote for this checkpoint')
    parser.add_argument('--half', action='store_true', help='store the parameters as float16, half the size')
    shared.add_cfg_options(parser)
    parser.add_argument('--show', metavar='FILE', action=ShowHeader, help='print the header of a published file')


def run(arguments: argparse.Namespace) -> None:
    """Writes the file and prints its entry for the index of the model zoo.

    Args:
        arguments: those of `add_arguments`.
    """
    config = load_config(arguments.config, arguments.cfg_options)
    estimator = MODELS.build(config.model)
    load_weights(estimator, arguments.checkpoint, config.model)
    metrics = read_metrics(arguments.metrics) if arguments.metrics else None
    header = make_header(estimator, config, arguments.licence, arguments.cfg_options, metrics)
    path, sha256 = publish(estimator, header, arguments.output, arguments.half)
    specs = specs_of(build_metrics(config.get('test_evaluator', ())))
    print(f'{path}\nsha256 {sha256}\n\nfor handpose/zoo/index.yml:\n{index_entry(path, sha256, header, specs)}')
