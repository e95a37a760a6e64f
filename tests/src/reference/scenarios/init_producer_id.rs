//! InitProducerId (22) without a transactional id.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::init_producer_id::InitProducerIdRequest;

use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::each_version("init_producer_id/idempotent", ApiKey::InitProducerId, idempotent)]
}

fn idempotent(play: &mut Play) -> Result<()> {
    let plain = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
    let first = play.step("first", &plain)?;
    play.step("second", &plain)?;
    for (step, timeout) in [("timeout_0", 0), ("timeout_minus_1", -1), ("timeout_max", i32::MAX)] {
        play.step(step, &InitProducerIdRequest { transaction_timeout_ms: timeout, ..plain.clone() })?;
    }
    if play.version >= 3
        && let Some(first) = first
    {
        let of = |producer_id, producer_epoch| InitProducerIdRequest { producer_id, producer_epoch, ..plain.clone() };
        play.step("known_producer", &of(first.producer_id, first.producer_epoch))?;
        play.step("known_producer_next_epoch", &of(first.producer_id, first.producer_epoch + 1))?;
        play.step("unknown_producer", &of(999_999, 3))?;
        play.step("id_without_epoch", &of(first.producer_id, -1))?;
        play.step("epoch_without_id", &of(-1, 3))?;
        play.step("negative_id", &of(-5, 0))?;
        play.step("last_epoch", &of(first.producer_id, i16::MAX))?;
    }
    let empty = InitProducerIdRequest { transactional_id: Some(String::new()), ..plain };
    play.step("empty_transactional_id", &empty)?;
    Ok(())
}
