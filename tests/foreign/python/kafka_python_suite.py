"""kafka-python: administration, the codecs that it has without extra packages, replay from offsets and times."""

import sys

import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic

from suite import Suite, records, unique

bootstrap = sys.argv[1]
suite = Suite(f"kafka-python {kafka.__version__}")
COUNT = 2000

admin = KafkaAdminClient(bootstrap_servers=bootstrap)
topic = unique("kafka-python")
admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1, topic_configs={"retention.ms": "-1"})])
suite.check("a created topic is listed", True, topic in admin.list_topics())

expected = []
for codec in [None, "gzip"]:
    producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type=codec, acks="all", linger_ms=5)
    sent = []
    for key, value, timestamp, headers in records(COUNT):
        if value is None and key is None:
            key = b"neither"
        expected.append((key, value, timestamp, headers))
        sent.append(producer.send(topic, key=key, value=value, timestamp_ms=timestamp, headers=headers))
    producer.flush(60)
    suite.check(f"{codec}: everything is delivered", [], [future.exception for future in sent if not future.succeeded()])
    producer.close()

partitions = [TopicPartition(topic, index) for index in range(3)]
consumer = KafkaConsumer(bootstrap_servers=bootstrap, consumer_timeout_ms=30_000)
consumer.assign(partitions)
consumer.seek_to_beginning()
ends = consumer.end_offsets(partitions)
suite.check("end offsets", len(expected), sum(ends.values()))
found = []
while len(found) < len(expected):
    batch = consumer.poll(timeout_ms=30_000)
    if not batch:
        sys.exit("no record within 30 s")
    for messages in batch.values():
        found.extend(messages)
shape = lambda message: (message.key, message.value, message.timestamp, list(message.headers))
suite.check("every record comes back as it was", sorted(map(repr, expected)), sorted(map(repr, map(shape, found))))

of_first = [message for message in found if message.partition == 0]
middle = of_first[len(of_first) // 2]
at = consumer.offsets_for_times({partitions[0]: middle.timestamp})[partitions[0]].offset
suite.check("the offset at a time", min(m.offset for m in of_first if m.timestamp >= middle.timestamp), at)
consumer.seek(partitions[0], middle.offset)
consumer.pause(*partitions[1:])
again = next(iter(consumer.poll(timeout_ms=30_000, max_records=1).values()))[0]
suite.check("a read from the middle starts at its offset", middle.offset, again.offset)
consumer.close()

admin.create_partitions({topic: NewPartitions(5)})
consumer = KafkaConsumer(bootstrap_servers=bootstrap)
suite.check("partitions were added", set(range(5)), consumer.partitions_for_topic(topic))
consumer.close()
resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": "200000"})
admin.alter_configs([resource])
described = str(admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
suite.check("an alteration is in force", True, "max.message.bytes" in described and "200000" in described)
admin.delete_topics([topic])
suite.check("a deleted topic is gone", False, topic in admin.list_topics())
admin.close()
