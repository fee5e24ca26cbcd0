"""Recorded ticks from CSV (plain or gzipped) and Parquet files, as columns in the order of the file.

Two shapes are read: *long*, a row per tick with a series, a time and a value column; and *wide*, a
time column and one column per series. Files come in parts of bounded size, so that one larger than
memory can be read.
"""

from forecaster.recording.layout import Columns
from forecaster.recording.read import read_parts, read_recording
from forecaster.recording.ticks import Fingerprint, Recording, join

__all__ = ["Columns", "Fingerprint", "Recording", "join", "read_parts", "read_recording"]
