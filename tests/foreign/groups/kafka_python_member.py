"""A member of a group with kafka-python, which says what it does as Kafka's VerifiableConsumer does: see member.py."""

from kafka import ConsumerRebalanceListener, KafkaConsumer

from member import POLL_RECORDS, POLL_SECONDS, Member


class Listener(ConsumerRebalanceListener):
    def __init__(self, member):
        self.member = member

    def on_partitions_assigned(self, assigned):
        self.member.assigned([(one.topic, one.partition) for one in assigned])

    def on_partitions_revoked(self, revoked):
        self.member.revoked([(one.topic, one.partition) for one in revoked])

    def on_partitions_lost(self, lost):
        self.member.lost([(one.topic, one.partition) for one in lost])


class KafkaPythonMember(Member):
    def open(self):
        self.consumer = KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=self.group,
            client_id=self.name,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=self.session_ms,
            heartbeat_interval_ms=self.session_ms // 6,
        )
        self.consumer.subscribe([self.topic], listener=Listener(self))

    def poll(self):
        for messages in self.consumer.poll(timeout_ms=int(POLL_SECONDS * 1000), max_records=POLL_RECORDS).values():
            for message in messages:
                yield message.partition, message.offset, message.value

    def commit(self, offsets):
        # What poll has handed out, which is what was said.
        self.consumer.commit()

    def close(self):
        self.consumer.close(autocommit=False)


KafkaPythonMember().run()
