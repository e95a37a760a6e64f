"""What confluent-kafka does while its requests are captured. Usage: confluent_kafka_session.py HOST:PORT TOPIC"""

import sys

from confluent_kafka import Consumer, IsolationLevel, KafkaException, Producer, TopicPartition
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

bootstrap, topic = sys.argv[1:3]
admin = AdminClient({"bootstrap.servers": bootstrap})


def wait(futures):
    for future in futures.values():
        try:
            future.result(30)
        except KafkaException as error:
            print(error)


wait(admin.create_topics([NewTopic(topic, 2, 1, config={"retention.ms": "3600000"})]))
admin.list_topics(timeout=30)
admin.describe_cluster().result(30)
wait(admin.create_partitions([NewPartitions(topic, 3)]))
wait(admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))
entry = ConfigEntry("retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET)
wait(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]))
wait(admin.alter_configs([ConfigResource(ResourceType.TOPIC, topic, set_config={"retention.ms": "3600000"})]))

for settings in [{}, {"enable.idempotence": True, "compression.type": "zstd"}, {"acks": 1, "compression.type": "lz4"}]:
    producer = Producer({"bootstrap.servers": bootstrap, **settings})
    for number in range(3):
        producer.produce(topic, key=f"key-{number}", value=f"value-{number}", headers=[("h", b"v"), ("n", None)], partition=0)
    producer.flush(30)

consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "captures", "auto.offset.reset": "earliest"})
consumer.assign([TopicPartition(topic, 0, 0)])
read = 0
while read < 9:
    message = consumer.poll(30)
    read += message is not None and message.error() is None
consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
consumer.offsets_for_times([TopicPartition(topic, 0, 1)], timeout=30)
consumer.close()

wait(admin.list_offsets({TopicPartition(topic, 0): OffsetSpec.max_timestamp()}, isolation_level=IsolationLevel.READ_COMMITTED))
wait(admin.delete_records([TopicPartition(topic, 0, 2)]))
wait(admin.delete_topics([topic]))
