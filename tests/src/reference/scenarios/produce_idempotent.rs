//! Produce (0) from idempotent producers: repeats, gaps, epochs, and transactional batches outside a transaction.

use anyhow::Result;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::produce::ProduceRequest;

use super::list_offsets;
use crate::batch::BatchSpec;
use crate::reference::play::produce_request;
use crate::reference::{Play, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::each_version("produce/sequences", ApiKey::Produce, sequences),
        Scenario::each_version("produce/epochs", ApiKey::Produce, epochs),
        Scenario::each_version("produce/transactional", ApiKey::Produce, transactional),
    ]
}

fn sequences(play: &mut Play) -> Result<()> {
    let id = play.create_topic("t", 2, &[])?;
    let name = play.name("t");
    let (producer, epoch) = play.producer_id()?;
    let batch = |values: &[&str], sequence| {
        let batch = BatchSpec::of(values).from_producer(producer, epoch, sequence);
        produce_request(&name, id, 0, batch.build())
    };
    play.step("first", &batch(&["a", "b"], 0))?;
    play.step("first_again", &batch(&["a", "b"], 0))?;
    play.step("second", &batch(&["c"], 2))?;
    play.step("gap", &batch(&["x"], 5))?;
    play.step("repeat_of_another_length", &batch(&["a"], 0))?;
    play.step("repeat_of_a_part", &batch(&["b"], 1))?;
    play.step("overlap", &batch(&["c", "d"], 2))?;
    for sequence in 3..8 {
        play.step(&format!("sequence_{sequence}"), &batch(&["d"], sequence))?;
    }
    play.step("oldest_of_five_again", &batch(&["d"], 3))?;
    play.step("older_than_five_again", &batch(&["c"], 2))?;
    play.step("first_again_later", &batch(&["a", "b"], 0))?;
    play.step("sequence_minus_1", &batch(&["x"], -1))?;
    play.step("sequence_minus_2", &batch(&["x"], -2))?;
    play.step("acks_1", &ProduceRequest { acks: 1, ..batch(&["y"], 8) })?;
    play.unanswered_step("acks_0_gap", &ProduceRequest { acks: 0, ..batch(&["z"], 20) })?;
    let wrapping = BatchSpec::of(&["a", "b"]).from_producer(producer, epoch, i32::MAX);
    play.step("wrap_on_a_new_partition", &produce_request(&name, id, 1, wrapping.build()))?;
    let wrapped = BatchSpec::of(&["c"]).from_producer(producer, epoch, 1);
    play.step("after_the_wrap", &produce_request(&name, id, 1, wrapped.build()))?;
    let two = [BatchSpec::of(&["p"]).from_producer(producer, epoch, 2).build(), BatchSpec::of(&["q"]).build()].concat();
    play.step("two_batches", &produce_request(&name, id, 1, two))?;
    play.step_at("end", 4, &list_offsets::of(name, &[(0, -1, -1), (1, -1, -1)]))?;
    Ok(())
}

fn epochs(play: &mut Play) -> Result<()> {
    let id = play.create_topic("t", 1, &[])?;
    let name = play.name("t");
    let (producer, _) = play.producer_id()?;
    let (unknown, _) = play.producer_id()?;
    let batch = |producer_id, epoch, sequence| {
        let batch = BatchSpec::of(&["a"]).from_producer(producer_id, epoch, sequence);
        produce_request(&name, id, 0, batch.build())
    };
    play.step("unknown_producer_starts_late", &batch(unknown, 0, 5))?;
    play.step("and_goes_on", &batch(unknown, 0, 6))?;
    play.step("epoch_3", &batch(producer, 3, 0))?;
    play.step("stale_epoch", &batch(producer, 2, 0))?;
    play.step("stale_epoch_next_sequence", &batch(producer, 2, 1))?;
    play.step("new_epoch_late_sequence", &batch(producer, 4, 7))?;
    play.step("new_epoch", &batch(producer, 4, 0))?;
    play.step("old_epoch_again", &batch(producer, 3, 0))?;
    play.step("epoch_minus_1", &batch(producer, -1, 0))?;
    play.step("last_epoch", &batch(producer, i16::MAX, 0))?;
    play.step("id_minus_2", &batch(-2, 0, 0))?;
    play.step("epoch_without_id", &batch(-1, 0, 0))?;
    play.step_at("end", 4, &list_offsets::of(name, &[(0, -1, -1)]))?;
    Ok(())
}

fn transactional(play: &mut Play) -> Result<()> {
    let id = play.create_topic("t", 1, &[])?;
    let name = play.name("t");
    let (producer, epoch) = play.producer_id()?;
    let spec = BatchSpec { attributes: 0x10, ..BatchSpec::of(&["a"]).from_producer(producer, epoch, 0) };
    let request = produce_request(&name, id, 0, spec.build());
    play.step("batch_without_transactional_id", &request)?;
    let plain = BatchSpec::of(&["a"]).from_producer(producer, epoch, 0);
    let of_transaction =
        ProduceRequest { transactional_id: Some("nobody".to_owned()), ..produce_request(&name, id, 0, plain.build()) };
    play.step("id_without_transactional_batch", &of_transaction)?;
    play.step_at("end", 4, &list_offsets::of(name, &[(0, -1, -1)]))?;
    Ok(())
}
