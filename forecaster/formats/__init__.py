"""Wire formats: bytes to `TickBatch`, and forecasts to bytes."""
