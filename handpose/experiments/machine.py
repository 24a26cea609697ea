"""What a measurement was made on."""

import platform
from pathlib import Path


def cpu_name() -> str:
    """The model name of the processor."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text(encoding='utf-8').splitlines() if info.is_file() else []
    models = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return models[0] if models else platform.processor() or platform.machine()
