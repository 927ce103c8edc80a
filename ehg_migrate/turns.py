"""What a process has only once, and threads that work with projects at the same time take turns at."""

from __future__ import annotations

from threading import RLock

PROCESS = RLock()
"""Held by who puts aside `sys.stdout`, the main module, filters of warnings or variables that hold secrets, and by
who reads such a variable: two that did so at once would put back what the other one had put there, for good.
"""
