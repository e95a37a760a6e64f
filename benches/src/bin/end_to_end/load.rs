//! What is sent, from one blocking thread: a window of requests over each connection, or single ones at a fixed rate.
//!
//! Knows neither who answers nor what that costs.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use hdrhistogram::Histogram;

use crate::wire;

/// Sends `request` until `count` of them were answered, keeping `window` unanswered on each connection.
///
/// Every answer goes to `check`.
pub(crate) fn pipeline(
    streams: &mut [TcpStream],
    request: &[u8],
    window: usize,
    count: usize,
    check: impl Fn(&[u8]) -> Result<()>,
) -> Result<Duration> {
    let start = Instant::now();
    let (mut sent, mut answered) = (0, 0);
    for _ in 0..window {
        for stream in &mut *streams {
            if sent < count {
                stream.write_all(request)?;
                sent += 1;
            }
        }
    }
    let mut frame = Vec::new();
    while answered < count {
        for stream in &mut *streams {
            if answered == count {
                break;
            }
            wire::read_frame(stream, &mut frame)?;
            check(&frame)?;
            answered += 1;
            if sent < count {
                stream.write_all(request)?;
                sent += 1;
            }
        }
    }
    Ok(start.elapsed())
}

/// Reads `bytes` of answers to requests that `next` makes from the answer before.
pub(crate) fn read_back(
    stream: &mut TcpStream,
    bytes: usize,
    mut next: impl FnMut(Option<Bytes>) -> Result<Bytes>,
) -> Result<(usize, Duration)> {
    let start = Instant::now();
    let (mut read, mut last, mut frame) = (0, None, Vec::new());
    while read < bytes {
        stream.write_all(&next(last)?)?;
        wire::read_frame(stream, &mut frame)?;
        read += frame.len();
        last = Some(Bytes::from(std::mem::take(&mut frame)));
    }
    Ok((read, start.elapsed()))
}

/// Sends `count` requests, one at each tick of `period`, and tells the time from the tick to the answer in nanoseconds.
///
/// A late request counts from when it was due, so that a pause of the broker is not left out.
pub(crate) fn latency(
    stream: &mut TcpStream,
    request: &[u8],
    period: Duration,
    count: u32,
    check: impl Fn(&[u8]) -> Result<()>,
) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new(3)?;
    let mut frame = Vec::new();
    let start = Instant::now();
    for index in 0..count {
        let due = start + period * index;
        // The last stretch is spent awake: being woken late would be counted as the broker's time.
        if let Some(early) = due.checked_duration_since(Instant::now() + Duration::from_micros(200)) {
            std::thread::sleep(early);
        }
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        stream.write_all(request)?;
        wire::read_frame(stream, &mut frame)?;
        histogram.record(u64::try_from(due.elapsed().as_nanos())?)?;
        check(&frame)?;
    }
    Ok(histogram)
}
