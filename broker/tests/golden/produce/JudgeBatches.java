// Asks Apache Kafka's own log what it thinks of the bytes of a produce request.
//
//   java -cp KAFKA_JARS JudgeBatches.java cases.tsv > kafka-4.3.tsv
//
// A line in: name, topic configs as k=v separated by blanks, bytes in hex. A line out: name, then the error and the indexes of
// the records that it names, or the attributes, the highest timestamp and every record's timestamp of what was stored.
import java.io.File;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.requests.ProduceResponse;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.server.common.TransactionVersion;
import org.apache.kafka.server.storage.log.FetchIsolation;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.RecordValidationException;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.log.VerificationGuard;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

public class JudgeBatches {
    static final long NOW = 1_700_000_000_000L;
    static final short PRODUCE_VERSION = 11;
    static final Time CLOCK = (Time) Proxy.newProxyInstance(Time.class.getClassLoader(), new Class<?>[] {Time.class},
        (proxy, method, args) -> method.getName().equals("milliseconds") ? (Object) NOW : method.invoke(Time.SYSTEM, args));

    public static void main(String[] args) throws Exception {
        Path base = Files.createTempDirectory("judge");
        KafkaScheduler scheduler = new KafkaScheduler(1);
        scheduler.startup();
        BrokerTopicStats stats = new BrokerTopicStats();
        int number = 0;
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            String[] fields = line.split("\t", -1);
            Map<String, String> overrides = new HashMap<>();
            for (String pair : fields[1].split(" ")) {
                if (!pair.isEmpty()) overrides.put(pair.split("=")[0], pair.split("=")[1]);
            }
            File dir = base.resolve("t-" + number++).toFile();
            dir.mkdir();
            UnifiedLog log = UnifiedLog.create(dir, new LogConfig(overrides), 0, 0, scheduler, stats, CLOCK, 900_000,
                new ProducerStateManagerConfig(86_400_000, true), 600_000, new LogDirFailureChannel(1), true, Optional.empty());
            MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(HexFormat.of().parseHex(fields[2])));
            System.out.println(fields[0] + "\t" + judge(log, records));
            log.close();
        }
        scheduler.shutdown();
        System.exit(0);
    }

    static String judge(UnifiedLog log, MemoryRecords records) {
        try {
            ProduceRequest.validateRecords(PRODUCE_VERSION, records);
            log.appendAsLeader(records, 0, AppendOrigin.CLIENT, RequestLocal.noCaching(), VerificationGuard.SENTINEL,
                TransactionVersion.TV_2.featureLevel());
            RecordBatch stored = log.read(0, Integer.MAX_VALUE, FetchIsolation.LOG_END, true).records.batches().iterator().next();
            stored.ensureValid();
            List<String> times = new ArrayList<>();
            for (Record record : stored) times.add(Long.toString(record.timestamp()));
            int attributes = stored.compressionType().id | stored.timestampType().id << 3 | (stored.isTransactional() ? 16 : 0)
                | (stored.isControlBatch() ? 32 : 0) | (stored.deleteHorizonMs().isPresent() ? 64 : 0);
            return "OK\t" + attributes + "\t" + stored.maxTimestamp() + "\t" + String.join(",", times);
        } catch (RecordValidationException refused) {
            List<String> indexes = new ArrayList<>();
            for (ProduceResponse.RecordError error : refused.recordErrors()) indexes.add(Integer.toString(error.batchIndex));
            return Errors.forException(refused.invalidException()) + "\t" + String.join(",", indexes);
        } catch (Throwable error) {
            return Errors.forException(error) + "\t";
        }
    }
}
