"""All broker I/O: one Protocol (`client`), its adapters, and the embedded broker of the demo."""
