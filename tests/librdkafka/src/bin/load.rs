//! Load through librdkafka, for `benches/`: takes the arguments of `ottla bench` and prints the same fields, so that both
//! clients are measured alike.
//!
//!     load produce|fetch --bootstrap-server HOST:PORT --topic TOPIC [--records N] [--record-bytes N] [--acks 0|1|all]
//!         [--rate N --seconds N] [--linger-ms N] [--quiet] [--output json]
//!
//! librdkafka's defaults, but for what our client does by default too: idempotence with acks=all, CRCs checked. Records go to
//! the partitions in turn, and latency is measured of at most a thousand records a second, as there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

const TIMEOUT: Duration = Duration::from_secs(60);
const SAMPLE_PERIOD: Duration = Duration::from_millis(1);

fn main() {
    let arguments = Arguments::parse();
    match arguments.work.as_str() {
        "produce" => produce(&arguments),
        "fetch" => fetch(&arguments),
        other => panic!("{other:?} is neither produce nor fetch"),
    }
}

struct Arguments {
    work: String,
    flags: HashMap<String, String>,
}

impl Arguments {
    fn parse() -> Self {
        let mut arguments = std::env::args().skip(1);
        let work = arguments.next().expect("produce or fetch");
        let mut flags = HashMap::new();
        while let Some(flag) = arguments.next() {
            if flag != "--quiet" {
                let value = arguments.next().unwrap_or_else(|| panic!("{flag} has no value"));
                flags.insert(flag, value);
            }
        }
        Arguments { work, flags }
    }

    fn text(&self, flag: &str) -> Option<&str> {
        self.flags.get(flag).map(String::as_str)
    }

    fn number(&self, flag: &str) -> Option<u64> {
        self.text(flag).map(|text| text.parse().unwrap_or_else(|_| panic!("{flag} {text} is no number")))
    }

    fn topic(&self) -> &str {
        self.text("--topic").expect("--topic")
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.text("--bootstrap-server").expect("--bootstrap-server"));
        config
    }
}

/// Collects what became of the records.
#[derive(Default)]
struct Deliveries {
    start: Mutex<Option<Instant>>,
    micros: Mutex<Vec<u64>>,
    failure: Mutex<Option<KafkaError>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    /// When it was sent, in microseconds after the start; 0 for a record that is not measured.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sent_us: usize) {
        if let Err((error, _)) = result {
            self.failure.lock().unwrap().get_or_insert_with(|| error.clone());
        }
        if sent_us > 0 {
            let start = self.start.lock().unwrap().expect("set before the first record");
            self.micros.lock().unwrap().push((start.elapsed().as_micros() as u64).saturating_sub(sent_us as u64));
        }
    }
}

fn produce(arguments: &Arguments) {
    let acks = arguments.text("--acks").unwrap_or("all");
    let record_bytes = arguments.number("--record-bytes").unwrap_or(100) as usize;
    let seconds = arguments.number("--seconds").map(Duration::from_secs);
    let records = arguments.number("--records").or(seconds.is_none().then_some(1_000_000));
    let rate = arguments.number("--rate");
    let mut config = arguments.config();
    config.set("acks", acks).set("enable.idempotence", if acks == "all" { "true" } else { "false" });
    if let Some(linger_ms) = arguments.text("--linger-ms") {
        config.set("linger.ms", linger_ms);
    }
    let producer: ThreadedProducer<Deliveries> = config.create_with_context(Deliveries::default()).unwrap();
    let partitions = partitions(producer.client(), arguments.topic());
    let payload = payload(record_bytes);
    let (watch, mut sent, mut sampled) = (Stopwatch::start(), 0, None);
    *producer.context().start.lock().unwrap() = Some(watch.started);
    while records.is_none_or(|records| sent < records) {
        let elapsed = watch.started.elapsed();
        if seconds.is_some_and(|seconds| elapsed >= seconds) {
            break;
        }
        if let Some(pause) =
            rate.and_then(|rate| Duration::from_secs_f64(sent as f64 / rate as f64).checked_sub(elapsed))
            && pause >= Duration::from_millis(1)
        {
            std::thread::sleep(pause);
            continue;
        }
        let measured = acks != "0" && sampled.is_none_or(|sampled| elapsed - sampled >= SAMPLE_PERIOD);
        let from = (sent as usize * 7_919) % (1 << 20);
        let mut record: BaseRecord<'_, (), [u8], usize> =
            BaseRecord::with_opaque_to(arguments.topic(), if measured { elapsed.as_micros() as usize + 1 } else { 0 })
                .payload(&payload[from..from + record_bytes])
                .partition((sent % partitions) as i32);
        // While its queue is full, the producer is the one that is waited for.
        while let Err((error, back)) = producer.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
            std::thread::sleep(Duration::from_micros(500));
            record = back;
        }
        sent += 1;
        if measured {
            sampled = Some(elapsed);
        }
    }
    producer.flush(TIMEOUT).unwrap();
    let mut micros = std::mem::take(&mut *producer.context().micros.lock().unwrap());
    watch.print("produce", sent, sent * record_bytes as u64, &mut micros);
    let failure = producer.context().failure.lock().unwrap().take();
    assert_eq!(failure, None, "a record was not acknowledged");
}

