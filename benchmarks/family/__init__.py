"""Every kind of sequence model beside its baseline on real data: `python -m benchmarks.family --folder DATA`."""
