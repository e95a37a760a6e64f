//! `ottla completions`: a script for the user's shell, made from the definition of the command line.

use std::io::Write;

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::command_line::CommandLine;

const AFTER_HELP: &str = "\
Examples:
  bash  ottla completions bash > ~/.local/share/bash-completion/completions/ottla
  zsh   ottla completions zsh > \"${fpath[1]}/_ottla\"
  fish  ottla completions fish > ~/.config/fish/completions/ottla.fish";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CompletionsCommand {
    /// The shell to complete for
    shell: Shell,
}

pub(crate) fn run(command: &CompletionsCommand) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut CommandLine::command(), "ottla", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(())
}
