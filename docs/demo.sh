#!/usr/bin/env bash
# The main job, on an embedded PostgreSQL: this repository's own fleet migrated from nothing, a target that fails alone,
# and its way back. Works in a copy below .ehg/, so that nothing of the checkout changes.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
rm -rf .ehg/demo/versions .ehg/demo/targets
mkdir -p .ehg/demo && cp -R alembic.ini targets versions .ehg/demo/ && cd .ehg/demo || exit 1

say() { printf '\n# %s\n' "$*"; }
ehg() { # shows the command, runs it, stops unless it ends as expected
    local expected=$1; shift
    printf '$ ehg-migrate'
    for word in "$@"; do case $word in *[\ \;]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac; done
    printf '\n'
    ehg-migrate "$@"; local code=$?
    [ "$code" = 0 ] || echo "(exit $code)"
    [ "$code" = "$expected" ] || { echo "demo: expected exit $expected"; exit 1; }
}
write_revision() { # id, what it continues, table
    cat > "versions/shared/$1.py" <<EOF
"""table $3"""
from alembic import op
revision, down_revision, branch_labels, depends_on = "$1", "$2", None, None


def upgrade() -> None:
    op.execute("CREATE TABLE $3 (id bigint PRIMARY KEY)")
    op.execute("ALTER TABLE $3 ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.execute("DROP TABLE $3")
EOF
}

ehg-migrate local wipe --yes >/dev/null || exit 1
ehg-migrate local start >/dev/null || exit 1
trap 'ehg-migrate local stop >/dev/null' EXIT

say "every target of the fleet, each from nothing to its own heads"
ehg 0 upgrade --local --yes

say "again: nothing to do, and quickly"
time ehg 0 upgrade --local --yes

say "two new revisions for everybody; in app_2 somebody has made the second table by hand"
head=$(sed -n 's/^revision = "\(.*\)"/\1/p' "$(ls versions/shared/*.py | tail -n 1)")
write_revision demo_announcements "$head" announcements
write_revision demo_surveys demo_announcements surveys
ehg 0 local psql app_2 -- -qc 'CREATE TABLE surveys (id int)'
ehg 1 upgrade --local --yes

say "app_2 failed alone. Back to exactly where it was before that run"
run=$(ehg-migrate runs --local -n 1 --json | sed -n 's/^ *"id": "\(.*\)",/\1/p' | head -n 1)
ehg 0 rollback "$run" --targets app_2 --local --yes
ehg 0 history app_2 --local

say "the hand-made table goes, and the next run does what is missing, only there"
ehg 0 local psql app_2 -- -qc 'DROP TABLE surveys'
ehg 0 upgrade --local --yes
ehg 0 status --local
