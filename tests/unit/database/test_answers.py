"""Arrays in binary: what the driver may be given is what is as long as it says, and nothing else."""

from __future__ import annotations

import struct

import pytest

from ehg_migrate.database.answers import _is_array


def array(*sizes: int, cells: bytes = b"", of: int = 25) -> bytes:
    """As a server sends it."""
    return struct.pack("!III", len(sizes), 0, of) + b"".join(struct.pack("!iI", size, 1) for size in sizes) + cells


WORD, NULL = struct.pack("!i", 2) + b"s1", struct.pack("!i", -1)
CASES = {
    "of none": (array(), True),
    "of some": (array(3, cells=WORD + NULL + WORD), True),
    "of rows of them": (array(2, 2, cells=WORD * 4), True),
    "nothing": (b"", False),
    "its beginning": (array(3)[:10], False),
    "without its sizes": (array(3)[:14], False),
    "of fewer": (array(3, cells=WORD * 2), False),
    "of more": (array(1, cells=WORD * 2), False),
    "cut": (array(1, cells=WORD[:-1]), False),
    "of 2,147,483,647": (array(0x7FFFFFFF, cells=WORD), False),
    "of less than none": (array(-1, cells=WORD), False),
    "of as many rows of none": (array(0x7FFFFFFF, 0), False),
    "of seven dimensions": (array(*[1] * 7, cells=WORD), False),
    "of less than no dimension": (struct.pack("!iII", -1, 0, 25), False),
    "of arrays": (array(1, cells=WORD, of=1009), False),
}


@pytest.mark.parametrize(("data", "good"), CASES.values(), ids=CASES)
def test_an_array_is_what_it_says(data: bytes, good: bool) -> None:
    """The driver would read on behind its end."""
    assert _is_array(data) is good