fn fetch(arguments: &Arguments) {
    let mut config = arguments.config();
    config.set("group.id", "load").set("enable.auto.commit", "false").set("check.crcs", "true");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in 0..partitions(consumer.client(), arguments.topic()) as i32 {
        assignment.add_partition_offset(arguments.topic(), partition, Offset::Beginning).unwrap();
        let (low, high) = consumer.fetch_watermarks(arguments.topic(), partition, TIMEOUT).unwrap();
        if low < high {
            ends.insert(partition, high);
        }
    }
    let watch = Stopwatch::start();
    consumer.assign(&assignment).unwrap();
    let (mut records, mut bytes) = (0, 0);
    while !ends.is_empty() {
        let message = consumer.poll(TIMEOUT).expect("more records in time").unwrap();
        records += 1;
        bytes += message.payload_len() as u64;
        if ends.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
            ends.remove(&message.partition());
        }
    }
    watch.print("fetch", records, bytes, &mut []);
}

fn partitions(client: &rdkafka::client::Client<impl ClientContext>, topic: &str) -> u64 {
    let metadata = client.fetch_metadata(Some(topic), TIMEOUT).unwrap();
    let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    assert!(count > 0, "topic {topic} has no partitions");
    count as u64
}

/// The values of `ottla bench`: random hexadecimal digits.
fn payload(value_bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let digit = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b"0123456789abcdef"[(state >> 60) as usize]
    };
    (0..(1 << 20) + value_bytes).map(digit).collect()
}

struct Stopwatch {
    started: Instant,
    cpu_seconds: f64,
}

impl Stopwatch {
    fn start() -> Self {
        Stopwatch { started: Instant::now(), cpu_seconds: cpu_seconds() }
    }

    fn print(&self, what: &str, records: u64, bytes: u64, micros: &mut [u64]) {
        let seconds = self.started.elapsed().as_secs_f64();
        micros.sort_unstable();
        let at = |quantile: f64| micros[((micros.len() - 1) as f64 * quantile).ceil() as usize] as f64 / 1e3;
        let latency = if micros.is_empty() {
            "null".to_owned()
        } else {
            let (p50, p99, p99_9, max) = (at(0.5), at(0.99), at(0.999), at(1.0));
            format!(r#"{{"p50":{p50},"p99":{p99},"p99_9":{p99_9},"max":{max}}}"#)
        };
        println!(
            concat!(
                r#"{{"results":[{{"what":"{}","records":{},"bytes":{},"seconds":{},"records_per_second":{},"#,
                r#""mb_per_second":{},"client_cpu_seconds":{},"latency_ms":{}}}]}}"#
            ),
            what,
            records,
            bytes,
            seconds,
            records as f64 / seconds,
            bytes as f64 / 1e6 / seconds,
            cpu_seconds() - self.cpu_seconds,
            latency
        );
    }
}

/// Of this process, in the kernel's ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = text.rsplit_once(')').expect("a name in parentheses");
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    ticks as f64 / 100.0
}
