"""`ehg-migrate` and its peers doing the same work, measured: `python -m benchmarks run`. See docs/performance.md."""
