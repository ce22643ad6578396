"""Files as they come off a failing disk: cut short, garbled, with numbers that lie."""

import random


def mutated(whole: bytes, rng: random.Random, *, header: int = 900) -> bytes:
    """A damaged copy; ``header`` is how many bytes of the file count as its header."""
    data = bytearray(whole)
    header = min(header, len(data))
    kind = rng.randrange(4)
    if kind == 0:
        del data[rng.randrange(len(data)) :]
    elif kind == 1:
        at = rng.randrange(header)
        data[at : at + 4] = rng.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"NaN "])
    else:
        for _ in range(rng.choice([1, 3, 30])):
            data[rng.randrange(header if kind == 2 else len(data))] = rng.randrange(256)
    return bytes(data)
