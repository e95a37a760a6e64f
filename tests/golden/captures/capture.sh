#!/bin/sh
# Captures the clients' requests; see README.md. Usage: capture.sh BROKER_PORT PROXY_PORT
set -eu
cd "$(dirname "$0")"
broker=127.0.0.1:$1 proxy=127.0.0.1:$2
python=${PYTHON:-python3}
cargo build --quiet -p ottla-tests --bin capture-proxy
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

capture() { # FOLDER COMMAND...
    folder=$1
    shift
    rm -rf "$folder"
    "$target/debug/capture-proxy" --listen "$proxy" --broker "$broker" --into "$folder" &
    pid=$!
    until "$python" -c "import socket; socket.create_connection(('127.0.0.1', ${proxy#*:}))" 2>/dev/null; do sleep 0.1; done
    "$@"
    kill "$pid"
    wait "$pid" 2>/dev/null || true
}

kcat_session() {
    topic=captures-kcat
    kcat -b "$proxy" -L >/dev/null
    printf 'a:1\nb:2\n' | kcat -b "$proxy" -P -t $topic -K: -H h=v
    printf 'c:3\n' | kcat -b "$proxy" -P -t $topic -K: -z gzip -X enable.idempotence=true
    kcat -b "$proxy" -C -t $topic -e -q -f '%o %k %s\n'
    kcat -b "$proxy" -Q -t $topic:0:1
}

capture kcat-1.7.1 kcat_session
capture confluent-kafka-2.16.1 "$python" confluent_kafka_session.py "$proxy" captures-confluent
capture kafka-python-3.0.12 "$python" kafka_python_session.py "$proxy" captures-python
