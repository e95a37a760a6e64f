"""A member of a group with confluent-kafka, which says what it does as Kafka's VerifiableConsumer does: see member.py."""

import confluent_kafka

from member import POLL_RECORDS, POLL_SECONDS, Member


class ConfluentMember(Member):
    def open(self):
        config = {
            "bootstrap.servers": self.bootstrap,
            "group.id": self.group,
            "client.id": self.name,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
        if self.protocol == "consumer":
            config["group.protocol"] = "consumer"
        else:
            config |= {"session.timeout.ms": self.session_ms, "heartbeat.interval.ms": self.session_ms // 6}
        self.consumer = confluent_kafka.Consumer(config)
        pairs = lambda partitions: [(one.topic, one.partition) for one in partitions]
        self.consumer.subscribe(
            [self.topic],
            on_assign=lambda _, partitions: self.assigned(pairs(partitions)),
            on_revoke=lambda _, partitions: self.revoked(pairs(partitions)),
            on_lost=lambda _, partitions: self.lost(pairs(partitions)),
        )

    def poll(self):
        """One by one: a revocation comes between two records, as it does for whoever uses the client."""
        for index in range(POLL_RECORDS):
            message = self.consumer.poll(0 if index else POLL_SECONDS)
            if message is None:
                return
            if message.error():
                self.say("trouble", error=str(message.error()))
            else:
                yield message.partition(), message.offset(), message.value()

    def commit(self, offsets):
        wanted = [confluent_kafka.TopicPartition(self.topic, partition, offset) for partition, offset in offsets.items()]
        for committed in self.consumer.commit(offsets=wanted, asynchronous=False):
            if committed.error:
                raise confluent_kafka.KafkaException(committed.error)

    def close(self):
        self.consumer.close()


ConfluentMember().run()
