"""Texts that no label, log or page may take for more than text. Needs nothing but the standard library."""

import json

BEGIN_MS = 1_714_550_400_000
# Texts that are written to break what shows them: a line of a log, a terminal, a metrics page, a page.
TEXTS = [
    "line\nbreak",
    "carriage\rreturn",
    "tab\tbell\x07",
    "nul\x00",
    "delete\x7f",
    "next\x85line",
    "\u2028line\u2029end",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b2J",
    "\u202egnirts\u202c",
    "\u2066isolated\u2069",
    "\ufeffmark",
    "zero\u200bwidth",
    "soft\u00adhyphen",
    "tagged\U000e0041\U000e007f",
    "\ufff9ruby\ufffb",
    'quote"back\\slash',
    "'; DROP TABLE series; --",
    "}{",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "%s%d%(x)b",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><!--",
    "javascript:alert(1)",
    "&lt;b&gt;",
    '\n{"time":"","level":"error","event":"forged"}',
    'x"} 1\nforged_total{a="b',
    "\ndata: forged\n\n",
    "\r\nX-Forged: 1",
    "\U0001f469\u200d\U0001f680",
    "é" * 512,
    "x" * 1_024,
    "\u0301" * 400,
    "=cmd|' /C calc'!A0",
    " ",
    "null",
]


def tick_of(series, step, value=1.0):
    """The record value of a tick of `series`, whatever that holds."""
    return json.dumps({"series": series, "ts": BEGIN_MS + 1_000 * step, "value": value}).encode()
