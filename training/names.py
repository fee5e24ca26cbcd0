"""Names from outside as a person is shown them."""


def printable(name: str, keep: str = "") -> str:
    """`name` with control characters and the like escaped but those in `keep`: none reaches a terminal or a page."""
    return "".join(one if one.isprintable() or one in keep else repr(one)[1:-1] for one in name)


def short(name: str, most: int = 32) -> str:
    """`printable` in `most` characters."""
    shown = printable(name)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
