//! Goal: the order of the sources, and messages that lead to the mistake.

use super::*;

fn sources(file: Option<(&str, &str)>, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> ConfigSources {
    ConfigSources {
        file: file.map(|(path, text)| ConfigFile { path: path.into(), text: text.to_owned() }),
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        flags: flags
            .iter()
            .map(|(key, value)| ConfigFlag {
                flag: "--set".to_owned(),
                key: (*key).to_owned(),
                value: (*value).to_owned(),
            })
            .collect(),
    }
}

fn error(file: Option<(&str, &str)>, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    sources(file, variables, flags).load().expect_err("refused").to_string()
}

#[test]
fn flags_win_over_variables_over_the_file() {
    let file = Some(("ottla.toml", "\"num.partitions\" = 2\n\"node.id\" = 2\n\"fetch.max.bytes\" = 2000"));
    let variables = [("OTTLA_NUM_PARTITIONS", "3"), ("OTTLA_NODE_ID", "3"), ("HOME", "/")];
    let config = sources(file, &variables, &[("num.partitions", "4")]).load().expect("good");
    assert_eq!((config.num_partitions, config.node_id, config.fetch_max_bytes), (4, 3, 2000));
}

#[test]
fn a_coarser_unit_in_a_stronger_source_wins_and_the_finer_one_in_the_same() {
    let file = Some(("server.properties", "log.retention.ms=1000\nlog.retention.hours=5\n"));
    assert_eq!(sources(file, &[], &[]).load().expect("good").topic_defaults.retention_ms, 1000);
    let config = sources(file, &[("OTTLA_LOG_RETENTION_HOURS", "1")], &[]).load().expect("good");
    assert_eq!(config.topic_defaults.retention_ms, 3_600_000);
}

#[test]
fn short_variables_and_those_of_an_orchestrator() {
    let variables = [
        ("OTTLA_DATA_DIR", "/data"),
        ("OTTLA_LISTEN", "127.0.0.1:0"),
        ("OTTLA_LOG", "debug"),
        ("OTTLA_PORT", "tcp://10.0.0.1:9092"),
        ("OTTLA_SERVICE_HOST", "10.0.0.1"),
        ("OTTLA_SERVICE_PORT_KAFKA", "9092"),
        ("OTTLA_PORT_9092_TCP_ADDR", "10.0.0.1"),
    ];
    let config = sources(None, &variables, &[]).load().expect("good");
    assert_eq!((config.data_dir, config.listeners[0].port), (PathBuf::from("/data"), 0));
}

#[test]
fn a_message_says_where_the_mistake_is() {
    assert_eq!(
        error(Some(("ottla.toml", "\n[log]\nretenton.ms = 5\n")), &[], &[]),
        "unknown broker key `log.retenton.ms` with the value `5` (from ottla.toml:3); did you mean `log.retention.ms`?"
    );
    assert_eq!(
        error(Some(("server.properties", "num.partitions=0\n")), &[], &[]),
        "`num.partitions` = `0` (from server.properties:1) is not allowed: a 32-bit integer, at least 1"
    );
    assert_eq!(
        error(None, &[("OTTLA_NUM_PARTITION", "5")], &[]),
        "unknown broker key `num.partition` with the value `5` (from the environment variable OTTLA_NUM_PARTITION); \
         did you mean `num.partitions`?"
    );
    assert_eq!(
        error(None, &[], &[("max.connections", "many")]),
        "`max.connections` = `many` (from the flag --set) is not allowed: a 32-bit integer, at least 0"
    );
    assert!(error(Some(("ottla.toml", "a = ")), &[], &[]).starts_with("ottla.toml:1: "));
}

#[test]
fn a_mistake_that_shows_only_among_several_keys_is_found_too() {
    let message = error(Some(("ottla.toml", "listeners = \"SSL://localhost:9093\"")), &[], &[]);
    assert!(
        message.starts_with("`listeners` = `SSL://localhost:9093` (from ottla.toml:1) is not allowed"),
        "{message}"
    );
}
