"""confluent-kafka (librdkafka): administration, every codec, replay from offsets and times, idempotence."""

import sys

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from suite import Suite, records, unique

bootstrap = sys.argv[1]
suite = Suite(f"confluent-kafka {confluent_kafka.version() if isinstance(confluent_kafka.version(), str) else confluent_kafka.version()[0]}")
admin = AdminClient({"bootstrap.servers": bootstrap})
COUNT = 2000


def wait(futures):
    return {key: future.result(30) for key, future in futures.items()}


def read_all(topic, partitions, start=0):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": unique("group"), "enable.auto.commit": False, "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, partition, start) for partition in range(partitions)])
    found, ended = [], set()
    while len(ended) < partitions:
        message = consumer.poll(30)
        if message is None:
            sys.exit("no record and no end within 30 s")
        if message.error():
            if message.error().code() != confluent_kafka.KafkaError._PARTITION_EOF:
                raise KafkaException(message.error())
            ended.add(message.partition())
        else:
            found.append(message)
    consumer.close()
    return found


topic = unique("confluent")
wait(admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1, config={"retention.ms": "-1"})]))
metadata = admin.list_topics(topic, timeout=30)
suite.check("a created topic has its partitions", 3, len(metadata.topics[topic].partitions))

try:
    wait(admin.create_topics([NewTopic(topic, num_partitions=3)]))
    suite.check("a second creation is refused", True, False)
except KafkaException as error:
    suite.check("a second creation is refused", "TOPIC_ALREADY_EXISTS", error.args[0].name())

expected = []
for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
    failed = []
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": True, "linger.ms": 5})
    for key, value, timestamp, headers in records(COUNT):
        headers = headers + [("codec", codec.encode())]
        expected.append((key, value, timestamp, headers))
        while True:
            try:
                producer.produce(topic, key=key, value=value, timestamp=timestamp, headers=headers, on_delivery=lambda error, _: error and failed.append(error))
                break
            except BufferError:
                producer.poll(0.1)
    suite.check(f"{codec}: everything is delivered", (0, []), (producer.flush(60), failed))

found = read_all(topic, 3)
shape = lambda message: (message.key(), message.value(), message.timestamp()[1], message.headers())
order = lambda record: repr(record)
suite.check("every record comes back as it was", sorted(expected, key=order), sorted(map(shape, found), key=order))

some = TopicPartition(topic, 0)
low, high = Consumer({"bootstrap.servers": bootstrap, "group.id": "watermarks"}).get_watermark_offsets(some, timeout=30)
suite.check("watermarks", (0, sum(message.partition() == 0 for message in found)), (low, high))

middle = [message for message in found if message.partition() == 0][high // 2]
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "times"})
at = consumer.offsets_for_times([TopicPartition(topic, 0, middle.timestamp()[1])], timeout=30)[0].offset
first = min(message.offset() for message in found if message.partition() == 0 and message.timestamp()[1] >= middle.timestamp()[1])
suite.check("the offset at a time", first, at)
consumer.close()

resource = ConfigResource(ResourceType.TOPIC, topic)
entries = wait(admin.describe_configs([resource]))[resource]
suite.check("configuration shows what was set", "-1", entries["retention.ms"].value)
change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[ConfigEntry("max.message.bytes", "200000", incremental_operation=AlterConfigOpType.SET)])
wait(admin.incremental_alter_configs([change]))
suite.check("an alteration is in force", "200000", wait(admin.describe_configs([resource]))[resource]["max.message.bytes"].value)

wait(admin.create_partitions([NewPartitions(topic, 5)]))
suite.check("partitions were added", 5, len(admin.list_topics(topic, timeout=30).topics[topic].partitions))

offsets = wait(admin.list_offsets({TopicPartition(topic, 0): OffsetSpec.latest()}))
suite.check("ListOffsets by the admin client", high, list(offsets.values())[0].offset)
wait(admin.delete_records([TopicPartition(topic, 0, 10)]))
low, _ = Consumer({"bootstrap.servers": bootstrap, "group.id": "watermarks"}).get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
suite.check("records before an offset are gone", 10, low)

suite.check("the cluster describes itself", 1, len(admin.describe_cluster(request_timeout=30).result(30).nodes))
wait(admin.delete_topics([topic]))
suite.check("a deleted topic is gone", False, topic in admin.list_topics(timeout=30).topics)
