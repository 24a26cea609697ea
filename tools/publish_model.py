"""Publishes weights: python tools/publish_model.py CHECKPOINT CONFIG -o NAME.safetensors --licence Apache-2.0

The file holds the network alone (no optimizer, no discriminator) and a JSON header that says what it is. The licence
must fit what the weights were trained on: the built-in data leave you free (Apache-2.0), DexYCB and MANO do not.
"""

import argparse
import json

from handpose.engine import OptionsAction, load_config, load_weights
from handpose.engine.errors import exit_on_user_error
from handpose.evaluation import build_metrics, specs_of
from handpose.registry import MODELS
from handpose.zoo.load import read_header
from handpose.zoo.publish import make_header, publish, read_metrics, zoo_row


class ShowHeader(argparse.Action):
    """Prints the header of a published file, and ends."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Prints and exits."""
        print(json.dumps(read_header(values), indent=1))
        parser.exit()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='a checkpoint that training wrote')
    parser.add_argument('config', help='the config that it was trained with')
    parser.add_argument('-o', '--output', required=True, help='<name>.safetensors; the hash is put behind the name')
    parser.add_argument('--licence', required=True, help='terms of the weights, e.g. Apache-2.0')
    parser.add_argument('--metrics', help='metrics.json that tools/test.py wrote for this checkpoint')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, help='the overrides of the training')
    parser.add_argument('--show', metavar='FILE', action=ShowHeader, help='print the header of a published file')
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    config = load_config(arguments.config, arguments.cfg_options)
    estimator = MODELS.build(config.model)
    load_weights(estimator, arguments.checkpoint, config.model)
    metrics = read_metrics(arguments.metrics) if arguments.metrics else None
    header = make_header(estimator, config, arguments.licence, arguments.cfg_options, metrics)
    path, sha256 = publish(estimator, header, arguments.output)
    specs = specs_of(build_metrics(config.get('test_evaluator', ())))
    print(f'{path}\nsha256 {sha256}\n\nfor model_zoo.md:\n{zoo_row(path, sha256, header, specs)}')


if __name__ == '__main__':
    with exit_on_user_error():
        main()
