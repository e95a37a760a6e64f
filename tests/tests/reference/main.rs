//! Ottla held against what real clients send and what Apache Kafka answers, from files in `tests/golden`.

mod captures;
mod comparison;
mod support_page;
