#!/usr/bin/env bash
# kcat: lists, produces with every codec, consumes from offsets and times, asks for offsets.
set -euo pipefail
bootstrap=$1 work=$2
topic=kcat-$$-$RANDOM
check() { # WHAT EXPECTED ACTUAL
    [[ $2 == "$3" ]] || { printf 'kcat: %s\n  expected: %s\n  actual:   %s\n' "$1" "$2" "$3" >&2; exit 1; }
    echo "ok - kcat: $1"
}
k() { kcat -q -b "$bootstrap" "$@"; }

# Producing creates the topic.
printf 'k%s:v%s\n' {1..1000} >"$work/none" # k1:v2 k3:v4 ...
for codec in none gzip snappy lz4 zstd; do
    k -P -t "$topic" -p 0 -K : -z "$codec" -H "codec=$codec" <"$work/none"
done
kcat -b "$bootstrap" -L -t "$topic" | grep -q "topic \"$topic\" with 1 partitions" || { kcat -b "$bootstrap" -L -t "$topic"; exit 1; }
echo "ok - kcat: metadata lists the topic that producing created"
k -C -t "$topic" -p 0 -e -f '%k:%s\n' >"$work/read"
check "2,500 records of five codecs come back in order" "$(for _ in 1 2 3 4 5; do cat "$work/none"; done | md5sum)" "$(md5sum <"$work/read")"
check "headers come back" "codec=zstd" "$(k -C -t "$topic" -p 0 -o -1 -c 1 -e -f '%h\n')"
check "offsets are dense" "$(seq 0 2499 | md5sum)" "$(k -C -t "$topic" -p 0 -e -f '%o\n' | md5sum)"
check "a read from the middle of a batch starts at its offset" "1234" "$(k -C -t "$topic" -p 0 -o 1234 -c 1 -f '%o\n')"
check "the last three" "2497 2498 2499" "$(k -C -t "$topic" -p 0 -o -3 -e -f '%o ' | xargs)"
time_of_first=$(k -C -t "$topic" -p 0 -o 0 -c 1 -f '%T')
check "the offset at a time" "$topic [0] offset 0" "$(k -Q -t "$topic:0:$time_of_first" | sed 's/ *$//')"
check "the end offset" "$topic [0] offset 2500" "$(k -Q -t "$topic:0:-1" | sed 's/ *$//')"
