//! What is sent, from one blocking thread: a window of requests over each connection, or single ones at a fixed rate.
//!
//! Knows neither who answers nor what that costs.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use hdrhistogram::Histogram;

use crate::wire::FrameBuffer;

/// Sends `count` requests, of which `request` makes the one of a given number, keeping `window` unanswered on each connection.
/// Every answer goes to `check`, with nothing in between that the answerer would have to wait for.
///
/// # Errors
/// Those of a connection or of `check`.
pub fn pipeline(
    streams: &mut [TcpStream],
    request: impl Fn(usize) -> Bytes,
    window: usize,
    count: usize,
    check: impl Fn(Bytes) -> Result<()>,
) -> Result<Duration> {
    let start = Instant::now();
    let (mut sent, mut answered) = (0, 0);
    for _ in 0..window {
        for stream in &mut *streams {
            if sent < count {
                stream.write_all(&request(sent))?;
                sent += 1;
            }
        }
    }
    let mut frames = FrameBuffer::default();
    while answered < count {
        for stream in &mut *streams {
            if answered == count {
                break;
            }
            check(frames.read(stream)?)?;
            answered += 1;
            if sent < count {
                stream.write_all(&request(sent))?;
                sent += 1;
            }
        }
    }
    Ok(start.elapsed())
}

/// Sends `count` requests, one at each tick of `period`, and tells the time from the tick to the answer in nanoseconds.
///
/// A late request counts from when it was due, so that a pause of the broker is not left out.
///
/// # Errors
/// Those of the connection or of `check`.
pub fn latency(
    stream: &mut TcpStream,
    request: &[u8],
    period: Duration,
    count: u32,
    check: impl Fn(Bytes) -> Result<()>,
) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new(3)?;
    let mut frames = FrameBuffer::default();
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
        let frame = frames.read(stream)?;
        histogram.record(u64::try_from(due.elapsed().as_nanos())?)?;
        check(frame)?;
    }
    Ok(histogram)
}
