"""What kafka-python does while its requests are captured. Usage: kafka_python_session.py HOST:PORT TOPIC"""

import sys

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic

bootstrap, topic = sys.argv[1:3]
admin = KafkaAdminClient(bootstrap_servers=bootstrap)
admin.create_topics([NewTopic(topic, 2, 1, topic_configs={"retention.ms": "3600000"})])


def attempt(name, *arguments):
    """Calls what this version of the client has, and says what it could not do."""
    try:
        getattr(admin, name)(*arguments)
    except Exception as error:
        print(name, type(error).__name__, error)


attempt("list_topics")
attempt("describe_topics", [topic])
attempt("describe_cluster")
attempt("describe_log_dirs")
attempt("create_partitions", {topic: NewPartitions(3)})
attempt("describe_configs", [ConfigResource(ConfigResourceType.TOPIC, topic)])
attempt("alter_configs", [ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "7200000"})])

for settings in [{}, {"enable_idempotence": True}, {"compression_type": "gzip", "acks": 1}]:
    producer = KafkaProducer(bootstrap_servers=bootstrap, **settings)
    for number in range(3):
        producer.send(topic, key=b"key", value=b"value-%d" % number, headers=[("h", b"v")], partition=0)
    producer.flush(30)
    producer.close()

partition = TopicPartition(topic, 0)
consumer = KafkaConsumer(bootstrap_servers=bootstrap, consumer_timeout_ms=30000)
consumer.assign([partition])
consumer.seek_to_beginning(partition)
read = 0
while read < 9:
    read += sum(len(records) for records in consumer.poll(30000).values())
consumer.beginning_offsets([partition])
consumer.end_offsets([partition])
consumer.offsets_for_times({partition: 1})
consumer.close()

attempt("delete_records", {partition: 2})
attempt("delete_topics", [topic])
admin.close()
