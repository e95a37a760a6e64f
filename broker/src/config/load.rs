//! From flags, environment variables and a configuration file to a `BrokerConfig`.
//!
//! Owns the order (flags, then `OTTLA_*`, then the file, then defaults) and the origin that an error names. Reads
//! neither the environment nor files: the caller hands them in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::broker_config::BrokerConfig;
use super::config_error::{ConfigError, Origin, Scope};
use super::config_key::{ConfigKey, broker_keys};
use super::layers::ConfigLayers;
use super::properties_file::parse_properties;
use super::toml_file::parse_toml;
use super::value::{find, parse};

/// Variables that begin with `OTTLA_` and are no keys: the command line reads them.
pub const OTHER_VARIABLES: &[&str] = &["OTTLA_BOOTSTRAP_SERVER", "OTTLA_CONFIG", "OTTLA_LOG", "OTTLA_PORT_FILE"];

/// Variables that set a key under a shorter name.
const SHORT_VARIABLES: &[(&str, &str)] = &[("OTTLA_DATA_DIR", "log.dirs"), ("OTTLA_LISTEN", "listeners")];

/// A configuration file that was read: Java properties if its name ends in `.properties`, else TOML.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    /// Where it was found, for messages and to tell its format.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

/// A value from the command line.
#[derive(Debug, Clone)]
pub struct ConfigFlag {
    /// The flag as it was given, for messages: `--set`.
    pub flag: String,
    /// The key that it sets.
    pub key: String,
    /// The value.
    pub value: String,
}

/// Everything that a broker may be configured from, weakest first.
#[derive(Debug, Clone, Default)]
pub struct ConfigSources {
    /// The configuration file, if there is one.
    pub file: Option<ConfigFile>,
    /// The environment; whatever does not begin with `OTTLA_` is left alone.
    pub variables: Vec<(String, String)>,
    /// The flags; of two that set the same key the later wins.
    pub flags: Vec<ConfigFlag>,
}

impl ConfigSources {
    /// Puts the sources together.
    ///
    /// # Errors
    /// A malformed file, an unknown key, a value outside its bounds or values that contradict each other; the message
    /// names the flag, the variable or the line.
    pub fn load(&self) -> Result<BrokerConfig, ConfigError> {
        let mut layers = ConfigLayers::default();
        let mut origins = BTreeMap::new();
        for source in [self.file_values()?, self.variable_values(), self.flag_values()] {
            let mut values = BTreeMap::new();
            for (key, value, origin) in source {
                check(&key, &value).map_err(|error| error.at(&origin))?;
                values.insert(key.clone(), value);
                origins.insert(key, origin);
            }
            layers.set_all(values)?;
        }
        BrokerConfig::from_layers(layers).map_err(|error| match &error {
            ConfigError::InvalidValue { key, .. } => match origins.get(key) {
                Some(origin) => error.clone().at(origin),
                None => error,
            },
            _ => error,
        })
    }

    fn file_values(&self) -> Result<Vec<(String, String, Origin)>, ConfigError> {
        let Some(ConfigFile { path, text }) = &self.file else { return Ok(Vec::new()) };
        let is_properties = path.extension().is_some_and(|extension| extension == "properties");
        let parsed = if is_properties { parse_properties(text) } else { parse_toml(text) };
        let properties =
            parsed.map_err(|(line, reason)| ConfigError::MalformedFile { path: path.clone(), line, reason })?;
        let origin = |line| Origin::File { path: path.clone(), line };
        Ok(properties.into_iter().map(|one| (one.key, one.value, origin(one.line))).collect())
    }

    fn variable_values(&self) -> Vec<(String, String, Origin)> {
        self.variables
            .iter()
            .filter(|(name, value)| name.starts_with("OTTLA_") && !is_no_key(name, value))
            .map(|(name, value)| (variable_key(name), value.clone(), Origin::Variable(name.clone())))
            .collect()
    }

    fn flag_values(&self) -> Vec<(String, String, Origin)> {
        let flags = self.flags.iter();
        flags.map(|one| (one.key.clone(), one.value.clone(), Origin::Flag(one.flag.clone()))).collect()
    }
}

fn check(key: &str, value: &str) -> Result<(), ConfigError> {
    parse(find(Scope::Broker, key, value)?, value).map(|_| ())
}

/// The key that a variable names. An unknown variable becomes the key that it would name, for the error.
fn variable_key(name: &str) -> String {
    let short = SHORT_VARIABLES.iter().find(|(variable, _)| *variable == name).map(|(_, key)| *key);
    let key = short.or_else(|| broker_keys().find(|key: &&ConfigKey| key.variable() == name).map(|key| key.name));
    key.map_or_else(|| name["OTTLA_".len()..].to_ascii_lowercase().replace('_', "."), str::to_owned)
}

/// Variables of the command line, and those that Kubernetes and Docker invent for a service that is called `ottla`.
fn is_no_key(name: &str, value: &str) -> bool {
    OTHER_VARIABLES.contains(&name)
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || ["tcp://", "udp://"].iter().any(|scheme| value.starts_with(scheme))
        || ["_TCP_", "_UDP_"].iter().any(|link| name.contains(link))
}

#[cfg(test)]
#[path = "load_test.rs"]
mod tests;
