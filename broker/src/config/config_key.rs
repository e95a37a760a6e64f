//! What a configuration key is: one row of a table, and the lookups over all rows.
//!
//! Owns the shape of a row and the three name spaces, broker keys, topic keys and group keys. It does not hold the rows
//! themselves (`topic_keys`, `group_keys`, `broker_keys`, `ignored_keys`) nor any value that was set. Invariant: a name occurs once in its name
//! space, and its default passes its own bounds (both are tested).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::{
    broker_keys::GROUPS as BROKER_GROUPS, group_keys::GROUPS as GROUP_GROUPS, ignored_keys::GROUPS as IGNORED_GROUPS,
    ignored_security_keys::GROUPS as IGNORED_SECURITY_GROUPS, topic_keys::GROUPS as TOPIC_GROUPS,
};

/// The type of a value. The codes are those of DescribeConfigs (KIP-569).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    /// `true` or `false`, in any case.
    Boolean = 1,
    /// Text.
    String = 2,
    /// A 32-bit integer.
    Int = 3,
    /// A 16-bit integer.
    Short = 4,
    /// A 64-bit integer.
    Long = 5,
    /// A floating-point number.
    Double = 6,
    /// Items separated by commas; empty text is the empty list.
    List = 7,
    /// The name of a Java class: only keys that this broker ignores have it.
    Class = 8,
    /// Text that is never shown.
    Password = 9,
}

impl ConfigType {
    /// The code that DescribeConfigs carries.
    #[must_use]
    pub fn code(self) -> i8 {
        self as i8
    }

    /// The type as documents and messages name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ConfigType::Boolean => "boolean",
            ConfigType::String => "string",
            ConfigType::Int => "int",
            ConfigType::Short => "short",
            ConfigType::Long => "long",
            ConfigType::Double => "double",
            ConfigType::List => "list",
            ConfigType::Class => "class",
            ConfigType::Password => "password",
        }
    }
}

/// When a broker key may change, as Kafka classifies its keys (KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateMode {
    /// Only by a restart.
    ReadOnly,
    /// For one broker, while it runs.
    PerBroker,
    /// For one broker or for the whole cluster, while it runs.
    ClusterWide,
}

impl UpdateMode {
    /// The mode as Kafka's documents spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            UpdateMode::ReadOnly => "read-only",
            UpdateMode::PerBroker => "per-broker",
            UpdateMode::ClusterWide => "cluster-wide",
        }
    }
}

/// Which values a key takes, beyond what its type says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Allowed {
    /// Everything of the type.
    Any,
    /// At least this number.
    AtLeast(i64),
    /// From the first number to the second, both included.
    Between(i64, i64),
    /// From the first number to the second, both included, or exactly the third.
    BetweenOr(i64, i64, i64),
    /// A fraction from 0 to this number, both included.
    FractionUpTo(f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, in any case.
    OneOfIgnoringCase(&'static [&'static str]),
    /// A list of nothing but these words.
    EachOf(&'static [&'static str]),
    /// `*`, or a list of `PARTITION:BROKER`.
    ThrottledReplicas,
}

/// A broker key that a key of a topic or group takes its default from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synonym {
    /// The broker key.
    pub name: &'static str,
    /// What one unit of the broker key is in units of that key: 3,600,000 for hours to milliseconds.
    pub factor: i64,
}

/// Where our default is not Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KafkaDefault {
    /// Kafka's default; `null` if it has none.
    pub value: &'static str,
    /// Why ours is another.
    pub why: &'static str,
}

/// One key: everything that loading, validation, DescribeConfigs and the reference page know about it.
#[derive(Debug, Clone, Copy)]
pub struct ConfigKey {
    /// Kafka's name, or ours where Kafka has no such key.
    pub name: &'static str,
    /// The type of its value.
    pub config_type: ConfigType,
    /// The value when nobody sets one; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// Kafka's default, where ours differs.
    pub kafka_default: Option<KafkaDefault>,
    /// Which values it takes.
    pub allowed: Allowed,
    /// When it may change. Keys of topics and groups can always change.
    pub mode: UpdateMode,
    /// For keys of topics and groups: the broker keys of its default, the one that wins first.
    pub synonyms: &'static [Synonym],
    /// Why the key is accepted and then not used; `None` for a key that is honoured.
    pub ignored_because: Option<&'static str>,
    /// One sentence for people.
    pub documentation: &'static str,
    /// Kafka has no such key.
    pub ours: bool,
    /// Can be set, but is not listed by DescribeConfigs (Kafka's internal keys).
    pub hidden: bool,
}

