//! Single questions about topics, beside those whose metadata is kept: which there are, how many partitions they have,
//! and what they are called.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponseTopic};
use ottla_protocol::{ApiKey, ErrorCode, Uuid};

use crate::Error;
use crate::cluster::Cluster;
use crate::metadata::error_of;

/// The first version of Metadata that a topic can be asked for by its id alone.
const METADATA_BY_ID: i16 = 12;

/// The names of all topics that are not the broker's own.
pub(crate) async fn all_topics(cluster: &Cluster) -> Result<BTreeSet<Arc<str>>, Error> {
    let topics = ask(cluster, None, 0).await?;
    let visible = topics.into_iter().filter(|topic| topic.error_code == 0 && !topic.is_internal);
    Ok(visible.filter_map(|topic| topic.name).map(Arc::from).collect())
}

/// How many partitions each of these topics has; one that does not exist is left out.
pub(crate) async fn partition_counts(
    cluster: &Cluster,
    topics: BTreeSet<Arc<str>>,
) -> Result<BTreeMap<Arc<str>, i32>, Error> {
    let named = |topic: &Arc<str>| MetadataRequestTopic { name: Some(topic.to_string()), ..Default::default() };
    let mut counts = BTreeMap::new();
    for topic in ask(cluster, Some(topics.iter().map(named).collect()), 0).await? {
        let Some(name) = topic.name.map(Arc::<str>::from) else { continue };
        match error_of(topic.error_code) {
            None => drop(counts.insert(name, i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX))),
            Some(ErrorCode::UnknownTopicOrPartition) => {}
            Some(code) if code.is_retriable() => {
                let address: Arc<str> = cluster.config().bootstrap_servers.join(",").into();
                return Err(Error::broker(ApiKey::Metadata, code.code(), &address, name, None));
            }
            Some(code) => tracing::warn!(topic = %name, %code, "nothing is assigned of a topic that is refused"),
        }
    }
    Ok(counts)
}

/// The names of the topics with these ids; one that is not known (any more, or yet) is left out.
pub(crate) async fn topic_names(cluster: &Cluster, ids: BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, Arc<str>>, Error> {
    let by_id = |topic_id: &Uuid| MetadataRequestTopic { topic_id: *topic_id, name: None };
    let topics = ask(cluster, Some(ids.iter().map(by_id).collect()), METADATA_BY_ID).await?;
    let known = topics.into_iter().filter(|topic| topic.error_code == 0);
    Ok(known.filter_map(|topic| Some((topic.topic_id, topic.name?.into()))).collect())
}

async fn ask(
    cluster: &Cluster,
    topics: Option<Vec<MetadataRequestTopic>>,
    needed: i16,
) -> Result<Vec<MetadataResponseTopic>, Error> {
    let connection = cluster.any_connection().await?;
    let version = connection.version(ApiKey::Metadata)?;
    if version < needed {
        return Err(Error::UnsupportedVersion {
            address: connection.address().clone(),
            api: ApiKey::Metadata,
            served: format!("versions up to {version}"),
            spoken: format!("version {needed}, which this question needs"),
        });
    }
    let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
    let response = connection.request_version(&request, version, cluster.config().request_timeout).await?;
    match response.error_code {
        0 => Ok(response.topics),
        code => Err(Error::broker(ApiKey::Metadata, code, connection.address(), "", None)),
    }
}
