//! `ottla serve`: a broker in the foreground, until SIGINT or SIGTERM.
//!
//! Reads the configuration's sources, starts the broker, says in one banner what a person needs to know, and stops it
//! cleanly. The broker itself is `ottla_broker`.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};
use clap::Args;
use tracing_subscriber::EnvFilter;

use ottla_broker::config::{BrokerConfig, ConfigFile, ConfigFlag, ConfigSources, FlushMode, Listener};
use ottla_broker::storage::StorageError;
use ottla_broker::{Broker, StartError};

use crate::command_line::parse_pair;
use crate::interrupt::Interrupt;
use crate::output::print;

const AFTER_HELP: &str = "\
Configuration, the strongest first: these flags, OTTLA_* variables (OTTLA_LOG_RETENTION_MS is
log.retention.ms), one file, Kafka's defaults. docs/configuration.md lists all keys.

Examples:
  ottla serve
  ottla serve --data-dir /var/lib/ottla --listen 0.0.0.0:9092 \\
      --set advertised.listeners=PLAINTEXT://broker1:9092
  ottla serve --config server.properties --set log.retention.hours=24
  ottla serve --listen 127.0.0.1:0 --port-file /run/ottla.address

The log goes to stderr; OTTLA_LOG=debug shows more of it, OTTLA_LOG=warn less.";

/// Read where neither --config nor OTTLA_CONFIG names a file.
const DEFAULT_FILE: &str = "ottla.toml";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ServeCommand {
    /// The configuration file, TOML or (*.properties) Kafka's own; ./ottla.toml if that is there
    #[arg(short, long, value_name = "FILE", env = "OTTLA_CONFIG")]
    config: Option<PathBuf>,
    /// Where the data is kept (log.dirs); ./ottla-data if not set anywhere
    #[arg(short, long, value_name = "DIR")]
    data_dir: Option<String>,
    /// The address to listen on (listeners); may be repeated; port 0 takes a free one
    #[arg(short, long, value_name = "HOST:PORT")]
    listen: Vec<String>,
    /// Any key of the configuration; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    set: Vec<(String, String)>,
    /// Write the addresses that are listened on into this file, one a line, once the broker is ready
    #[arg(long, value_name = "FILE", env = "OTTLA_PORT_FILE")]
    port_file: Option<PathBuf>,
    /// Print no banner
    #[arg(short, long)]
    quiet: bool,
}

impl ServeCommand {
    fn load(&self) -> Result<BrokerConfig> {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(ConfigSources { file: self.read_file()?, variables, flags: self.flags() }.load()?)
    }

    fn read_file(&self) -> Result<Option<ConfigFile>> {
        let path = self.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(ConfigFile { path: path.to_owned(), text })),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.config.is_none() => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read the configuration file {}", path.display())),
        }
    }

    /// The flags of their own come last, so that they win over `--set`.
    fn flags(&self) -> Vec<ConfigFlag> {
        let flag =
            |flag: &str, key: &str, value: String| ConfigFlag { flag: flag.to_owned(), key: key.to_owned(), value };
        let mut flags: Vec<ConfigFlag> =
            self.set.iter().map(|(key, value)| flag("--set", key, value.clone())).collect();
        if let Some(directory) = &self.data_dir {
            flags.push(flag("--data-dir", "log.dirs", directory.clone()));
        }
        if !self.listen.is_empty() {
            flags.push(flag("--listen", "listeners", self.listen.join(",")));
        }
        flags
    }
}

pub(crate) async fn run(command: ServeCommand) -> Result<()> {
    let mut interrupt = Interrupt::new()?;
    let config = command.load()?;
    let filter = log_filter()?;
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .init();

    raise_descriptor_limit();
    let broker = Broker::builder().config(&config).start().await.map_err(explain)?;
    let addresses: Vec<String> = broker.addrs().iter().map(ToString::to_string).collect();
    if !command.quiet {
        let advertised = advertised(broker.config(), broker.addrs());
        print(&banner(&addresses, advertised.as_deref(), &config.data_dir, durability(&config)))?;
    }
    if let Some(path) = &command.port_file {
        announce(path, &addresses)?;
    }

    let failed = tokio::select! {
        signal = interrupt.next() => {
            tracing::info!("{signal}: stopping");
            false
        }
        () = broker.failed() => true,
    };
    if let Some(path) = &command.port_file {
        // What is left of it after a kill is overwritten by the next start.
        let _ = std::fs::remove_file(path);
    }
    tokio::select! {
        stopped = broker.stop() => stopped.context("the broker did not stop cleanly")?,
        signal = interrupt.next() => bail!("{signal} again: stopped without closing the logs; the next start recovers them"),
    }
    if failed {
        bail!("a task of the broker panicked (its log says where): stopped, since what it left behind is unknown");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Takes as many descriptors as the system lets this process have: partitions and connections need them, and the usual soft
/// limit is meant for programs that use `select`.
fn raise_descriptor_limit() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files cannot be raised to the hard limit");
    }
}

