"""A run predicted without running it: the runner's own rules over recorded times. See docs/capacity.md."""
