#!/usr/bin/env bash
# Apache Kafka's own dump tool on a data directory of ours, held against `ottla log dump`: batches, records, both indexes and
# producer snapshots, field by field. The records come from our command and from Kafka's producer, in all codecs.
set -euo pipefail
ottla=$1 libs=$2 version=$3 work=$4/dump-log-$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v java >/dev/null || { echo "dump-log: a JDK is missing (17 or later)" >&2; exit 1; }
mkdir -p "$work"
java=(java -Xmx512M -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$libs/*")

"$ottla" serve --quiet --data-dir "$work/data" --listen 127.0.0.1:0 --port-file "$work/address" >"$work/broker.log" 2>&1 &
broker=$!
trap 'kill "$broker" 2>/dev/null || true; wait "$broker" 2>/dev/null || true' EXIT
waited=0
until [[ -s $work/address ]]; do
    kill -0 "$broker" 2>/dev/null || { cat "$work/broker.log" >&2; echo "dump-log: the broker did not start" >&2; exit 1; }
    ((++waited <= 600)) || { echo "dump-log: the broker did not announce its address within a minute" >&2; exit 1; }
    sleep 0.1
done
bootstrap=$(head -n 1 "$work/address")
export OTTLA_BOOTSTRAP_SERVER=$bootstrap

"$ottla" topic create dumped --config segment.bytes=1048576 --config index.interval.bytes=4096
for codec in none gzip snappy lz4 zstd; do
    seq 1 8000 | awk -v codec="$codec" '{printf "%s-%d=record %d of %s, %d\n", codec, $1 % 100, $1, codec, ($1 * 7919) % 104729}' |
        "$ottla" produce dumped --quiet --key-separator = --compression "$codec"
    "${java[@]}" org.apache.kafka.tools.ProducerPerformance --topic dumped --num-records 3000 --record-size 100 --throughput -1 \
        --producer-props bootstrap.servers="$bootstrap" compression.type="$codec" >/dev/null 2>"$work/java.err" || { cat "$work/java.err" >&2; exit 1; }
done
kill "$broker"
wait "$broker"
trap - EXIT

partition=$work/data/dumped-0
files=$(find "$partition" -name '*.log' -o -name '*.index' -o -name '*.timeindex' -o -name '*.snapshot' | sort | paste -sd,)
if [[ $version == 3.* ]]; then class=kafka.tools.DumpLogSegments; else class=org.apache.kafka.tools.DumpLogSegments; fi
"${java[@]}" "$class" --deep-iteration --print-data-log --files "$files" >"$work/kafka.txt" 2>"$work/java.err" || { cat "$work/java.err" >&2; exit 1; }
"$ottla" log verify "$work/data" --records --quiet >"$work/verify.txt" || { cat "$work/verify.txt" >&2; exit 1; }
"$ottla" log dump "$partition" --records --output json >"$work/ottla.json"
python3 "$here/python/dump_log.py" "$work/kafka.txt" "$work/ottla.json"
echo "ok - java $version: DumpLogSegments agrees with ottla log dump"
rm -rf "$work"
