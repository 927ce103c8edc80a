"""The nouns: what a target is, what it holds, what will be done to it and what was done. Pure values, no I/O.

The value that travels is only ever selector -> Target -> State -> Plan -> Result.
"""

from __future__ import annotations

from ehg_migrate.model.finding import Finding, Level
from ehg_migrate.model.plan import Direction, Entry, FleetPlan, Plan, Skipped, State, StateKind, Step, Verb, Wave
from ehg_migrate.model.run import GATES, UNDOES, JournalEntry, Origin, Result, Run, RunStatus, Status, StepResult
from ehg_migrate.model.target import (
    META_SCHEMA,
    NO_PLATFORM,
    PLATFORMS,
    SHARED,
    SUPABASE,
    SUPABASE_SCHEMAS,
    VERSION_TABLE,
    Address,
    Limits,
    SecretRef,
    Target,
    is_ip,
    is_local,
    is_socket,
    meta_schema,
)

__all__ = [
    "META_SCHEMA", "VERSION_TABLE", "SHARED", "PLATFORMS", "SUPABASE", "SUPABASE_SCHEMAS", "NO_PLATFORM",
    "meta_schema",
    "Target", "Address", "Limits", "SecretRef", "is_ip", "is_local", "is_socket",
    "State", "StateKind", "Plan", "FleetPlan", "Step", "Direction", "Verb", "Skipped", "Wave", "Entry",
    "Finding", "Level",
    "Run", "RunStatus", "Result", "Status", "StepResult", "Origin", "GATES", "JournalEntry", "UNDOES",
]  # fmt: skip
