//! Topics, partitions, groups, configs and brokers: what an operator asks of a cluster.
//!
//! Each method is one question (or change) with one answer for each topic, partition, group or resource in it: a call
//! fails as a whole only when no broker could be asked. What may pass by itself (a moved controller or coordinator, a lost
//! connection) is repeated until the API timeout. A change that was carried out while its answer was lost is repeated too, so that creating a
//! topic can end in TOPIC_ALREADY_EXISTS, as with Kafka's own AdminClient.

mod configs;
mod group_deletion;
mod group_description;
mod group_listing;
mod group_offsets;
mod inspection;
mod partition_records;
mod topics;

use std::time::Duration;

use ottla_protocol::{ErrorCode, Request};

pub use configs::{AlterConfigOp, ConfigEntry, ConfigResource, ConfigSource, ConfigSynonym};
pub use group_description::{GroupDescription, MemberDescription};
pub use group_listing::{GroupListing, GroupState, GroupType};
pub use group_offsets::{CommittedOffset, GroupOffsets};
pub use inspection::{ApiVersionRange, ClusterDescription, LogDirDescription, ReplicaLogSize};
pub use topics::{CreatedTopic, NewTopic, TopicListing};

use crate::Error;
use crate::cluster::Cluster;
use crate::config::ClientConfig;
use crate::connection::Connection;

/// A connection to a cluster for questions and changes. Cheap to clone.
///
/// ```no_run
/// # async fn example() -> Result<(), ottla_client::Error> {
/// use ottla_client::{Admin, NewTopic};
///
/// let admin = Admin::connect("127.0.0.1:9092").await?;
/// admin.create_topic(NewTopic::new("flights", 6).config("retention.ms", "-1")).await?;
/// for topic in admin.list_topics().await? {
///     println!("{}", topic.name);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Admin {
    cluster: Cluster,
}

impl Admin {
    /// Reaches the cluster: a bootstrap address, or a [`ClientConfig`].
    ///
    /// # Errors
    /// [`Error::Config`]; [`Error::NoBrokerReachable`] when no bootstrap server answers.
    pub async fn connect(config: impl Into<ClientConfig>) -> Result<Admin, Error> {
        Ok(Admin { cluster: Cluster::connect(config.into(), false).await? })
    }

    /// Closes the connections. Dropping the last handle does the same.
    pub async fn close(self) {}

    fn timeout(&self) -> Duration {
        self.cluster.config().request_timeout
    }

    /// The request timeout as requests carry it.
    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.timeout().as_millis()).unwrap_or(i32::MAX)
    }

    /// Asks the controller, repeating what may pass. `refusal` is the error code that stands for the whole answer.
    async fn ask_controller<R: Request>(
        &self,
        request: &R,
        refusal: impl Fn(&R::Response) -> i16,
    ) -> Result<(Connection, R::Response), Error> {
        let attempt = || async {
            let connection = self.cluster.controller_connection().await?;
            self.ask(connection, request, &refusal).await
        };
        self.cluster.retrying(attempt).await
    }

    /// Asks any broker, repeating what may pass.
    async fn ask_any<R: Request>(
        &self,
        request: &R,
        refusal: impl Fn(&R::Response) -> i16,
    ) -> Result<(Connection, R::Response), Error> {
        let attempt = || async {
            let connection = self.cluster.any_connection().await?;
            self.ask(connection, request, &refusal).await
        };
        self.cluster.retrying(attempt).await
    }

    async fn ask<R: Request>(
        &self,
        connection: Connection,
        request: &R,
        refusal: impl Fn(&R::Response) -> i16,
    ) -> Result<(Connection, R::Response), Error> {
        let response = connection.request(request, self.timeout()).await?;
        match refusal(&response) {
            0 => Ok((connection, response)),
            code => Err(Error::broker(R::API_KEY, code, connection.address(), "", None)),
        }
    }
}

/// NOT_CONTROLLER if it is among the codes of the parts of an answer, which then stands for the whole; else 0.
fn not_controller(codes: impl IntoIterator<Item = i16>) -> i16 {
    codes.into_iter().find(|code| *code == ErrorCode::NotController.code()).unwrap_or_default()
}

#[cfg(test)]
#[path = "admin/group_test.rs"]
mod group_tests;
