"""What a pooler in session mode does between two clients with the server connection that both get."""

from __future__ import annotations

import psycopg

from ehg_migrate.database.doctor.examination import Examination
from ehg_migrate.database.doctor.findings import Verdict, good, warning

_MARK = "ehg_migrate.doctor"  # a setting that means nothing to anybody


def cleaning(exam: Examination) -> Verdict:
    """Our second connection is marked and left; a mark on the next one that we get was not cleaned off.

    Only seeing it is a proof: a pooler may give us another server connection. The mark is taken off where it is seen.
    """
    leaving = exam.connections[-1]
    try:
        backend = _backend(leaving)
        if backend == leaving.info.backend_pid:
            return good("no pooler: every client has a server process of its own")
        leaving.execute("SELECT set_config(%s, 'left', false)", (_MARK,))
    finally:
        leaving.close()
    exam.connections.remove(leaving)
    coming = exam.open()
    if _backend(coming) != backend:
        return good("not known: the pooler gave another server connection to the next client")
    if coming.execute("SELECT current_setting(%s, true)", (_MARK,)).fetchone() != ("left",):
        return good("the pooler cleans a server connection before the next client gets it")
    return warning(
        "the pooler hands a server connection on as its last client left it: a setting or a lock of your application "
        "reaches whoever comes next, and a lock that is left behind is never let go",
        "let it clean between clients: `server_reset_query = DISCARD ALL` in pgbouncer.ini, which is its default",
    )


def _backend(connection: psycopg.Connection) -> int:
    """The server process; a pooler tells its clients another number when they log in."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0
