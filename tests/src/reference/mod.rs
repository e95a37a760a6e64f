//! A script of requests whose answers from Apache Kafka are kept as golden files, and the comparison with Ottla's.
//!
//! [`scenarios`] is the script, [`Play`] plays one scenario in one version, [`golden`] is the form of the files,
//! [`differences`] the one list of what differs on purpose.

pub mod batch_text;
pub mod differences;
pub mod golden;
mod normal_form;
pub mod play;
pub mod run;
pub mod scenarios;
pub mod tree;

pub use play::Play;
pub use run::{Scenario, run_scenarios};
