//! Goal: every spelling of an address is read, and nothing else. Method: whole broker configurations.

use crate::config::{BrokerConfig, Listener};

fn listeners(values: &[(&str, &str)]) -> Result<Vec<Listener>, String> {
    BrokerConfig::from_values(values.iter().copied()).map(|config| config.listeners).map_err(|error| error.to_string())
}

fn only(text: &str) -> Listener {
    let mut all = listeners(&[("listeners", text)]).expect(text);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn an_address_needs_no_name() {
    let listener = only("127.0.0.1:9092");
    assert_eq!((listener.name.as_str(), listener.host.as_str(), listener.port), ("PLAINTEXT", "127.0.0.1", 9092));
    assert_eq!((listener.advertised_host.as_str(), listener.advertised_port), ("127.0.0.1", 9092));
    assert_eq!(listener.to_string(), "PLAINTEXT://127.0.0.1:9092");
}

#[test]
fn an_ipv6_host_stands_in_brackets() {
    let listener = only("PLAINTEXT://[::1]:0");
    assert_eq!((listener.host.as_str(), listener.port), ("::1", 0));
    assert_eq!(listener.to_string(), "PLAINTEXT://[::1]:0");
    assert!(listeners(&[("listeners", "PLAINTEXT://::1:9092")]).is_err());
}

#[test]
fn all_addresses_are_advertised_by_the_machines_name() {
    for text in ["PLAINTEXT://:9092", "0.0.0.0:9092", "[::]:9092"] {
        let listener = only(text);
        assert!(!matches!(listener.advertised_host.as_str(), "" | "0.0.0.0" | "::"), "{text}");
    }
}

#[test]
fn several_listeners_are_told_apart_by_name() {
    let all = listeners(&[
        ("listeners", "INSIDE://127.0.0.1:9092, OUTSIDE://0.0.0.0:9093"),
        ("advertised.listeners", "OUTSIDE://broker.example.org:19093"),
        ("listener.security.protocol.map", "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT"),
    ])
    .expect("good");
    assert_eq!((all[0].advertised_host.as_str(), all[0].advertised_port), ("127.0.0.1", 9092));
    assert_eq!((all[1].advertised_host.as_str(), all[1].advertised_port), ("broker.example.org", 19093));
}

#[test]
fn the_file_that_kafka_ships_starts_here_too() {
    let all = listeners(&[
        ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
        ("controller.listener.names", "CONTROLLER"),
        ("advertised.listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
        (
            "listener.security.protocol.map",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
        ),
        ("process.roles", "broker,controller"),
        ("inter.broker.listener.name", "PLAINTEXT"),
    ])
    .expect("good");
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].host.as_str(), all[0].advertised_host.as_str()), ("", "localhost"));
}

#[test]
fn what_cannot_be_served_is_refused_with_its_reason() {
    for (values, says) in [
        (vec![("listeners", "")], "at least one address"),
        (vec![("listeners", "localhost")], "HOST:PORT"),
        (vec![("listeners", "localhost:65536")], "port from 0 to 65535"),
        (vec![("listeners", "localhost:+1")], "HOST:PORT"),
        (vec![("listeners", "SSL://localhost:9093")], "security protocol is SSL"),
        (vec![("listeners", "INSIDE://localhost:9093")], "no security protocol"),
        (vec![("listeners", "localhost:1,localhost:1")], "is there twice"),
        (vec![("advertised.listeners", "PLAINTEXT://0.0.0.0:9092")], "clients can connect to"),
        (vec![("advertised.listeners", "OTHER://localhost:9092")], "none of `listeners`"),
        (vec![("listener.security.protocol.map", "A:TLS")], "NAME:PROTOCOL"),
    ] {
        let error = listeners(&values).expect_err(says);
        assert!(error.contains(says), "{error}");
    }
}
