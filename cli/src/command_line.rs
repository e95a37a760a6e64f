//! The command line: which commands there are, and what all of them share.

use clap::{Args, Parser, Subcommand};

use ottla_client::ClientConfig;

use crate::bench::BenchCommand;
use crate::cluster::ClusterCommand;
use crate::completions::CompletionsCommand;
use crate::consume::ConsumeCommand;
use crate::group::GroupCommand;
use crate::log::LogCommand;
use crate::produce::ProduceCommand;
use crate::serve::ServeCommand;
use crate::topic::TopicCommand;

const AFTER_HELP: &str = "\
Examples:
  ottla serve                        a broker on 127.0.0.1:9092, its data in ./ottla-data
  ottla topic create flights --partitions 6
  echo 'hello' | ottla produce flights
  ottla consume flights --from beginning --until-end

Exit codes:
  0    done (a reader that closes the pipe early is not an error)
  1    failed; stderr says what happened, where, and what to do
  2    the command line is wrong (`ottla log`: or nothing could be looked at)
  130  interrupted before everything was done

Every command has more under `ottla COMMAND --help`.";

/// A log-based message broker that speaks Kafka's wire protocol, and the tools for it
#[derive(Debug, Parser)]
#[command(name = "ottla", version, after_help = AFTER_HELP, propagate_version = true)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a broker
    Serve(ServeCommand),
    /// Create, list, describe, alter and delete topics
    Topic(TopicCommand),
    /// Write records from stdin or a file
    Produce(ProduceCommand),
    /// Read records
    Consume(ConsumeCommand),
    /// List, describe, reset and delete consumer groups
    Group(GroupCommand),
    /// Show the cluster: its id, its brokers and the versions they speak
    Cluster(ClusterCommand),
    /// Measure how fast a broker takes records, gives them back and answers
    Bench(BenchCommand),
    /// Look at what lies on the disk, without a broker: dump, verify and repair logs
    Log(LogCommand),
    /// Print a script that completes commands in a shell
    Completions(CompletionsCommand),
}

/// Where the broker is.
#[derive(Debug, Args)]
pub(crate) struct Bootstrap {
    /// The broker to ask first; several separated by commas
    #[arg(
        short = 'b',
        long,
        value_name = "HOST:PORT",
        env = "OTTLA_BOOTSTRAP_SERVER",
        default_value = "127.0.0.1:9092"
    )]
    pub(crate) bootstrap_server: String,
}

impl Bootstrap {
    pub(crate) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new(&self.bootstrap_server);
        config.client_id = "ottla-cli".to_owned();
        config
    }
}

/// `KEY=VALUE`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not KEY=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_argument_is_explained_and_no_example_is_broken_by_the_margin() {
        fn check(command: &clap::Command) {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let long = examples.lines().find(|line| line.chars().count() > 99);
            assert_eq!(long, None, "{}", command.get_name());
            assert!(command.get_about().is_some(), "{} has no description", command.get_name());
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{}: {} has no help", command.get_name(), argument.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&CommandLine::command());
    }

    #[test]
    fn a_pair_is_split_at_the_first_equals_sign() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(parse_pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(parse_pair("a").is_err() && parse_pair("=b").is_err());
    }
}
