#!/usr/bin/env bash
# Kafka's consumer-groups tool: lists, describes, resets and deletes as it does against Kafka. Says what each command printed, with
# what differs from run to run made the same; run it against Apache Kafka 4.3 to record what to expect:
#
#   consumer_groups_tool.sh HOST:PORT JARS WORK >tests/foreign/groups/consumer-groups-VERSION.txt
set -euo pipefail
bootstrap=$1 libs=$2 work=$3
suffix=$$-$RANDOM
topic=tool-topic-$suffix group=tool-group-$suffix
members=()
trap 'for pid in "${members[@]}"; do kill -9 "$pid" 2>/dev/null || true; done' EXIT

jvm=(java -Xmx128M -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$libs/*")
# In no order: rows come from maps. Widths of columns follow the ids.
same() {
    sed -E -e "s/$topic/TOPIC/g; s/$group/GROUP/g; s/$bootstrap/BOOTSTRAP/g" \
        -e 's/member-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/MEMBER-ID/g; s/[A-Za-z0-9_-]{22}( |$)/MEMBER-ID\1/g' \
        -e 's/[[:space:]]+/ /g; s/^ //; s/ $//; /^$/d; /^(SLF4J|\[[0-9-]+ [0-9:,]+\]|[0-9-]+T[0-9:.]+Z main)/d' | LC_ALL=C sort
}
# What the tool prints, and how it ends.
groups() {
    local code=0
    printf '\n$ consumer-groups %s\n' "${*//$topic/TOPIC}" | sed "s/$group/GROUP/g; s#$work#WORK#g"
    "${jvm[@]}" org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$bootstrap" "$@" >"$work/tool.out" 2>&1 || code=$?
    # A failure ends in a stack trace of the tool's own.
    grep -vE '^\s+at |^Caused by|^\s+\.\.\. ' "$work/tool.out" | same
    echo "exit code $code"
}
# Those of the list that are ours: others may be at work.
listed() {
    groups "$@" >"$work/list.out"
    grep -E '^\$|^GROUP|^exit' "$work/list.out"
}
# Waits until a description has a line that matches.
until_described() { # PATTERN ARGUMENTS...
    local pattern=$1 waited=0 described
    shift
    while
        described=$("${jvm[@]}" org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$bootstrap" --describe --group "$group" "$@" 2>&1)
        ! grep -qE -- "$pattern" <<<"$described"
    do
        ((++waited <= 60)) || { printf 'consumer-groups: %s was never described, but\n%s\n' "$pattern" "$described" >&2; exit 1; }
    done
}
member() { # PROTOCOL
    printf 'client.id=member\n' >"$work/member.properties"
    [[ $1 == consumer ]] || printf 'session.timeout.ms=6000\n' >>"$work/member.properties"
    "${jvm[@]}" org.apache.kafka.tools.VerifiableConsumer --bootstrap-server "$bootstrap" --topic "$topic" --group-id "$group" \
        --reset-policy earliest --group-protocol "$1" --consumer.config "$work/member.properties" >"$work/member.out" 2>"$work/member.err" &
    members+=($!)
}
leave() {
    kill "${members[-1]}"
    wait "${members[-1]}" || true
    unset 'members[-1]'
}

"${jvm[@]}" org.apache.kafka.tools.TopicCommand --bootstrap-server "$bootstrap" --create --topic "$topic" --partitions 3 --config retention.ms=-1 >/dev/null 2>&1
# Three keys: ten records in partition 0, none in 1, twenty in 2.
"${jvm[@]}" org.apache.kafka.tools.VerifiableProducer --bootstrap-server "$bootstrap" --topic "$topic" --max-messages 30 \
    --repeating-keys 3 >/dev/null 2>"$work/producer.err" || { cat "$work/producer.err" >&2; exit 1; }

groups --describe --group "$group"
groups --delete --group "$group"
groups --reset-offsets --group "$group" --topic "$topic" --to-earliest --dry-run
groups --reset-offsets --group "$group" --topic "$topic:0,1" --to-offset 4 --execute
groups --describe --group "$group"
groups --describe --group "$group" --state
groups --describe --group "$group" --members
groups --reset-offsets --group "$group" --all-topics --shift-by 2 --execute
groups --reset-offsets --group "$group" --all-topics --shift-by 1000000 --dry-run
groups --reset-offsets --group "$group" --topic "$topic" --to-datetime 2001-01-01T00:00:00.000 --execute
groups --reset-offsets --group "$group" --topic "$topic" --by-duration PT0S --dry-run
printf '%s,0,3\n%s,2,1\n' "$topic" "$topic" >"$work/offsets.csv"
groups --reset-offsets --group "$group" --from-file "$work/offsets.csv" --execute
groups --reset-offsets --group "$group" --all-topics --to-current --export --dry-run
listed --list --state
listed --list --state Empty
groups --delete-offsets --group "$group" --topic "$topic:2"
for protocol in classic consumer; do
    printf '\n# a member of the %s protocol\n' "$protocol"
    member "$protocol"
    until_described Stable --state
    until_described "$topic +0 +.* 0 +.*member" --offsets
    until_described "$topic +2 +.* 0 +.*member" --offsets
    listed --list --type
    groups --describe --group "$group"
    groups --describe --group "$group" --members --verbose
    groups --describe --group "$group" --state
    groups --reset-offsets --group "$group" --topic "$topic" --to-earliest --execute
    groups --delete-offsets --group "$group" --topic "$topic"
    groups --delete --group "$group"
    leave
    until_described Empty --state
done
groups --reset-offsets --group "$group" --topic "$topic" --to-latest --execute
groups --delete --group "$group"
groups --describe --group "$group" --state
listed --list
