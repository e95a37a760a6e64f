#!/usr/bin/env bash
# A member of a group with the Java client: Kafka's VerifiableConsumer as it stands. Argument: the folder of jars.
set -euo pipefail
config=$WORK/$NAME.properties
{
    echo "client.id=$NAME"
    echo "max.poll.records=$POLL_RECORDS"
    [[ $PROTOCOL == consumer ]] || echo "heartbeat.interval.ms=$((SESSION_MS / 6))"
} >"$config"
arguments=(--bootstrap-server "$BOOTSTRAP" --topic "$TOPIC" --group-id "$GROUP" --reset-policy earliest --verbose
    --group-protocol "$PROTOCOL" --consumer.config "$config")
[[ $PROTOCOL == consumer ]] || arguments+=(--session-timeout "$SESSION_MS")
exec java -Xmx128M -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$1/*" org.apache.kafka.tools.VerifiableConsumer "${arguments[@]}"
