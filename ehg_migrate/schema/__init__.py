"""What a schema really is: its catalogue, the fingerprint of it, and what separates two of them."""

from ehg_migrate.schema.catalog import (
    read_catalog,
    read_catalog_async,
    read_fingerprint,
    read_fingerprint_async,
)
from ehg_migrate.schema.clusters import Cluster, clusters
from ehg_migrate.schema.difference import Change, Clause, Difference, differences, notes
from ehg_migrate.schema.facts import Catalog, Fact
from ehg_migrate.schema.scope import Scope, scope_of

__all__ = [
    "Catalog",
    "Fact",
    "read_catalog",
    "read_catalog_async",
    "read_fingerprint",
    "read_fingerprint_async",
    "Scope",
    "scope_of",
    "Change",
    "Clause",
    "Difference",
    "differences",
    "notes",
    "Cluster",
    "clusters",
]
