"""Seeded damage: of bytes, and of the values that JSON, YAML and .npz files hold."""

import copy
import io
import json

import numpy as np
import yaml

ODD_VALUES = [
    None, True, '', 'x', '1', -1, 0, 10**15, 2**63, 10**400, 1e300, -1e300, float('nan'), float('inf'), [], {}, [[]],
    [1, [2, 3]], {'a': 1}, [None], 'a' * 300, '../../etc', '\x00', 0.5,
]  # fmt: skip


def damage_bytes(data, rng):
    """One to three changes of bytes."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(data) + 1))
        stop = min(len(data), at + int(rng.integers(1, 64)))
        kind = rng.integers(0, 7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = rng.bytes(int(rng.integers(1, 9)))
        elif kind == 3:
            data[at:at] = data[at:stop]
        elif kind == 4:
            del data[at:stop]
        elif kind == 5:
            data[at:stop] = bytes(rng.choice([0, 255], 1).astype(np.uint8)) * (stop - at)
        elif stop - at > 1:
            data[at], data[stop - 1] = data[stop - 1], data[at]
    return bytes(data)


def damage_value(value, rng):
    """A copy of a nested value with one part changed: dropped, renamed, of another type, odd, or deeply nested."""
    value = copy.deepcopy(value)
    holder = {'': value}
    box, key = holder, ''
    while isinstance(box[key], (dict, list)) and box[key] and rng.random() < 0.8:
        box, key = box[key], None
        keys = list(box) if isinstance(box, dict) else range(len(box))
        key = keys[int(rng.integers(0, len(keys)))]
    kind = rng.integers(0, 6)
    if kind == 0:
        box.pop(key) if isinstance(box, list) or key != '' else None
    elif kind == 1 and isinstance(box, dict) and key != '':
        box[f'{key}_'] = box.pop(key)
    elif kind == 2:
        box[key] = [box[key]]
    elif kind == 3:
        box[key] = {'value': box[key]}
    elif kind == 4 and isinstance(box[key], (int, float)) and not isinstance(box[key], bool):
        box[key] = box[key] * float(rng.choice([-1, 1000, 0]))
    else:
        box[key] = ODD_VALUES[int(rng.integers(0, len(ODD_VALUES)))]
    return holder['']


def damage_text(text, rng):
    """A text with a line or a word dropped, doubled, or replaced."""
    lines = [line.split(' ') for line in text.split('\n')]
    line = lines[int(rng.integers(0, len(lines)))]
    place, word = int(rng.integers(0, len(line))), str(ODD_VALUES[int(rng.integers(0, len(ODD_VALUES)))])
    kind = rng.integers(0, 4)
    if kind == 0:
        line.pop(place)
    elif kind == 1:
        line.insert(place, line[place])
    elif kind == 2:
        lines.append(list(line))
    else:
        line[place] = word
    return '\n'.join(map(' '.join, lines))


def damage_arrays(data, rng):
    """An .npz with an array dropped, renamed, of another type or shape, or with odd numbers."""
    with np.load(io.BytesIO(data)) as file:
        arrays = dict(file)
    name = list(arrays)[int(rng.integers(0, len(arrays)))]
    array, kind = arrays[name], rng.integers(0, 9)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[f'{name}_'] = arrays.pop(name)
    elif kind == 2:
        arrays[name] = array.astype('U8')
    elif kind == 3:
        arrays[name] = array[None]
    elif kind == 4:
        arrays[name] = np.zeros((0, *array.shape[1:]), array.dtype)
    elif kind == 5:
        arrays[name] = np.array([{}, None], object)
    elif kind == 6:
        arrays[name] = array.ravel()[: max(1, array.size // 2)]
    elif array.dtype.kind in 'fiu' and array.size:
        changed = array.astype(np.float64).ravel()
        changed[int(rng.integers(0, changed.size))] = float(rng.choice([np.nan, np.inf, 1e30, -1e30]))
        arrays[name] = changed.reshape(array.shape)
    else:
        arrays[name] = np.zeros(array.shape, 'c8')
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def mutate(data, suffix, rng):
    """Damaged bytes of a file, and whether they were damaged as bytes (half the time) or by their meaning."""
    if rng.random() < 0.5 or suffix not in ('.json', '.yml', '.npz', '.txt', '.csv'):
        return damage_bytes(data, rng), True
    return damage_meaning(data, suffix, rng), False


def damage_meaning(data, suffix, rng):
    """Damaged bytes of a file that is still of its kind, or nearly."""
    if suffix == '.npz':
        return damage_arrays(data, rng)
    text = data.decode()
    if suffix in ('.txt', '.csv') or rng.random() < 0.15:
        return damage_text(text, rng).encode()
    if rng.random() < 0.1:
        return (('[' * 3000) + text).encode() if rng.random() < 0.5 else ('{"a": ' * 3000).encode()
    value = damage_value(json.loads(text) if suffix == '.json' else yaml.safe_load(text), rng)
    if suffix == '.json':
        return json.dumps(value).encode()
    return yaml.safe_dump(value, default_flow_style=bool(rng.random() < 0.5)).encode()