/// What happened, and what to do about it where that is known.
fn explain(error: StartError) -> Error {
    let advice = match &error {
        StartError::Bind { source, .. } => match source.kind() {
            io::ErrorKind::AddrInUse => "another process listens there: stop it, or choose another --listen HOST:PORT",
            io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose another --listen HOST:PORT",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address: choose another --listen HOST:PORT",
            _ => "choose another --listen HOST:PORT",
        },
        StartError::Storage(StorageError::DirectoryInUse { lock, .. }) => {
            let holder = holder(lock).map_or_else(|| "that broker".to_owned(), |pid| format!("process {pid}"));
            return anyhow!("cannot start the broker: {error}; stop {holder}, or choose another --data-dir DIR");
        }
        StartError::Storage(StorageError::Io { source, .. }) => match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound => {
                "choose a --data-dir DIR that this user may write to"
            }
            _ => return Error::from(error).context("cannot start the broker"),
        },
        _ => return Error::from(error).context("cannot start the broker"),
    };
    anyhow!("cannot start the broker: {error}; {advice}")
}

/// The process that wrote its id into the lock file when it took it.
fn holder(lock: &Path) -> Option<u32> {
    std::fs::read_to_string(lock).ok()?.trim().parse().ok()
}

fn log_filter() -> Result<EnvFilter> {
    let Ok(directives) = std::env::var("OTTLA_LOG") else { return Ok(EnvFilter::new("info")) };
    EnvFilter::try_new(&directives).with_context(|| {
        format!("OTTLA_LOG={directives:?} is not a log filter: use error, warn, info, debug, trace or MODULE=LEVEL,...")
    })
}

/// Whole or not at all: whoever waits for the file never reads half an address.
fn announce(path: &Path, addresses: &[String]) -> Result<()> {
    let write = || {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let temporary = directory.join(format!(".{name}.{}", std::process::id()));
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all((addresses.join("\n") + "\n").as_bytes())?;
        std::fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write the port file {}", path.display()))
}

fn durability(config: &BrokerConfig) -> &'static str {
    match config.topic_defaults.flush_mode {
        FlushMode::Sync => "acks=all is answered once the records are on the disk (fdatasync)",
        FlushMode::Async => "acks=all is answered from memory: a power cut can lose records (log.flush.mode=async)",
    }
}

/// The addresses that clients are told, where these are others than those that are listened on.
fn advertised(config: &BrokerConfig, bound: &[SocketAddr]) -> Option<String> {
    let told = config.listeners.iter().zip(bound).map(|(listener, bound)| {
        let port = if listener.advertised_port == 0 { bound.port() } else { listener.advertised_port };
        format!("{}:{port}", listener.advertised_host)
    });
    let differs =
        |listener: &Listener| listener.advertised_host != listener.host || listener.advertised_port != listener.port;
    config.listeners.iter().any(differs).then(|| told.collect::<Vec<_>>().join(", "))
}

fn banner(addresses: &[String], advertised: Option<&str>, directory: &Path, durability: &str) -> String {
    let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let first = addresses.first().map_or("", String::as_str);
    let at = if first == "127.0.0.1:9092" { String::new() } else { format!(" -b {first}") };
    format!(
        "ottla {version}\n\n  listening on  {addresses}\n{advertised}  data          {directory}\n  durability    {durability}\n\n  \
         try           ottla topic create hello{at}\n                echo 'hello, world' | ottla produce hello{at}\n                \
         ottla consume hello --until-end{at}\n\n",
        version = env!("CARGO_PKG_VERSION"),
        addresses = addresses.join(", "),
        advertised = advertised
            .map(|told| format!("  advertised    {told} (what clients are told to connect to: advertised.listeners)\n"))
            .unwrap_or_default(),
        directory = directory.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_tells_what_to_try() {
        let text = banner(&["127.0.0.1:9092".to_owned(), "[::1]:9093".to_owned()], None, Path::new("/data"), "safe");
        assert!(text.contains("listening on  127.0.0.1:9092, [::1]:9093\n  data          /data\n"), "{text}");
        assert!(text.contains("ottla topic create hello\n"), "{text}");
        let text = banner(&["0.0.0.0:9092".to_owned()], Some("broker1:9092"), Path::new("/data"), "safe");
        assert!(text.contains("  advertised    broker1:9092 ("), "{text}");
        let text = banner(&["127.0.0.1:41000".to_owned()], None, Path::new("/data"), "safe");
        assert!(text.contains("ottla topic create hello -b 127.0.0.1:41000\n"), "{text}");
    }

    #[test]
    fn the_port_file_holds_every_address() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("addresses");
        announce(&path, &["127.0.0.1:1".to_owned(), "[::1]:2".to_owned()]).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "127.0.0.1:1\n[::1]:2\n");
        assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 1);
        let error = announce(&directory.path().join("no/such"), &[]).expect_err("no directory");
        assert!(error.to_string().contains("no/such"), "{error}");
    }

    #[test]
    fn flags_of_their_own_win_over_set() {
        let command = ServeCommand {
            config: None,
            data_dir: Some("/a".to_owned()),
            listen: vec!["127.0.0.1:0".to_owned(), "[::1]:0".to_owned()],
            set: vec![("log.dirs".to_owned(), "/b".to_owned())],
            port_file: None,
            quiet: false,
        };
        let config = ConfigSources { flags: command.flags(), ..ConfigSources::default() }.load().expect("good");
        assert_eq!(config.data_dir, PathBuf::from("/a"));
        assert_eq!(config.listeners.len(), 2);
    }
}