/// Keys that belong together, under one heading of the reference page.
#[derive(Debug, Clone, Copy)]
pub struct KeyGroup {
    /// The heading.
    pub title: &'static str,
    /// For a group of ignored keys: why they mean nothing here.
    pub ignored_because: Option<&'static str>,
    /// The rows.
    pub keys: &'static [ConfigKey],
}

/// A row of the given type; `null` as its default unless [`ConfigKey::or`] follows.
pub(super) const fn key(config_type: ConfigType, name: &'static str) -> ConfigKey {
    ConfigKey {
        name,
        config_type,
        default: None,
        kafka_default: None,
        allowed: Allowed::Any,
        mode: UpdateMode::ReadOnly,
        synonyms: &[],
        ignored_because: None,
        documentation: "",
        ours: false,
        hidden: false,
    }
}

/// A broker key of the same unit.
pub(super) const fn same(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}

pub(super) const fn boolean(name: &'static str, default: &'static str) -> ConfigKey {
    key(ConfigType::Boolean, name).or(default)
}

pub(super) const fn string(name: &'static str, default: &'static str) -> ConfigKey {
    key(ConfigType::String, name).or(default)
}

pub(super) const fn int(name: &'static str, default: &'static str) -> ConfigKey {
    key(ConfigType::Int, name).or(default)
}

pub(super) const fn short(name: &'static str, default: &'static str) -> ConfigKey {
    key(ConfigType::Short, name).or(default)
}

pub(super) const fn long(name: &'static str, default: &'static str) -> ConfigKey {
    key(ConfigType::Long, name).or(default)
}

pub(super) const fn double(name: &'static str, default: &'static str) -> ConfigKey {
    key(ConfigType::Double, name).or(default)
}

pub(super) const fn list(name: &'static str, default: &'static str) -> ConfigKey {
    key(ConfigType::List, name).or(default)
}

impl ConfigKey {
    pub(super) const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    pub(super) const fn kafka(mut self, value: &'static str, why: &'static str) -> Self {
        self.kafka_default = Some(KafkaDefault { value, why });
        self
    }

    pub(super) const fn allow(mut self, allowed: Allowed) -> Self {
        self.allowed = allowed;
        self
    }

    pub(super) const fn at_least(self, least: i64) -> Self {
        self.allow(Allowed::AtLeast(least))
    }

    pub(super) const fn between(self, least: i64, most: i64) -> Self {
        self.allow(Allowed::Between(least, most))
    }

    pub(super) const fn per_broker(mut self) -> Self {
        self.mode = UpdateMode::PerBroker;
        self
    }

    pub(super) const fn cluster_wide(mut self) -> Self {
        self.mode = UpdateMode::ClusterWide;
        self
    }

    pub(super) const fn from(mut self, synonyms: &'static [Synonym]) -> Self {
        self.synonyms = synonyms;
        self
    }

    pub(super) const fn unused(mut self, why: &'static str) -> Self {
        self.ignored_because = Some(why);
        self
    }

    pub(super) const fn doc(mut self, sentence: &'static str) -> Self {
        self.documentation = sentence;
        self
    }

    pub(super) const fn ours(mut self) -> Self {
        self.ours = true;
        self
    }

    pub(super) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// What DescribeConfigs says about the key.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.ignored_because {
            None => self.documentation.to_owned(),
            Some(why) if self.documentation.is_empty() => format!("Accepted and not used. {why}"),
            Some(why) => format!("{} Accepted and not used: {why}", self.documentation),
        }
    }

    /// Whether the value must never be shown.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.config_type == ConfigType::Password
    }

    /// The environment variable that sets a broker key: `OTTLA_`, then the name in capitals with `_` for every dot.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("OTTLA_{}", self.name.to_ascii_uppercase().replace('.', "_"))
    }
}

