"""Event time as people tell it: wall clocks, sessions, and the seasons along them."""
