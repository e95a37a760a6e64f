// Prints what Apache Kafka's own assignors answer to random questions, for client/src/group/assignor.rs to be compared with.
//
//   java -cp KAFKA_JARS Assignments.java > assignments.txt
//
// A line is: assignor; topics with their numbers of partitions; members with their instance ids (or -) and topics; shares.
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

public class Assignments {
    public static void main(String[] arguments) {
        Random random = new Random(7);
        for (int question = 0; question < 120; question++) {
            ConsumerPartitionAssignor assignor = question % 2 == 0 ? new RangeAssignor() : new RoundRobinAssignor();
            Map<String, Integer> counts = new TreeMap<>();
            for (String topic : List.of("a", "b", "c-1", "c_2")) {
                counts.put(topic, random.nextInt(9));
            }
            Node node = new Node(1, "localhost", 9092);
            List<PartitionInfo> partitions = new ArrayList<>();
            counts.forEach((topic, count) -> {
                for (int index = 0; index < count; index++) {
                    partitions.add(new PartitionInfo(topic, index, node, new Node[] {node}, new Node[] {node}));
                }
            });
            Cluster cluster = new Cluster("c", List.of(node), partitions, Set.of(), Set.of());
            Map<String, Subscription> members = new HashMap<>();
            Set<String> described = new TreeSet<>();
            for (int index = 0; index < 1 + random.nextInt(5); index++) {
                List<String> topics = new ArrayList<>();
                for (String topic : counts.keySet()) {
                    if (random.nextInt(4) > 0) {
                        topics.add(topic);
                    }
                }
                String id = "m" + random.nextInt(100);
                String instance = random.nextInt(3) == 0 ? "i" + random.nextInt(100) : null;
                Subscription subscription = new Subscription(topics);
                subscription.setGroupInstanceId(Optional.ofNullable(instance));
                if (members.put(id, subscription) == null) {
                    described.add(id + "/" + (instance == null ? "-" : instance) + "/" + String.join(",", topics));
                } else {
                    described.removeIf(one -> one.startsWith(id + "/"));
                    described.add(id + "/" + (instance == null ? "-" : instance) + "/" + String.join(",", topics));
                }
            }
            List<String> shares = new ArrayList<>();
            new TreeMap<>(assignor.assign(cluster, new GroupSubscription(members)).groupAssignment()).forEach((id, share) -> {
                Set<String> names = new TreeSet<>();
                for (TopicPartition partition : share.partitions()) {
                    names.add(partition.topic() + ":" + partition.partition());
                }
                shares.add(id + "/" + String.join(",", names));
            });
            List<String> topics = new ArrayList<>();
            counts.forEach((topic, count) -> topics.add(topic + ":" + count));
            System.out.println(String.join(";", assignor.name(), String.join(" ", topics), String.join(" ", described),
                    String.join(" ", shares)));
        }
    }
}
