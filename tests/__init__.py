"""The tests: `unit` is pure, `integration`, `acceptance` and `faults` run against real servers."""
