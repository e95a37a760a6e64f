//! The resources that have configurations, and how requests name them.

use ottla_protocol::ErrorCode;

use super::context::Api;
use super::error_map::ToErrorCode;
use crate::config::BrokerScope;
use crate::metadata::{ConfigChange, TopicConfigChange, TopicName};

/// A resource that the three configuration APIs know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// All brokers: the defaults of the cluster.
    ClusterDefault,
    /// This broker.
    ThisBroker,
    /// A group, by name, whether there is one or not.
    Group(String),
}

/// Why a resource cannot be configured: the code and a sentence for people.
pub(super) type ResourceError = (ErrorCode, String);

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

impl ConfigResource {
    /// Reads type and name. Whether the topic exists is for the caller to see.
    pub(super) fn parse(api: &Api, resource_type: i8, name: &str) -> Result<Self, ResourceError> {
        match resource_type {
            TOPIC => Ok(Self::Topic(name.to_owned())),
            GROUP if name.is_empty() => Err((ErrorCode::InvalidRequest, "the name of the group is empty".to_owned())),
            GROUP => Ok(Self::Group(name.to_owned())),
            BROKER if name.is_empty() => Ok(Self::ClusterDefault),
            BROKER => match name.parse::<i32>() {
                Ok(id) if id == api.config().node_id => Ok(Self::ThisBroker),
                Ok(id) => {
                    let why = format!("there is no broker {id}; this one is {}", api.config().node_id);
                    Err((ErrorCode::InvalidRequest, why))
                }
                Err(_) => Err((
                    ErrorCode::InvalidRequest,
                    format!("a broker is named by a number or by nothing, not {name:?}"),
                )),
            },
            other => Err((
                ErrorCode::InvalidRequest,
                format!("resource type {other} has no configuration here: 2 is a topic, 4 a broker, 32 a group"),
            )),
        }
    }

    /// Changes the resource's overrides. Durable and in force when it returns.
    pub(super) fn change(self, api: &Api, change: ConfigChange, validate_only: bool) -> Result<(), ResourceError> {
        let changed = match self {
            Self::Topic(name) if name.is_empty() => {
                return Err((ErrorCode::InvalidRequest, "the name of the topic is empty".to_owned()));
            }
            Self::Topic(name) => {
                TopicName::parse(&name).map_err(|error| (error.to_error_code(), error.to_string()))?;
                let wish = TopicConfigChange { name, change, validate_only };
                api.controller.alter_topic_configs(vec![wish]).into_iter().try_for_each(|changed| changed.map(drop))
            }
            Self::Group(name) => api.controller.alter_group_configs(&name, change, validate_only),
            Self::ClusterDefault => {
                api.controller.alter_broker_configs(BrokerScope::ClusterWide, change, validate_only)
            }
            Self::ThisBroker => api.controller.alter_broker_configs(BrokerScope::PerBroker, change, validate_only),
        };
        changed.map_err(|error| (error.to_error_code(), error.to_string()))
    }
}
