#!/bin/bash
# Starts PostgreSQL as the official image does. The first start makes the data directory: while it does, the server
# listens on its socket alone, so a client on TCP sees either nothing or a server that is complete.
set -euo pipefail

if [[ ${1:-} == -* ]]; then set -- postgres "$@"; fi
if [[ ${1:-} != postgres ]]; then exec "$@"; fi

if [[ $(id -u) == 0 ]]; then
  install -d -o postgres -g postgres -m 700 "$PGDATA"
  install -d -o postgres -g postgres -m 3775 /var/run/postgresql
  find "$PGDATA" ! -user postgres -exec chown postgres:postgres {} +
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

if [[ ! -s $PGDATA/PG_VERSION ]]; then
  if [[ -z ${POSTGRES_PASSWORD:-} ]]; then
    echo "the first start needs POSTGRES_PASSWORD, the password of the superuser $user" >&2
    exit 1
  fi
  initdb --username="$user" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --auth-local=trust --auth-host=scram-sha-256
  printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
  pg_ctl --wait --options="-c listen_addresses='' ${*:2}" start
  if [[ $database != postgres ]]; then createdb --username="$user" --maintenance-db=postgres -- "$database"; fi
  for file in /docker-entrypoint-initdb.d/*.sql; do
    [[ -e $file ]] || continue
    psql --set=ON_ERROR_STOP=1 --username="$user" --dbname="$database" --file="$file"
  done
  pg_ctl --wait --mode=fast stop
fi

exec "$@"
