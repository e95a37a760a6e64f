//! FindCoordinator (10): groups, transactions, and keys of no kind.

use anyhow::{Result, bail};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};

use crate::reference::{Play, Scenario};
use crate::wait::{PATIENCE, wait_for};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::each_version("find_coordinator/all", ApiKey::FindCoordinator, all)]
}

/// One key in the form of `version`.
fn one(version: i16, key_type: i8, key: &str) -> FindCoordinatorRequest {
    if version >= 4 {
        FindCoordinatorRequest { key_type, coordinator_keys: vec![key.to_owned()], ..Default::default() }
    } else {
        FindCoordinatorRequest { key: key.to_owned(), key_type, ..Default::default() }
    }
}

fn first_error(response: &FindCoordinatorResponse) -> i16 {
    response.coordinators.first().map_or(response.error_code, |coordinator| coordinator.error_code)
}

fn all(play: &mut Play) -> Result<()> {
    // The first question makes Kafka create its internal topic, and until that is there it answers "not available".
    for key_type in [0, 1] {
        wait_for("a coordinator is there", PATIENCE, || {
            match first_error(&play.ask(6, &one(6, key_type, "some-key"))?) {
                0 => Ok(Some(())),
                15 => Ok(None),
                other => bail!("FindCoordinator answers {other}"),
            }
        })?;
    }
    let version = play.version;
    play.step("group", &one(version, 0, "group"))?;
    play.step("empty_group", &one(version, 0, ""))?;
    if version >= 1 {
        play.step("transaction", &one(version, 1, "transaction"))?;
        play.step("empty_transaction", &one(version, 1, ""))?;
        play.step("share", &one(version, 2, "group:AAAAAAAAAAAAAAAAAAAAAQ:0"))?;
        play.step("kind_3", &one(version, 3, "key"))?;
        play.step("kind_minus_1", &one(version, -1, "key"))?;
    }
    if version >= 4 {
        let of = |keys: &[&str]| FindCoordinatorRequest {
            coordinator_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            ..Default::default()
        };
        play.step("two_groups", &of(&["group", "other"]))?;
        play.step("one_group_twice", &of(&["group", "group"]))?;
        play.step("no_groups", &of(&[]))?;
    }
    Ok(())
}
