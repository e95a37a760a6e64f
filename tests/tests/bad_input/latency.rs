//! Goal: while others send bad input, a healthy client is not slowed to twice its latency.
//!
//! Method: rounds of quiet and of attack take turns, so that a busy machine slows both alike; the medians of the healthy client's
//! round trips are compared. The attackers send two hundred inputs a second of every kind that costs the broker the most to refuse.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ottla_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla_tests::batch::{BatchSpec, Codec};
use ottla_tests::connection::RawConnection;

use crate::victim::{Victim, produce};

const ROUNDS: usize = 10;
const PHASE: Duration = Duration::from_millis(200);
const INPUTS_PER_SECOND: u32 = 200;
/// A round trip's share of a busy machine's scheduling, which is not the broker's doing.
const NOISE: Duration = Duration::from_micros(300);

/// One input of each kind, on connections of their own: a bomb, a broken checksum, many names, a length that is none, silence.
fn attack(address: std::net::SocketAddr, turn: usize) -> Result<()> {
    let mut connection = RawConnection::open(address)?;
    match turn % 5 {
        0 => {
            // A record more than there is, which shows only behind the two mebibytes of the first.
            let bomb = BatchSpec { codec: Codec::Zstd, count: Some(2), ..BatchSpec::of(&[&"0".repeat(2 << 20)]) };
            connection.ask(12, &produce("healthy", bomb.build(), 1))?;
        }
        1 => {
            let mut broken = BatchSpec::of(&["broken"]).build();
            broken[20] ^= 1;
            connection.ask(12, &produce("healthy", broken, 1))?;
        }
        2 => {
            let topics = (0..1_000).map(|number| MetadataRequestTopic {
                name: Some(format!("../no-such-topic-{number}")),
                ..Default::default()
            });
            let request = MetadataRequest { topics: Some(topics.collect()), ..Default::default() };
            connection.ask(12, &request)?;
        }
        3 => {
            connection.send_bytes(&i32::MAX.to_be_bytes())?;
            connection.expect_closed()?;
        }
        _ => connection.send_bytes(&[0, 0, 1])?,
    }
    Ok(())
}

fn median(mut round_trips: Vec<Duration>) -> Duration {
    round_trips.sort_unstable();
    round_trips[round_trips.len() / 2]
}

#[test]
fn a_healthy_client_keeps_its_latency_under_attack() {
    let mut victim = Victim::start().unwrap();
    // The log's index goes to its file when it has so many entries, and the file stays open from then on.
    let before = victim.process().usage().unwrap().descriptors;
    for round in 0.. {
        victim.serve_healthy().unwrap();
        if victim.process().usage().unwrap().descriptors > before {
            break;
        }
        assert!(round < 100_000, "the index is never written");
    }
    victim.rebase().unwrap();
    let address = victim.process().address();
    let (attacking, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut quiet, mut attacked) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let attacker = scope.spawn(|| -> Result<usize> {
            let mut inputs = 0;
            while !done.load(Ordering::Relaxed) {
                if attacking.load(Ordering::Relaxed) {
                    attack(address, inputs).with_context(|| format!("input {inputs}"))?;
                    inputs += 1;
                }
                // The pace of the attack, not a wait for the broker.
                std::thread::sleep(Duration::from_secs(1) / INPUTS_PER_SECOND);
            }
            Ok(inputs)
        });
        let mut measure = || {
            for round in 0..ROUNDS {
                for (under_attack, round_trips) in [(false, &mut quiet), (true, &mut attacked)] {
                    attacking.store(under_attack, Ordering::Relaxed);
                    let phase = Instant::now();
                    while phase.elapsed() < PHASE {
                        let started = Instant::now();
                        victim.serve_healthy().with_context(|| format!("round {round}"))?;
                        round_trips.push(started.elapsed());
                    }
                }
            }
            anyhow::Ok(())
        };
        let measured = measure();
        done.store(true, Ordering::Relaxed);
        measured.unwrap();
        let inputs = attacker.join().unwrap().unwrap();
        assert!(inputs >= 50, "only {inputs} inputs were sent");
    });
    let (quiet, attacked) = (median(quiet), median(attacked));
    println!("median of the healthy client: {quiet:?}, under attack {attacked:?}");
    assert!(attacked < quiet * 2 + NOISE, "{quiet:?} when quiet, {attacked:?} under attack");
    victim.check("an attack").unwrap();
}
