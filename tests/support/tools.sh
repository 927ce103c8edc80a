#!/bin/sh
# The programs that the tests start and pip cannot install: pgbouncer, a PostgreSQL server with TLS, openssl.
# Where one is missing and apt-get can be used it is installed; else the tests that need it fail and say so.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
missing=""
command -v pgbouncer >/dev/null || missing="$missing pgbouncer"
command -v openssl >/dev/null || missing="$missing openssl"
command -v git >/dev/null || missing="$missing git"
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$missing libfaketime"
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null || { echo "please install:$missing"; exit 0; }
sudo=""
[ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null && sudo="sudo -n"; } ||
    { echo "please install:$missing"; exit 0; }
# the packages' own servers are not wanted, only their programs
$sudo mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
    echo "create_main_cluster = false" | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
echo "installing:$missing"
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
