//! Goal: what an admin is told is so. Method: change a real cluster, and look at it again.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which are to panic when something fails")]

mod support;

use ottla_client::{
    AlterConfigOp, ApiKey, ConfigResource, ConfigSource, Error, ErrorCode, IsolationLevel, NewTopic, OffsetSpec,
    ProducerRecord, TopicPartition, Uuid,
};
use support::{TestCluster, partitions, unique_name, within};

#[tokio::test]
async fn topics_are_created_described_widened_and_deleted() {
    let cluster = TestCluster::start().await;
    let admin = cluster.admin().await;
    let name = unique_name();
    let created = admin.create_topic(NewTopic::new(&name, 3).replication_factor(1)).await.unwrap();
    assert_eq!((created.partitions, created.replication_factor), (3, 1));
    assert_ne!(created.id, Uuid::ZERO);
    let again = admin.create_topic(NewTopic::new(&name, 3)).await.unwrap_err();
    assert_eq!(again.code(), Some(ErrorCode::TopicAlreadyExists));

    let known = async || admin.list_topics().await.unwrap().iter().any(|topic| topic.name == name);
    assert!(cluster.holds(known).await);
    let listed = admin.list_topics().await.unwrap();
    let listed = listed.iter().find(|topic| topic.name == name).unwrap();
    assert_eq!((listed.id, listed.partitions, listed.is_internal), (created.id, 3, false));

    let widened = admin.create_partitions(&[(&name, 5), ("no-such-topic", 2)], false).await.unwrap();
    widened[&name].as_ref().unwrap();
    assert_eq!(widened["no-such-topic"].as_ref().unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPartition));
    let fewer = admin.create_partitions(&[(&name, 2)], false).await.unwrap();
    assert_eq!(fewer[&name].as_ref().unwrap_err().code(), Some(ErrorCode::InvalidPartitions));

    let wider = async || admin.describe_topics(&[&name]).await.unwrap()[&name].as_ref().unwrap().partitions.len() == 5;
    assert!(cluster.holds(wider).await);
    let mut described = admin.describe_topics(&[&name, "no-such-topic"]).await.unwrap();
    let unknown = described.remove("no-such-topic").unwrap().unwrap_err();
    assert_eq!(unknown.code(), Some(ErrorCode::UnknownTopicOrPartition));
    let topic = described.remove(&name).unwrap().unwrap();
    assert_eq!((topic.id, topic.partitions.len()), (created.id, 5));
    for (index, partition) in topic.partitions.iter().enumerate() {
        assert_eq!(partition.partition, index as i32);
        assert_eq!(partition.replicas, [partition.leader.unwrap()]);
        assert_eq!(partition.in_sync_replicas, partition.replicas);
    }

    admin.delete_topic(&name).await.unwrap();
    let again = admin.delete_topic(&name).await.unwrap_err();
    assert_eq!(again.code(), Some(ErrorCode::UnknownTopicOrPartition));
    let gone = async || !admin.list_topics().await.unwrap().iter().any(|topic| topic.name == name);
    assert!(cluster.holds(gone).await);
    admin.close().await;
    cluster.stop().await;
}

#[tokio::test]
async fn validating_creates_nothing_and_each_topic_has_its_own_answer() {
    let cluster = TestCluster::start().await;
    let admin = cluster.admin().await;
    let name = unique_name();
    let topics = [
        NewTopic::new(&name, 2),
        NewTopic::new("bad/name", 1),
        NewTopic::new(format!("{name}-0"), 0),
        NewTopic::new(format!("{name}-r"), 1).replication_factor(99),
        NewTopic::new(format!("{name}-c"), 1).config("retention.ms", "soon"),
    ];
    let answers = admin.create_topics(&topics, true).await.unwrap();
    answers[&name].as_ref().unwrap();
    let code = |topic: &NewTopic| answers[&topic.name].as_ref().unwrap_err().code().unwrap();
    assert_eq!(code(&topics[1]), ErrorCode::InvalidTopicException);
    assert_eq!(code(&topics[2]), ErrorCode::InvalidPartitions);
    assert_eq!(code(&topics[3]), ErrorCode::InvalidReplicationFactor);
    assert_eq!(code(&topics[4]), ErrorCode::InvalidConfig);
    assert!(!admin.list_topics().await.unwrap().iter().any(|topic| topic.name == name));
    cluster.stop().await;
}

