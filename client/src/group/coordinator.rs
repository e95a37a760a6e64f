//! The way to the broker that coordinates a group.
//!
//! Owns which broker that is, as far as it is known, and asking for it (one question at a time). Whoever is told by that
//! broker that it is not the coordinator, or loses it, says so with [`Coordinator::lost`]; repeating is the caller's.

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::messages::find_coordinator::{Coordinator as Found, FindCoordinatorRequest};
use ottla_protocol::{ApiKey, Request};
use parking_lot::Mutex;

use crate::Error;
use crate::cluster::{Cluster, Lane};
use crate::connection::Connection;

/// The kind of key that is a group's name.
const GROUP_KEY: i8 = 0;
/// The first version of FindCoordinator that asks for several keys.
const SEVERAL_KEYS: i16 = 4;

/// Cheap to clone: all clones know the same.
#[derive(Debug, Clone)]
pub(crate) struct Coordinator {
    cluster: Cluster,
    group: Arc<str>,
    node: Arc<Mutex<Option<i32>>>,
    finding: Arc<tokio::sync::Mutex<()>>,
}

impl Coordinator {
    pub(crate) fn new(cluster: Cluster, group: &str) -> Self {
        Coordinator { cluster, group: group.into(), node: Arc::default(), finding: Arc::default() }
    }

    /// A connection to the coordinator, which is asked for unless it is known.
    ///
    /// # Errors
    /// Those of reaching a broker, and of the question.
    pub(crate) async fn connection(&self, lane: Lane) -> Result<Connection, Error> {
        let known = *self.node.lock();
        let node = match known {
            Some(node) => node,
            None => self.find().await?,
        };
        let connection = self.cluster.connection(node, lane).await;
        if connection.is_err() {
            self.lost();
            self.cluster.request_update();
        }
        connection
    }

    /// Sends one request, in the highest common version up to `version_max`. A coordinator that cannot be reached, or does
    /// not answer, is asked for anew the next time.
    ///
    /// # Errors
    /// Those of reaching the coordinator.
    pub(crate) async fn call<R: Request>(
        &self,
        connection: &Connection,
        request: &R,
        version_max: i16,
        timeout: Duration,
    ) -> Result<R::Response, Error> {
        let version = connection.version(R::API_KEY)?.min(version_max);
        let outcome = connection.request_version(request, version, timeout).await;
        if outcome.is_err() {
            self.lost();
        }
        outcome
    }

    /// Asks anew the next time.
    pub(crate) fn lost(&self) {
        *self.node.lock() = None;
    }

    async fn find(&self) -> Result<i32, Error> {
        let _one_at_a_time = self.finding.lock().await;
        if let Some(node) = *self.node.lock() {
            return Ok(node);
        }
        let connection = self.cluster.any_connection().await?;
        let several = connection.version(ApiKey::FindCoordinator)? >= SEVERAL_KEYS;
        let request = FindCoordinatorRequest {
            key: if several { String::new() } else { self.group.to_string() },
            key_type: GROUP_KEY,
            coordinator_keys: if several { vec![self.group.to_string()] } else { Vec::new() },
        };
        let response = connection.request(&request, self.cluster.config().request_timeout).await?;
        let found = match several {
            true => response.coordinators.into_iter().next().unwrap_or_default(),
            false => Found {
                node_id: response.node_id,
                error_code: response.error_code,
                error_message: response.error_message,
                ..Default::default()
            },
        };
        if found.error_code != 0 {
            let (api, resource) = (ApiKey::FindCoordinator, format_args!("group {}", self.group));
            return Err(Error::broker(api, found.error_code, connection.address(), resource, found.error_message));
        }
        if !self.cluster.metadata().nodes.contains_key(&found.node_id) {
            self.cluster.updated().await;
        }
        *self.node.lock() = Some(found.node_id);
        Ok(found.node_id)
    }
}
