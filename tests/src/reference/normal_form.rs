//! Puts named placeholders where answers of two right brokers, or of one broker twice, differ.
//!
//! Every rule is here. None of them drops a field; the only elements that are left out are other scenarios' topics and the
//! broker's internal ones in answers about all topics.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use ottla_protocol::Uuid;

use super::batch_text;
use super::play::Lines;
use super::tree::Tree;

/// A time within this distance of now was taken from the broker's clock, not from the script.
const NOW_WITHIN_MS: i64 = 10 * 60 * 1000;

/// The placeholders of one run.
pub(crate) struct NormalForm {
    namespace: String,
    address: SocketAddr,
    ids: HashMap<String, String>,
    producers: HashMap<String, String>,
    sessions: HashMap<String, String>,
    members: HashMap<String, String>,
}

impl NormalForm {
    pub(crate) fn new(namespace: String, address: SocketAddr) -> Self {
        let (ids, producers, sessions, members) = Default::default();
        Self { namespace, address, ids, producers, sessions, members }
    }

    /// Shows `id` as `shown` from now on.
    pub(crate) fn bind_id(&mut self, id: Uuid, shown: String) {
        self.ids.insert(id.to_string(), shown);
    }

    /// Numbers a member id, if it is not yet.
    pub(crate) fn know_member(&mut self, member_id: &str) {
        numbered(&mut self.members, "member", member_id);
    }

    /// An answer's lines.
    pub(crate) fn lines(&mut self, response: &impl std::fmt::Debug) -> Result<Lines> {
        let mut tree = Tree::of(response)?;
        self.learn_ids(&tree);
        self.normalize("", &mut tree);
        Ok(tree.lines())
    }

    /// Names the ids that stand beside a name, before any id is shown.
    fn learn_ids(&mut self, tree: &Tree) {
        match tree {
            Tree::List(elements) => elements.iter().for_each(|element| self.learn_ids(element)),
            Tree::Struct(fields) => {
                let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
                if let (Some(Tree::Text(name)), Some(Tree::Plain(id))) = (field("name"), field("topic_id"))
                    && !name.is_empty()
                    && *id != Uuid::ZERO.to_string()
                {
                    let shown = format!("<id of {}>", self.text(name));
                    self.ids.entry(id.clone()).or_insert(shown);
                }
                fields.iter().for_each(|(_, value)| self.learn_ids(value));
            }
            _ => {}
        }
    }

    fn text(&self, text: &str) -> String {
        text.replace(&self.namespace, "@")
    }

    fn normalize(&mut self, field: &str, tree: &mut Tree) {
        match tree {
            // What members of groups tell each other is theirs: it is shown as it is.
            Tree::Bytes(bytes)
                if matches!(field, "metadata" | "assignment" | "member_metadata" | "member_assignment") =>
            {
                *tree = Tree::Text(self.text(&String::from_utf8_lossy(bytes)));
            }
            Tree::Bytes(bytes) => {
                *tree = batch_text::batches(bytes);
                self.normalize(field, tree);
            }
            Tree::Struct(fields) => fields.iter_mut().for_each(|(name, value)| self.normalize(name, value)),
            Tree::List(elements) => {
                match field {
                    "topics" => elements.retain(|element| self.is_ours(element, "name")),
                    "groups" => elements.retain(|element| self.is_ours(element, "group_id")),
                    _ => {}
                }
                elements.iter_mut().for_each(|element| self.normalize(field, element));
            }
            Tree::Text(text) => {
                let shown = match field {
                    "host" if *text == self.address.ip().to_string() => "<host>".to_owned(),
                    "cluster_id" => "<cluster>".to_owned(),
                    "log_dir" => "<log dir>".to_owned(),
                    "error_message" | "batch_index_error_message" if !text.is_empty() => "<message>".to_owned(),
                    "documentation" => "<documentation>".to_owned(),
                    "member_id" | "leader" if is_member_id(text) => numbered(&mut self.members, "member", text),
                    "client_host" if text.contains(&self.address.ip().to_string()) => "<host>".to_owned(),
                    _ => self.text(text),
                };
                *text = shown;
            }
            Tree::Plain(value) => {
                if let Some(shown) = self.plain(field, value) {
                    *value = shown;
                }
            }
        }
    }

    fn plain(&mut self, field: &str, value: &str) -> Option<String> {
        let number = value.parse::<i64>().ok();
        match (field, number) {
            ("port", Some(port)) if port == i64::from(self.address.port()) => Some("<port>".to_owned()),
            ("total_bytes" | "usable_bytes", Some(0..)) => Some("<bytes>".to_owned()),
            ("finalized_features_epoch", Some(0..)) => Some("<epoch>".to_owned()),
            ("producer_id", Some(0..)) => Some(numbered(&mut self.producers, "producer", value)),
            ("session_id", Some(1..)) => Some(numbered(&mut self.sessions, "session", value)),
            ("topic_id", _) if value != Uuid::ZERO.to_string() => {
                Some(self.ids.get(value).cloned().unwrap_or_else(|| numbered(&mut self.ids, "id", value)))
            }
            (
                "log_append_time_ms" | "timestamp" | "base_timestamp" | "max_timestamp" | "state_since_ms"
                | "last_heard_ms",
                Some(time),
            ) => (time.abs_diff(now_ms()) < NOW_WITHIN_MS as u64).then(|| "<now>".to_owned()),
            _ => None,
        }
    }

    /// False for a topic or group of another scenario and for those that only the broker makes.
    fn is_ours(&self, element: &Tree, named_by: &str) -> bool {
        let Tree::Struct(fields) = element else { return true };
        fields.iter().filter(|(field, _)| field == named_by).all(|(_, value)| match value {
            Tree::Text(name) => name.starts_with(&self.namespace) || !(is_scripted(name) || is_internal(name)),
            _ => true,
        })
    }
}

/// True for an id that a coordinator made up: something and a UUID, or a UUID in base64 in groups of the consumer protocol.
fn is_member_id(text: &str) -> bool {
    if text.len() == 22 && text.parse::<Uuid>().is_ok() {
        return true;
    }
    let is_digit = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    text.len() > 36
        && text.is_char_boundary(text.len() - 36)
        && text.as_bytes()[text.len() - 36..].iter().copied().all(is_digit)
}

/// True for a topic that some scenario created: `API-...-vN-...`.
fn is_scripted(name: &str) -> bool {
    let is_version = |part: &str| part.strip_prefix('v').is_some_and(|number| number.parse::<u8>().is_ok());
    name.split('-').skip(1).any(is_version)
}

fn is_internal(name: &str) -> bool {
    name.starts_with("__")
}

fn numbered(seen: &mut HashMap<String, String>, kind: &str, value: &str) -> String {
    let next = seen.len() + 1;
    seen.entry(value.to_owned()).or_insert_with(|| format!("<{kind} {next}>")).clone()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
