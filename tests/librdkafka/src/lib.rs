//! Ottla through librdkafka: see `tests/`.
