# Brings the database $1 up: runs the files of shared/, own/$1/ and added/ whose names come after its version.
set -e
target=$1
newest=$(psql -XAtq -d "$target" -c 'SELECT max(id) FROM psql_version' 2>/dev/null) || newest=
set -- -X -q -v ON_ERROR_STOP=1 -o /dev/null -d "$target"
[ "$newest" ] || set -- "$@" -c 'CREATE TABLE psql_version (id text PRIMARY KEY)'
pending=
for file in shared/*.sql "own/$target"/*.sql added/*.sql; do
    name=${file##*/}
    if [ -f "$file" ] && [ "${name%.sql}" \> "$newest" ]; then
        set -- "$@" -f "$file"
        pending=yes
    fi
done
[ -z "$pending" ] || exec psql "$@"