static BROKER_KEYS: LazyLock<BTreeMap<&'static str, ConfigKey>> = LazyLock::new(|| index(broker_key_groups()));
static TOPIC_KEYS: LazyLock<BTreeMap<&'static str, ConfigKey>> = LazyLock::new(|| index(topic_key_groups()));
static GROUP_KEYS: LazyLock<BTreeMap<&'static str, ConfigKey>> = LazyLock::new(|| index(group_key_groups()));

fn index(groups: impl Iterator<Item = &'static KeyGroup>) -> BTreeMap<&'static str, ConfigKey> {
    let mut keys = BTreeMap::new();
    for group in groups {
        for row in group.keys {
            let row = ConfigKey { ignored_because: row.ignored_because.or(group.ignored_because), ..*row };
            assert!(keys.insert(row.name, row).is_none(), "{} stands twice in the tables of keys", row.name);
        }
    }
    keys
}

/// All broker keys by heading, honoured ones first.
pub fn broker_key_groups() -> impl Iterator<Item = &'static KeyGroup> {
    BROKER_GROUPS.iter().chain(IGNORED_GROUPS).chain(IGNORED_SECURITY_GROUPS)
}

/// All topic keys by heading.
pub fn topic_key_groups() -> impl Iterator<Item = &'static KeyGroup> {
    TOPIC_GROUPS.iter()
}

/// All group keys by heading.
pub fn group_key_groups() -> impl Iterator<Item = &'static KeyGroup> {
    GROUP_GROUPS.iter()
}

/// All broker keys in the order of their names, hidden ones included.
pub fn broker_keys() -> impl Iterator<Item = &'static ConfigKey> {
    BROKER_KEYS.values()
}

/// All topic keys in the order of their names, hidden ones included.
pub fn topic_keys() -> impl Iterator<Item = &'static ConfigKey> {
    TOPIC_KEYS.values()
}

/// All group keys in the order of their names.
pub fn group_keys() -> impl Iterator<Item = &'static ConfigKey> {
    GROUP_KEYS.values()
}

/// The broker key of that name. `listener.name.LISTENER.KEY` is the key `KEY` for one listener.
#[must_use]
pub fn broker_key(name: &str) -> Option<&'static ConfigKey> {
    if let Some(key) = BROKER_KEYS.get(name) {
        return Some(key);
    }
    let (_, scoped) = name.strip_prefix("listener.name.")?.split_once('.')?;
    // `listener.name.sasl.scram-sha-256.sasl.jaas.config`: the mechanism stands between the listener and the key.
    BROKER_KEYS.get(scoped).or_else(|| BROKER_KEYS.get(scoped.split_once('.')?.1))
}

/// The topic key of that name.
#[must_use]
pub fn topic_key(name: &str) -> Option<&'static ConfigKey> {
    TOPIC_KEYS.get(name)
}

/// The group key of that name.
#[must_use]
pub fn group_key(name: &str) -> Option<&'static ConfigKey> {
    GROUP_KEYS.get(name)
}

/// The name among `keys` that a mistyped `name` most likely stands for, if any is close.
///
/// Close means that at most a third of the characters, and at most six, have to change.
pub fn nearest<'a>(name: &str, keys: impl Iterator<Item = &'a ConfigKey>) -> Option<&'static str> {
    let limit = (name.chars().count() / 3).clamp(1, 6);
    let name = name.to_ascii_lowercase().replace(['_', '-'], ".");
    keys.filter(|key| !key.hidden)
        .map(|key| (edit_distance(&name, key.name), key.name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Insertions, deletions and replacements that turn `a` into `b`. Names beyond 256 bytes are far from everything.
fn edit_distance(a: &str, b: &str) -> usize {
    if a.len() > 256 || b.len() > 256 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
#[path = "config_key_test.rs"]
mod tests;
