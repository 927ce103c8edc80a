"""What servers and poolers say when they let nobody in, with what to do about it: a table, in order of reading.

While connecting psycopg gives no SQLSTATE, so the text is all there is. Poolers changed theirs in 2026, and both forms
are known.
"""

from ehg_migrate.database.faults import TOO_SHORT

REFUSALS: tuple[tuple[str, str, str, bool], ...] = (
    (
        r"too many authentication failures|circuit breaker open.*auth|ECIRCUITBREAKER\) too many auth",
        "auth_banned",
        "the pooler blocks this address for about two minutes after repeated wrong passwords: correct the secret, "
        "wait, then try once",
        False,
    ),
    (
        r"ECIRCUITBREAKER|circuit breaker open",
        "pooler_breaker",
        "the pooler rests for about 30 seconds after failures of its own; run again after that",
        False,
    ),
    (
        r"password authentication failed|SASL authentication failed|wrong password|invalid SCRAM",
        "wrong_password",
        "correct the secret that `password` refers to, or the role: one that is not there or has expired is answered "
        "alike; one wrong attempt was made and no more will be",
        False,
    ),
    (
        r"no password supplied|no password was provided",
        "no_password",
        "give the target a `password` reference or a `passfile`",
        False,
    ),
    (
        r"ENOTFOUND|tenant or user not found",
        "tenant_not_found",
        "copy `host` and `project_ref` from the project's Connect dialog (aws-0 and aws-1 are different poolers), and "
        "look whether the project is paused",
        False,
    ),
    (
        r"ENOIDENTIFIER|EINVALIDUSERINFO|no tenant identifier",
        "no_tenant",
        "the user must end in `.<project_ref>`; set `project_ref` in the entry",
        False,
    ),
    (
        r"too many connections for (database|role)",
        "too_many_connections",
        "it has a limit of its own, and a run needs two sessions: close others, or raise it: ALTER DATABASE ... "
        "CONNECTION LIMIT, or ALTER ROLE ... CONNECTION LIMIT",
        True,
    ),
    (
        r"remaining connection slots|too many clients",
        "too_many_connections",
        "the server has no place for another session: close some, or raise its `max_connections`",
        True,
    ),
    (
        r"EMAXCONNSESSION|MaxClientsInSessionMode|EMAXCONN\b|max client connections reached|"
        r"no more connections allowed|too many connections",
        "too_many_connections",
        "the session pool is shared with the application; close sessions or raise the pool size",
        True,
    ),
    (
        r'pg_hba\.conf.* "\[local\]"',
        "address_not_allowed",
        "give the server's pg_hba.conf a `local` line for this user and database, or connect to a host",
        False,
    ),
    (
        r"ESSLREQUIRED|SSL connection is required|SSL required|TLS connection required|no encryption",
        "tls_required",
        "set `sslmode: verify-full` in the entry; if that changes nothing, the server's pg_hba.conf has no line for "
        "this address, user and database",
        False,
    ),
    (
        r"server does not support SSL",
        "tls_unsupported",
        "the server offers no TLS: switch it on there, or set `sslmode: disable` for a server on this machine",
        False,
    ),
    (
        r"certificate verify failed|does not match host name|root certificate file",
        "tls_untrusted",
        "set `sslrootcert` to the certificate authority of this server, and `host` to the name in its certificate; one "
        "that has expired fails in the same words: `openssl s_client -starttls postgres -connect HOST:PORT` shows it",
        False,
    ),
    (
        r"EADDRNOTALLOWED|not in tenant allow_list|no pg_hba\.conf entry|pg_hba\.conf rejects",
        "address_not_allowed",
        "allow this machine's address: in the network restrictions of a Supabase project, in a server's pg_hba.conf",
        False,
    ),
    (r"EBANNED|tenant is banned", "tenant_banned", "ask the platform's support", False),
    (
        r'database "[^"]*" does not exist|no such database',
        "no_database",
        "create it, or correct `database` in the entry",
        False,
    ),
    (r'role "[^"]*" does not exist|no such user', "no_role", "create it, or correct `user` in the entry", False),
    (
        r"is not permitted to log in",
        "connect_failed",
        "let its owner say `ALTER ROLE ... LOGIN`, or correct `user` in the entry",
        False,
    ),
    (
        r"does not have CONNECT privilege",
        "connect_failed",
        "let the owner of the database grant CONNECT to this role, or correct `user` or `database` in the entry",
        False,
    ),
    (
        r"is not currently accepting connections",
        "connect_failed",
        "somebody has closed it (`ALTER DATABASE ... ALLOW_CONNECTIONS`): open it, or correct `database` in the entry",
        False,
    ),
    (
        r"(Peer|Ident) authentication failed",
        "connect_failed",
        "the server wants the system's user of the role's name: run as that one, or connect to a host with a password",
        False,
    ),
    (
        r"Network is unreachable|No route to host|Cannot assign requested address",
        "connect_failed",
        "this machine has no way to that address: a direct host `db.<ref>.supabase.co` has only an IPv6 address, use "
        "the pooler's; else look at the network and its VPN",
        False,
    ),
    (
        r'\.s\.PGSQL\.\d+" failed: No such file',
        "connect_failed",
        "is the server running, are the folder of its socket and `port` right?",
        False,
    ),
    (
        r"failed to resolve host|could not translate host name|Name or service not known|nodename nor servname",
        "unresolved_host",
        "correct `host`; a direct host `db.<ref>.supabase.co` has only an IPv6 address, use the pooler's",
        True,
    ),
    (
        r"Connection refused",
        "connection_refused",
        "is the server running, are `host` and `port` right? After wrong passwords a Supabase host bans the address",
        True,
    ),
    (
        r"starting up|shutting down|not yet accepting|in recovery mode",
        "starting",
        "wait until the server is up",
        True,
    ),
    (
        r"PQexec disallowed",
        "connect_failed",
        "PgBouncer forbids several statements in one message, which a run is made of: say `disable_pqexec = 0` there",
        False,
    ),
    (
        r"bad packet header",
        "connect_failed",
        "PgBouncer takes no message that is so long: raise its `max_packet_size`, which is 2 GB by default",
        False,
    ),
    (
        r"query_wait_timeout",
        "connect_timeout",
        "the pooler let us in and had no connection to the server for us in time: its pool is full, and a run needs "
        "two places (close sessions, or raise the pool size), or the server behind it is down",
        True,
    ),
    (
        r"timeout expired|timed out|ConnectionTimeout",
        "connect_timeout",
        "the server or pooler did not answer in time: look at its load, or raise `connect_timeout`",
        True,
    ),
    (
        r"ECHECKOUT|ESUBSCRIBERETRIES|EAUTHTIMEOUT|EAUTHQUERY|EPROXY|EPOOLCHECKOUT|EDBHANDLEREXITED|"
        r"authentication query failed|connection to database closed|failed to connect to database|"
        r"login has been failing|client_login_timeout",
        "pooler_trouble",
        "the pooler cannot reach the database or is being redeployed; run again in a minute",
        True,
    ),
    (r"due to (idle-session|transaction) timeout", "connection_lost", TOO_SHORT, True),
    (
        r"closed the connection|connection reset|broken pipe|terminating connection|unexpectedly|unexpected eof|crash",
        "connection_lost",
        "run again; if it stays, look at the server's log",
        True,
    ),
    (
        r"canceling statement due to statement timeout",
        "statement_timeout",
        "a `statement_timeout` of the role or the database stops even the question what the target holds: give it a "
        "longer one with ALTER ROLE, or ALTER DATABASE, ... SET statement_timeout",
        False,
    ),
    (
        r"CONTEXT:\s+PL/pgSQL function",
        "connect_failed",
        "an event trigger ON login of this database lets the role not in: correct its function, or let a superuser say "
        "ALTER EVENT TRIGGER ... DISABLE",
        False,
    ),
)
"""A pattern of the message, the problem's code, its hint, and whether to try again, with backoff."""
