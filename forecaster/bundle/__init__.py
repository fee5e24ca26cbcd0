"""Model bundles: written, signed, fetched, checked and read."""
