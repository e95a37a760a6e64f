#!/usr/bin/env bash
# Apache Kafka's own command-line tools, which are its Java clients: topics, configs, console producer and consumer, get-offsets,
# delete-records, log-dirs, producer-perf.
set -euo pipefail
bootstrap=$1 libs=$2 version=$3 work=$4
topic=java-$$-$RANDOM
check() { # WHAT EXPECTED ACTUAL
    [[ $2 == "$3" ]] || { printf 'java %s: %s\n  expected: %s\n  actual:   %s\n' "$version" "$1" "$2" "$3" >&2; exit 1; }
    echo "ok - java $version: $1"
}
holds() { # WHAT PATTERN TEXT
    grep -qE -- "$2" <<<"$3" || { printf 'java %s: %s\n  expected: %s\n  actual:   %s\n' "$version" "$1" "$2" "$3" >&2; exit 1; }
    echo "ok - java $version: $1"
}
tool() {
    local class=$1
    shift
    java -Xmx256M -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$libs/*" "org.apache.kafka.tools.$class" "$@" 2>"$work/java.err" \
        || { cat "$work/java.err" >&2; return 1; }
}
# Classes that moved between the two versions.
if [[ $version == 3.* ]]; then
    producer=(java -Xmx256M -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$libs/*" kafka.tools.ConsoleProducer)
else
    producer=(java -Xmx256M -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$libs/*" org.apache.kafka.tools.ConsoleProducer)
fi
server=(--bootstrap-server "$bootstrap")

holds "topics --create" "Created topic $topic" "$(tool TopicCommand "${server[@]}" --create --topic "$topic" --partitions 2 --config retention.ms=-1)"
described=$(tool TopicCommand "${server[@]}" --describe --topic "$topic")
holds "topics --describe names the partitions" "PartitionCount: 2" "$described"
holds "topics --describe names the overrides" "retention.ms=-1" "$described"
holds "topics --list" "^$topic$" "$(tool TopicCommand "${server[@]}" --list)"

seq 1 5000 >"$work/lines"
"${producer[@]}" "${server[@]}" --topic "$topic" <"$work/lines" >/dev/null 2>"$work/java.err" || { cat "$work/java.err"; exit 1; }
read_back=$(tool consumer.ConsoleConsumer "${server[@]}" --topic "$topic" --partition 0 --offset earliest --timeout-ms 20000 || true
    tool consumer.ConsoleConsumer "${server[@]}" --topic "$topic" --partition 1 --offset earliest --timeout-ms 20000 || true)
check "console-producer to console-consumer" "$(md5sum <"$work/lines")" "$(sort -n <<<"$read_back" | md5sum)"

ends=$(tool GetOffsetShell "${server[@]}" --topic "$topic" | awk -F: '{sum += $3} END {print sum}')
check "get-offsets" 5000 "$ends"
filled=$(tool GetOffsetShell "${server[@]}" --topic "$topic" | awk -F: '$3 > 10 {print $2; exit}')
printf '{"partitions":[{"topic":"%s","partition":%s,"offset":10}],"version":1}' "$topic" "$filled" >"$work/delete.json"
holds "delete-records" "low_watermark: 10" "$(tool DeleteRecordsCommand "${server[@]}" --offset-json-file "$work/delete.json")"
check "get-offsets after it" "$topic:$filled:10" "$(tool GetOffsetShell "${server[@]}" --topic-partitions "$topic:$filled" --time earliest)"
holds "log-dirs" "\"partition\":\"$topic-0\"" "$(tool LogDirsCommand "${server[@]}" --describe --topic-list "$topic")"

configs() {
    java -Xmx256M -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$libs/*" kafka.admin.ConfigCommand "${server[@]}" "$@" 2>"$work/java.err" || { cat "$work/java.err" >&2; return 1; }
}
holds "configs --alter" "Completed updating config" "$(configs --alter --entity-type topics --entity-name "$topic" --add-config max.message.bytes=200000)"
holds "configs --describe" "max.message.bytes=200000" "$(configs --describe --entity-type topics --entity-name "$topic")"
if [[ $version != 3.* ]]; then
    group=group-$topic
    holds "configs --alter of a group" "Completed updating config for group $group" \
        "$(configs --alter --entity-type groups --entity-name "$group" --add-config consumer.session.timeout.ms=50000)"
    holds "configs --describe of a group" "consumer.session.timeout.ms=50000 .*DYNAMIC_GROUP_CONFIG" \
        "$(configs --describe --entity-type groups --entity-name "$group")"
fi
holds "configs --describe --all of the broker" "log.retention.hours=168" "$(configs --describe --all --entity-type brokers --entity-name 1)"

holds "producer-perf" "^20000 records sent" "$(tool ProducerPerformance --topic "$topic" --num-records 20000 --record-size 200 --throughput -1 \
    --producer-props bootstrap.servers="$bootstrap" compression.type=zstd)"
check "everything of it is there" 25000 "$(tool GetOffsetShell "${server[@]}" --topic "$topic" | awk -F: '{sum += $3} END {print sum}')"
tool TopicCommand "${server[@]}" --alter --topic "$topic" --partitions 4
holds "topics --alter" "PartitionCount: 4" "$(tool TopicCommand "${server[@]}" --describe --topic "$topic")"
tool TopicCommand "${server[@]}" --delete --topic "$topic"
check "topics --delete" 0 "$(tool TopicCommand "${server[@]}" --list | grep -c "^$topic$" || true)"
