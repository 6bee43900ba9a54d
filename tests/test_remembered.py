"""The memory of the slow loops: it must never take one question for another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests import remembered

HERE = Path(__file__).parent

asked = []


@remembered.remembered
def answer(*arguments, **named):
    asked.append(arguments)
    return [list(arguments), named]


def test_what_was_asked_before_is_answered_with_a_copy():
    image = np.arange(6.0)
    before = len(asked)
    first = answer(image, 1, other=2)
    first[0].append("changed")
    assert len(answer(image.copy(), 1, other=2)[0]) == 2
    assert len(asked) == before + 1


def test_any_difference_is_another_question():
    a = np.zeros(4)
    negative = a.copy()
    negative[2] = -0.0  # equal, but other bytes
    ways = [
        ((a,), {}),
        ((negative,), {}),
        ((a.astype(np.float32),), {}),
        ((a.view(np.int64),), {}),
        ((a.reshape(2, 2),), {}),
        ((a, None), {}),
        ((a, 1), {}),
        ((a, 1.0), {}),
        ((a, np.nextafter(1.0, 2.0)), {}),
        ((a, "1"), {}),
        ((a, (1, 2)), {}),
        ((a, [1, 2]), {}),
        ((a, [1], 2), {}),
        ((a, [1, [2]]), {}),
        ((a,), {"x": 1}),
        ((a,), {"y": 1}),
    ]
    before = len(asked)
    for arguments, named in ways:
        answer(*arguments, **named)
    assert len(asked) == before + len(ways)
    assert remembered.by_place("one", a) is not remembered.by_place("two", a)
    assert remembered.by_place("one", a) is remembered.by_place("one", a.copy())


def test_a_folder_keeps_the_answers_for_another_process(tmp_path):
    program = (
        "import naive, numpy as np\n"
        "image = np.zeros((100, 100), np.float32)\nimage[49:52, 49:52] = 5 + np.arange(9).reshape(3, 3)\n"
        "print(naive.gradients(image, None, [(20, 20), (20, 20), (50, 51)]))\n"
        "print(naive.find_sources(image, None, [0] * 6, 1))\n"
    )
    changed = "import naive\nnaive.gradient = naive.brightest = None\n"  # calling these would fail
    env = {**os.environ, "GPUANOM_TESTS_ANSWERS": str(tmp_path), "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}"}
    said = [
        subprocess.run([sys.executable, "-c", text], env=env, capture_output=True, text=True, check=True).stdout
        for text in (program, changed + program)
    ]
    assert said[0] == said[1]
    assert said[0].endswith("[(51, 51, 9)]\n")
    assert len(list(tmp_path.iterdir())) == 2