#[tokio::test]
async fn configs_are_changed_key_by_key() {
    let cluster = TestCluster::start().await;
    let admin = cluster.admin().await;
    let topic = cluster.topic_with(1, &[("retention.ms", "1000"), ("max.message.bytes", "5000")]).await;
    let resource = ConfigResource::Topic(topic);
    let unknown = ConfigResource::Topic("no-such-topic".into());
    let changes = [
        (
            resource.clone(),
            vec![
                AlterConfigOp::Set("retention.ms".into(), "2000".into()),
                AlterConfigOp::Delete("max.message.bytes".into()),
                AlterConfigOp::Append("cleanup.policy".into(), "compact".into()),
            ],
        ),
        (unknown.clone(), vec![AlterConfigOp::Set("retention.ms".into(), "1".into())]),
    ];
    let altered = admin.incremental_alter_configs(&changes, false).await.unwrap();
    altered[&resource].as_ref().unwrap();
    assert_eq!(altered[&unknown].as_ref().unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPartition));

    let set = async || {
        let described = admin.describe_configs(std::slice::from_ref(&resource), false).await.unwrap();
        let entries = described[&resource].as_ref().unwrap();
        entries.iter().any(|entry| entry.name == "retention.ms" && entry.value.as_deref() == Some("2000"))
    };
    assert!(cluster.holds(set).await);
    let described = admin.describe_configs(&[resource.clone(), unknown.clone()], true).await.unwrap();
    assert!(described[&unknown].is_err());
    let entries = described[&resource].as_ref().unwrap();
    let entry = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();
    let retention = entry("retention.ms");
    assert_eq!((retention.value.as_deref(), retention.source), (Some("2000"), ConfigSource::Topic));
    assert!(retention.documentation.as_ref().is_some_and(|text| !text.is_empty()));
    assert_eq!(entry("max.message.bytes").source, ConfigSource::Default);
    let mut policy: Vec<&str> = entry("cleanup.policy").value.as_deref().unwrap().split(',').collect();
    policy.sort_unstable();
    assert_eq!(policy, ["compact", "delete"]);

    let bad = vec![AlterConfigOp::Set("retention.ms".into(), "soon".into())];
    let refused = admin.incremental_alter_configs(&[(resource.clone(), bad)], false).await.unwrap();
    assert_eq!(refused[&resource].as_ref().unwrap_err().code(), Some(ErrorCode::InvalidConfig));
    cluster.stop().await;
}

#[tokio::test]
async fn the_cluster_tells_of_itself() {
    let cluster = TestCluster::start().await;
    let admin = cluster.admin().await;
    let description = admin.describe_cluster().await.unwrap();
    assert!(description.cluster_id.is_some_and(|id| !id.is_empty()));
    let node = &description.nodes[0];
    assert_eq!(format!("{}:{}", node.host, node.port), cluster.bootstrap);
    let versions = admin.api_versions(Some(node.id)).await.unwrap();
    assert!(versions.iter().any(|range| range.api == Some(ApiKey::Produce) && range.max >= 9));
    let configs = admin.describe_configs(&[ConfigResource::Broker(node.id)], false).await.unwrap();
    assert!(configs[&ConfigResource::Broker(node.id)].as_ref().unwrap().len() > 20);
    let nobody = admin.api_versions(Some(4711)).await.unwrap_err();
    assert!(matches!(nobody, Error::Disconnected { .. }), "{nobody}");
    cluster.stop().await;
}

#[tokio::test]
async fn records_are_deleted_and_sizes_told() {
    let cluster = TestCluster::start().await;
    let admin = cluster.admin().await;
    let topic = cluster.topic(2).await;
    let producer = cluster.producer().await;
    let mut last = None;
    for index in 0..100 {
        last = Some(producer.send(ProducerRecord::new(topic.as_str(), vec![index; 100]).partition(0)).await.unwrap());
    }
    within(last.unwrap()).await.unwrap();
    producer.close().await;
    let both = partitions(&topic, 2);

    let dirs = admin.describe_log_dirs(&[]).await.unwrap();
    let dirs: Vec<_> = dirs.values().flat_map(|dirs| dirs.as_ref().unwrap()).collect();
    let size = |partition: &TopicPartition| dirs.iter().find_map(|dir| dir.replicas.get(partition)).unwrap().size;
    assert!(size(&both[0]) > 10_000);
    assert_eq!(size(&both[1]), 0);
    assert!(dirs.iter().all(|dir| dir.error.is_none() && !dir.path.is_empty()));

    let outside = TopicPartition::new(topic.as_str(), 2);
    let questions = [(both[0].clone(), 40), (both[1].clone(), 1), (outside.clone(), 0)];
    let deleted = admin.delete_records(questions).await;
    assert_eq!(*deleted[&both[0]].as_ref().unwrap(), 40);
    assert_eq!(deleted[&both[1]].as_ref().unwrap_err().code(), Some(ErrorCode::OffsetOutOfRange));
    assert!(matches!(deleted[&outside], Err(Error::UnknownPartition { count: 2, .. })));
    let starts = both.iter().map(|partition| (partition.clone(), OffsetSpec::Earliest));
    let starts = admin.list_offsets(starts, IsolationLevel::ReadUncommitted).await;
    assert_eq!(starts.values().map(|start| start.as_ref().unwrap().offset).collect::<Vec<_>>(), [40, 0]);
    let all = admin.delete_records([(both[0].clone(), -1)]).await;
    assert_eq!(*all[&both[0]].as_ref().unwrap(), 100);
    cluster.stop().await;
}
