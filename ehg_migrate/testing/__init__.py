"""For the tests of projects: a migrated database for each test, and ready tests of the migrations themselves.

`plugin` is loaded by every pytest of an environment with this package, so nothing of it is imported before a test asks.
"""
