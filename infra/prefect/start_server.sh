#!/usr/bin/env bash
# Starts a Prefect server on this machine, and returns when it answers (15 to 75 s).
#
#   infra/prefect/start_server.sh          http://127.0.0.1:4200, database in ~/.prompt-prefect
#   infra/prefect/start_server.sh stop
#
# PREFECT_HOME          folder of database, log and process id
# PREFECT_SERVER_PORT   port
set -euo pipefail

export PREFECT_HOME=${PREFECT_HOME:-$HOME/.prompt-prefect}
port=${PREFECT_SERVER_PORT:-4200}
# Nothing is reported to anyone.
export PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1
export PREFECT_API_URL=http://127.0.0.1:$port/api
pid_file=$PREFECT_HOME/server.pid
mkdir -p "$PREFECT_HOME"

answers() { python -c "import sys, urllib.request; urllib.request.urlopen('$PREFECT_API_URL/health', timeout=2)" 2>/dev/null; }

if [[ ${1:-} == stop ]]; then
    [[ -f $pid_file ]] && kill "$(<"$pid_file")"
    rm -f "$pid_file"
    exit
fi
if answers; then
    echo "A server answers already: $PREFECT_API_URL"
    exit
fi
setsid prefect server start --host 127.0.0.1 --port "$port" >"$PREFECT_HOME/server.log" 2>&1 </dev/null &
echo $! >"$pid_file"
for ((waited = 0; waited < 180; waited++)); do
    if answers; then
        echo "export PREFECT_API_URL=$PREFECT_API_URL"
        exit
    fi
    kill -0 "$(<"$pid_file")" 2>/dev/null || break
    sleep 1
done
tail -20 "$PREFECT_HOME/server.log" >&2
exit 1
