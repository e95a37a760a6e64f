// Writes record batches with Apache Kafka's own classes, for the tests of this crate to read. The tests know what is in them.
//
//   java -cp KAFKA_JARS RecordBatches.java records/
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.utils.ByteBufferOutputStream;

public class RecordBatches {
    static final long TIME = 1_700_000_000_000L;
    static final byte V2 = 2;
    static Path folder;

    public static void main(String[] args) throws Exception {
        folder = Path.of(args[0]);
        for (CompressionType type : CompressionType.values()) {
            Compression compression = Compression.of(type).build();
            MemoryRecordsBuilder few = builder(compression, TimestampType.CREATE_TIME, 0, -1, (short) -1, -1, false, false, -1);
            few.append(TIME + 2, bytes("key"), bytes("value"), new Header[] {
                new RecordHeader("h", bytes("one")), new RecordHeader("h", null), new RecordHeader("", new byte[0])});
            few.append(TIME, null, bytes("no key"));
            few.append(TIME + 70_000, bytes(""), null);
            few.append(TIME + 70_000, bytes("schlüssel"), bytes(""));
            write("few-" + type.name, few);

            // More than one block of every codec.
            MemoryRecordsBuilder many = builder(compression, TimestampType.CREATE_TIME, 0, -1, (short) -1, -1, false, false, -1);
            for (int i = 0; i < 3_000; i++) {
                many.append(TIME + i * 7L % 1_000, bytes("k" + i % 97), bytes("value of record " + i + ", " + (i * 2_654_435_761L >>> 7)));
            }
            if (type != CompressionType.NONE) write("many-" + type.name, many);
        }
        Compression none = Compression.NONE;
        MemoryRecordsBuilder idempotent = builder(none, TimestampType.CREATE_TIME, 0, 4_000_000_000L, (short) 7, Integer.MAX_VALUE, false, false, -1);
        idempotent.append(TIME, null, bytes("a"));
        idempotent.append(TIME, null, bytes("b"));
        write("idempotent", idempotent);
        MemoryRecordsBuilder transactional = builder(none, TimestampType.CREATE_TIME, 0, 5, (short) 0, 0, true, false, -1);
        transactional.append(TIME, null, bytes("a"));
        write("transactional", transactional);
        MemoryRecordsBuilder stamped = builder(none, TimestampType.LOG_APPEND_TIME, 100, -1, (short) -1, -1, false, false, 12);
        stamped.append(5, null, bytes("a"));
        stamped.append(6, null, bytes("b"));
        write("log-append-time", stamped);
        MemoryRecordsBuilder compacted = builder(none, TimestampType.CREATE_TIME, 1_000, -1, (short) -1, -1, false, false, 3);
        compacted.appendWithOffset(1_002, TIME, bytes("a"), bytes("1"));
        compacted.appendWithOffset(1_009, TIME, bytes("b"), bytes("2"));
        compacted.overrideLastOffset(1_020);
        write("compacted", compacted);
        MemoryRecordsBuilder horizon = new MemoryRecordsBuilder(new ByteBufferOutputStream(1_024), V2, none, TimestampType.CREATE_TIME,
            7, TIME, -1, (short) -1, -1, false, false, 3, 1_024, TIME + 86_400_000);
        horizon.append(TIME, bytes("gone"), null);
        write("delete-horizon", horizon);
        write("end-transaction-commit", MemoryRecords.withEndTransactionMarker(40, TIME, 9, 5, (short) 1,
            new EndTransactionMarker(ControlRecordType.COMMIT, 2)).buffer());
        write("end-transaction-abort", MemoryRecords.withEndTransactionMarker(40, TIME, 9, 5, (short) 1,
            new EndTransactionMarker(ControlRecordType.ABORT, 2)).buffer());
    }

    static MemoryRecordsBuilder builder(Compression compression, TimestampType type, long baseOffset, long producerId,
            short epoch, int sequence, boolean transactional, boolean control, int leaderEpoch) {
        return new MemoryRecordsBuilder(new ByteBufferOutputStream(1_024), V2, compression, type, baseOffset, TIME,
            producerId, epoch, sequence, transactional, control, leaderEpoch, 1 << 20);
    }

    static void write(String name, MemoryRecordsBuilder builder) throws Exception {
        write(name, builder.build().buffer());
    }

    static void write(String name, ByteBuffer buffer) throws Exception {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        Files.write(folder.resolve(name + ".bin"), bytes);
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
