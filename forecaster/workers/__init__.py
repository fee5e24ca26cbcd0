"""`workers = N`: processes beside each other that look like one."""
