"""By which names the page may be called: a name that a stranger gives our address is none of them (DNS rebinding)."""

import ipaddress
import re
from collections.abc import Sequence


class Hosts:
    """Addresses are always right, as no web site has one for a name; so is `localhost`; of other names those `named`.

    Without `named` (None) any name is right where the page `listens` beyond the loopback addresses, else no other.
    """

    def __init__(self, listens: str, named: Sequence[str] | None) -> None:
        self._any = named is None and not is_own(listens)
        self._named = {listens.casefold(), *(name.casefold() for name in named or ())}

    def allow(self, header: str) -> bool:
        """Whether the `Host` of a request is one of them, whatever its port."""
        name = re.sub(r":\d*$", "", header).casefold().removesuffix(".")
        return self._any or is_own(name) or is_address(name) or name in self._named


def is_own(name: str) -> bool:
    """Whether it is this machine for itself alone."""
    bare = name.strip("[]")
    if is_address(name):
        return ipaddress.ip_address(bare).is_loopback
    return bare == "localhost" or bare.endswith(".localhost")


def is_address(name: str) -> bool:
    """Whether it is an address rather than a name, as a URL has it or bare."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
