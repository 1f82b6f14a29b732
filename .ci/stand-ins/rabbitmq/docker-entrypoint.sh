#!/bin/bash
# Starts RabbitMQ as the official image does. The server itself reads RABBITMQ_DEFAULT_USER, _PASS and _VHOST.
# The cookie is made here, before the server starts: a command that root runs by `docker exec` would make it root's own.
set -euo pipefail

if [[ ${1:-} != rabbitmq-server ]]; then exec "$@"; fi

if [[ $(id -u) == 0 ]]; then
  if [[ ! -s $HOME/.erlang.cookie ]]; then
    (umask 377 && od -An -tx1 -N16 /dev/urandom | tr -d ' \n' >"$HOME/.erlang.cookie")
  fi
  find "$HOME" ! -user rabbitmq -exec chown rabbitmq:rabbitmq {} +
  exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$0" "$@"
fi

exec "$@"
