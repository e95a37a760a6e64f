//! docs/configuration.md, written from the tables.
//!
//! Owns the page's words and layout. A test holds the file in the repository against it; `UPDATE_DOCS=1 cargo test -p
//! ottla-broker reference` writes it anew.

use std::fmt::Write;

use super::config_key::{ConfigKey, KeyGroup, broker_key_groups, group_key_groups, topic_key_groups};
use super::value::expected;

const INTRODUCTION: &str = "\
# Configuration

<!-- Written from the tables in broker/src/config by `UPDATE_DOCS=1 cargo test -p ottla-broker reference`. -->

Keys have Kafka's names, and Kafka's defaults unless the table says otherwise. A broker takes its configuration from,
the strongest first:

1. flags: `ottla serve --data-dir DIR --listen HOST:PORT --set KEY=VALUE` (each of the last two any number of times);
2. environment variables: `OTTLA_` and the key in capitals with `_` for every dot, so `OTTLA_LOG_RETENTION_MS` sets
   `log.retention.ms`; `OTTLA_DATA_DIR` and `OTTLA_LISTEN` are short for `log.dirs` and `listeners`;
3. one file: `--config FILE` or `OTTLA_CONFIG`, else `ottla.toml` in the working directory if there is one;
4. the defaults below.

`ottla.toml` takes a key quoted, dotted or as tables; these three lines say the same:

```toml
\"log.retention.ms\" = 86400000
log.retention.ms = 86400000
[log.retention] # and on the next line: ms = 86400000
```

A list is an array or text with commas. Where one key is the beginning of another (`max.connections` and
`max.connections.per.ip`), quote them. A file whose name ends in `.properties` is read as Kafka's `server.properties`.

Of keys for the same setting in other units (`log.retention.ms`, `.minutes`, `.hours`) the finest wins within one
source, and a stronger source replaces all of them.

A key that Kafka has and that means nothing here is accepted and named once in the log. Any other unknown key, and any
value that is not allowed, stops the start; the message names the key, the value, what is allowed, the place, and the
nearest known key. `listener.name.NAME.KEY` is accepted where `KEY` is.

**Changes while running**: `read-only` keys need a restart, `per-broker` keys can be altered for one broker,
`cluster-wide` keys also for all (`kafka-configs --entity-type brokers`). Topic keys and group keys can be altered at any time.
";

/// The whole page.
#[must_use]
pub fn reference_page() -> String {
    let mut page = INTRODUCTION.to_owned();
    differences(&mut page);
    page.push_str("\n## Broker keys\n");
    for group in broker_key_groups().filter(|group| group.ignored_because.is_none()) {
        table(&mut page, group, true);
    }
    page.push_str("\n## Topic keys\n\nThe default of a topic key is the broker key beside it.\n");
    for group in topic_key_groups().filter(|group| group.ignored_because.is_none()) {
        table(&mut page, group, false);
    }
    page.push_str("\n## Group keys\n\nThe default of a group key is the broker key beside it; whether there is a group of that name does not matter.\n");
    for group in group_key_groups() {
        table(&mut page, group, false);
    }
    page.push_str("\n## Keys that are accepted and not used\n");
    single(&mut page, "topic keys", topic_key_groups());
    for group in topic_key_groups().filter(|group| group.ignored_because.is_some()) {
        ignored(&mut page, "topic keys", group);
    }
    single(&mut page, "broker keys", broker_key_groups());
    for group in broker_key_groups().filter(|group| group.ignored_because.is_some()) {
        ignored(&mut page, "broker keys", group);
    }
    page
}

fn differences(page: &mut String) {
    page.push_str("\n## Where the defaults differ from Kafka's\n\n| key | here | Kafka | why |\n|---|---|---|---|\n");
    for key in broker_key_groups().chain(topic_key_groups()).flat_map(|group| group.keys) {
        if let Some(kafka) = key.kafka_default {
            line(page, &[&code(key.name), &default_of(key), &code(kafka.value), kafka.why]);
        }
    }
}

fn table(page: &mut String, group: &KeyGroup, of_broker: bool) {
    let third = if of_broker { "changes" } else { "broker key" };
    let _ = write!(
        page,
        "\n### {}\n\n| key | values | default | {third} | meaning |\n|---|---|---|---|---|\n",
        group.title
    );
    for key in group.keys.iter().filter(|key| key.ignored_because.is_none()) {
        let third = if of_broker {
            key.mode.name().to_owned()
        } else {
            let names: Vec<String> = key.synonyms.iter().map(|synonym| code(synonym.name)).collect();
            names.join(", ")
        };
        let mut meaning = key.documentation.to_owned();
        if key.ours {
            meaning.push_str(" Not a key of Kafka.");
        }
        if key.hidden {
            meaning.push_str(" Not listed by DescribeConfigs.");
        }
        line(page, &[&code(key.name), &expected(key), &default_of(key), &third, &meaning]);
    }
}

/// Keys that are not used although others of their group are.
fn single(page: &mut String, kind: &str, groups: impl Iterator<Item = &'static KeyGroup>) {
    let _ = write!(page, "\n### Single {kind}\n\n| key | why |\n|---|---|\n");
    for key in groups.flat_map(|group| group.keys) {
        if let Some(why) = key.ignored_because {
            line(page, &[&code(key.name), why]);
        }
    }
}

fn ignored(page: &mut String, kind: &str, group: &KeyGroup) {
    let names: Vec<String> = group.keys.iter().map(|key| code(key.name)).collect();
    let why = group.ignored_because.unwrap_or_default();
    let _ = write!(page, "\n### {} ({kind})\n\n{why}\n\n{}\n", group.title, names.join(", "));
}

fn default_of(key: &ConfigKey) -> String {
    match key.default {
        None => "none".to_owned(),
        Some("") => "empty".to_owned(),
        Some("9223372036854775807") => "`9223372036854775807` (never)".to_owned(),
        Some(text) => code(text),
    }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn line(page: &mut String, cells: &[&str]) {
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_repository_is_the_tables_page() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, reference_page()).expect("docs/ is writable");
        }
        let page = std::fs::read_to_string(path).expect("docs/configuration.md is there");
        assert!(
            page == reference_page(),
            "docs/configuration.md is stale: UPDATE_DOCS=1 cargo test -p ottla-broker reference"
        );
    }
}
