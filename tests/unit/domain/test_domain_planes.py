from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from prompt_processing.domain.planes import PlaneMemory

MB = 2**20
WHOLE = (40, MB)


@pytest.fixture
def memory() -> PlaneMemory:
    return PlaneMemory(400 * MB)


def place(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_planes_are_ordinary_arrays_that_share_nothing(memory) -> None:
    planes = [memory.empty((30, 20), kind) for kind in (np.float32, np.int32, np.int16, np.bool_)]
    for number, plane in enumerate(planes):
        plane[...] = number % 2
    assert [plane.dtype for plane in planes] == [np.float32, np.int32, np.int16, np.bool_]
    assert all(plane.flags.c_contiguous and plane.flags.writeable for plane in planes)
    assert [int(plane.sum()) for plane in planes] == [0, 600, 0, 600]


def test_memory_of_a_plane_is_used_again_once_nothing_refers_to_it(memory) -> None:
    plane = memory.empty(WHOLE, np.uint8)
    first, part = place(plane), plane[3:5, ::2]
    part[...] = 7
    del plane
    other = memory.empty(WHOLE, np.uint8)
    other[...] = 1
    assert place(other) != first
    assert (part == 7).all()
    del part
    assert place(memory.empty(WHOLE, np.uint8)) == first


def test_neighbouring_gaps_become_one(memory) -> None:
    planes = [memory.empty(WHOLE, np.uint8) for _ in range(3)]
    first = place(planes[0])
    del planes[0], planes[0]
    assert place(memory.empty((80, MB), np.uint8)) == first


def test_parts_leave_the_gaps_of_planes_whole(memory) -> None:
    planes = [memory.empty(WHOLE, np.uint8) for _ in range(5)]
    places = [place(plane) for plane in planes]
    # A gap of one plane, and one of two.
    del planes[0], planes[1], planes[1]
    mask = memory.empty((10, MB), np.bool_)
    assert place(mask) == places[3] + 30 * MB
    again = [memory.empty(WHOLE, np.uint8) for _ in range(2)]
    assert [place(plane) for plane in again] == [places[0], places[2]]


def test_range_without_a_place_says_so(memory) -> None:
    kept = memory.empty((390, MB), np.uint8)
    assert memory.empty(WHOLE, np.uint8) is None
    del kept
    assert memory.empty(WHOLE, np.uint8) is not None


def test_process_without_the_addresses_has_ordinary_arrays() -> None:
    code = (
        "import numpy as np, resource\n"
        "from prompt_processing.domain.planes import keep_planes, new_plane\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))\n"
        "keep_planes()\n"
        "print(new_plane((1200, 1000), np.float32).base)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"


def test_threads_never_share_memory(memory) -> None:
    def is_undamaged(number: int) -> bool:
        plane = memory.empty((3, MB), np.uint8)
        plane[...] = number
        return bool((plane == number).all())

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(is_undamaged, list(range(6)) * 60))
