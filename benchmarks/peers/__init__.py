"""The tools that do the same work; each says for itself how it is run."""

from __future__ import annotations

from benchmarks.peers.base import Peer
from benchmarks.peers.dbmate import Dbmate
from benchmarks.peers.django import Django
from benchmarks.peers.multidb import Multidb
from benchmarks.peers.node import NodePgMigrate
from benchmarks.peers.ours import Ours, Plainly
from benchmarks.peers.psql import Psql
from benchmarks.peers.raw import Raw
from benchmarks.peers.sqitch import Sqitch
from benchmarks.peers.stock import StockLoop, StockXargs

PEERS: dict[str, type[Peer]] = {
    "raw": Raw,
    "ours": Ours,
    "plainly": Plainly,
    "node": NodePgMigrate,
    "dbmate": Dbmate,
    "psql": Psql,
    "loop": StockLoop,
    "multidb": Multidb,
    "django": Django,
    "stock": StockXargs,
    "sqitch": Sqitch,
}
"""By the short name that `--peers` takes."""
