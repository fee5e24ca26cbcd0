"""A batch finds the memory that the one before it gave back, and the collector passes over what was loaded."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import gc, resource
from forecaster.memory import settle

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        rows = [bytes(1_000 + n % 7) for n in range(5_000)]
        del rows
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
settle()
faults()
print(before, faults(), gc.get_freeze_count())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told how to hold memory")
def test_a_batch_takes_next_to_no_memory_from_the_system_once_settled():
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, timeout=60)
    before, after, frozen = map(int, done.stdout.split())
    assert before > 1_000  # each batch of 5 MB anew
    assert after < before / 10
    assert frozen > 1_000
