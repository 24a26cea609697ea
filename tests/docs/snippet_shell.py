"""The commands of a shell block, as bash reads them; none of them is run."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

# Programs with a slash in their name, and builtins that a page uses: bash calls these functions in their place.
# Every other program is not found, because PATH names no folder.
RECORDER = """
record() { printf '%s\\0' "$#" "$@" >&3; }
command_not_found_handle() { record "$@"; }
basename() { local path="${1%/}"; printf '%s\\n' "${path##*/}"; }
cd() { record cd "$@"; }
source() { record source "$@"; }
for program in tools/dist_train.sh tools/dist_test.sh tools/slurm_train.sh tools/cuda_check.sh .venv/bin/pip \\
        .venv/bin/pre-commit; do
    eval "$program() { record $program \\"\\$@\\"; }"
done
set -e
"""


def commands_of(text: str, folder: Path) -> list[Sequence[str]]:
    """Reads a shell block: comments, quotes, continued lines, loops and patterns of file names.

    Args:
        text: the block.
        folder: in which patterns of file names are looked up.

    Returns:
        The words of each command, in order.

    Raises:
        ValueError: bash does not understand the block.
    """
    reading, writing = os.pipe()
    script = RECORDER + text
    with open(reading, 'rb') as records:
        done = subprocess.run(
            ['/bin/bash', '-c', f'exec 3>&{writing}; PATH=/none\n{script}'],
            cwd=folder,
            pass_fds=[writing],
            capture_output=True,
            text=True,
        )
        os.close(writing)
        fields = records.read().decode().split('\0')[:-1]
    if done.returncode or done.stderr:
        raise ValueError(f'bash does not understand it: {done.stderr.strip()}')
    commands = []
    while fields:
        count = int(fields.pop(0))
        commands.append(fields[:count])
        del fields[:count]
    return commands
