//! Members of consumer groups (KIP-848): one request for everything, and an answer at once to what was assigned.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use ottla_protocol::Uuid;
use ottla_protocol::messages::consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, TopicPartitions};

use crate::member::Connection;
use crate::progress::Progress;

const VERSION: i16 = 1;
const REBALANCE_TIMEOUT_MS: i32 = 60_000;

/// A member until `progress` ends it.
pub(crate) async fn run(
    address: SocketAddr,
    group_id: String,
    topic: String,
    number: usize,
    progress: Progress,
) -> Result<()> {
    let mut connection = Connection::open(address, format!("member-{number}")).await?;
    let mut random = [0; 16];
    random[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    let member_id = Uuid(random).to_string();
    let join = ConsumerGroupHeartbeatRequest {
        group_id: group_id.clone(),
        member_id: member_id.clone(),
        member_epoch: 0,
        rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
        subscribed_topic_names: Some(vec![topic]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let mut next = join;
    loop {
        let answer = connection.ask(VERSION, &next).await?;
        progress.heard();
        ensure!(
            answer.error_code == 0,
            "a heartbeat was answered with error {} {:?}",
            answer.error_code,
            answer.error_message
        );
        let epoch = answer.member_epoch;
        next = ConsumerGroupHeartbeatRequest {
            group_id: group_id.clone(),
            member_id: member_id.clone(),
            member_epoch: epoch,
            ..Default::default()
        };
        if let Some(assignment) = answer.assignment {
            let owned: Vec<TopicPartitions> = assignment.topic_partitions;
            progress.owns(number, epoch, owned.iter().map(|topic| topic.partitions.len()).sum());
            // Acknowledged at once, as by a consumer whose callbacks take no time.
            next.topic_partitions = Some(owned);
            continue;
        }
        progress.at_epoch(number, epoch);
        if !progress.next_heartbeat(number).await {
            next.member_epoch = -1;
            let answer = connection.ask(VERSION, &next).await?;
            ensure!(answer.error_code == 0, "a member could not leave: error {}", answer.error_code);
            return Ok(());
        }
    }
}
