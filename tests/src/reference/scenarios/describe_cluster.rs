//! DescribeCluster (60): brokers, and what a broker does not answer.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_cluster::DescribeClusterRequest;

use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::each_version("describe_cluster/all", ApiKey::DescribeCluster, all)]
}

fn all(play: &mut Play) -> Result<()> {
    let plain = DescribeClusterRequest::default();
    play.step("brokers", &plain)?;
    play.step("operations", &DescribeClusterRequest { include_cluster_authorized_operations: true, ..plain.clone() })?;
    if play.version >= 1 {
        for (step, endpoint_type) in [("controllers", 2), ("endpoint_0", 0), ("endpoint_3", 3)] {
            play.step(step, &DescribeClusterRequest { endpoint_type, ..plain.clone() })?;
        }
    }
    if play.version >= 2 {
        play.step("fenced", &DescribeClusterRequest { include_fenced_brokers: true, ..plain.clone() })?;
    }
    Ok(())
}
