//! The agent as the first process of a container.
//!
//! It connects to the server's socket [`LEASE`], gets an [`Order`] with the agent's listening socket, answers with a
//! [`Report`], waits for one byte more, and starts the agent. When that connection ends, everything in the container
//! does: nothing outlives the server. An agent that is killed, which the container's user may do, is started again.

mod agent;
mod ending;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

use crate::{AgentConfig, Patience};
pub(crate) use agent::in_container;
use agent::{Agent, Ended};
use ending::Ending;

/// The folder in the container that the server mounts.
pub const FOLDER: &str = "/.daytona";
/// The agent's program in the container.
pub const PROGRAM: &str = "/.daytona/agent";
/// The server's socket in the container.
pub const LEASE: &str = "/.daytona/run/lease";

/// Longer orders are a fault.
const LIMIT: usize = 16 << 20;

/// What the server tells the first process, as one line of JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Order {
    /// Id of the sandbox.
    pub sandbox_id: String,
    /// Variables of commands, over those of the image.
    pub env: BTreeMap<String, String>,
    /// Variables of the image that commands do not get.
    pub unset_env: BTreeSet<String>,
    /// What runs in the session `entrypoint`.
    pub entrypoint: Option<Vec<String>>,
    /// Version that the agent answers.
    pub version: String,
    /// Paths of the volumes.
    pub volumes: Vec<String>,
}

/// What the first process answers, as one line of JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// The container's user.
    pub user: String,
    /// Its home.
    pub home: PathBuf,
    /// Device and inode of what is mounted at each of the volumes' paths.
    pub volumes: Vec<(u64, u64)>,
}

/// The whole program.
pub fn main() -> ExitCode {
    let serves = std::env::args_os().nth(1).is_some_and(|role| role == agent::SERVE);
    let result = if serves { agent::serve() } else { first() };
    result.unwrap_or_else(|error| {
        eprintln!("daytona-agent: {error}");
        ExitCode::FAILURE
    })
}

/// The memory of this process is nobody's business.
fn hide() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// PID 1.
fn first() -> io::Result<ExitCode> {
    hide()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut children = signal(SignalKind::child())?;
        let mut lease = UnixStream::connect(LEASE).await?;
        let (order, listener) = receive(&lease).await?;
        let volumes = order.volumes.iter().map(|path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())));
        let volumes = volumes.collect::<io::Result<_>>()?;
        let config = config(order);
        let report = Report { user: config.user.clone(), home: config.home.clone(), volumes };
        let mut line = serde_json::to_vec(&report)?;
        line.push(b'\n');
        lease.write_all(&line).await?;
        lease.read_u8().await?;
        let mut agent = Agent::start(config, listener)?;
        let mut ending = None;
        loop {
            let pid = agent.pid();
            tokio::select! {
                _ = children.recv() => match agent.reap() {
                    Some(Ended::Killed) if ending.is_none() => agent.end_what_it_ran(),
                    Some(Ended::Exited(code)) if ending.is_none() => return Ok(ExitCode::from(code)),
                    _ => {}
                },
                () = agent.keep(), if ending.is_none() => {}
                _ = terminate.recv(), if ending.is_none() => ending = Some(Ending::begin(&agent)),
                () = Ending::over(&mut ending, pid) => return Ok(ExitCode::SUCCESS),
                // The server never sends more: it is gone.
                _ = lease.read_u8() => return Ok(ExitCode::SUCCESS),
            }
        }
    })
}

async fn receive(lease: &UnixStream) -> io::Result<(Order, OwnedFd)> {
    let (mut text, mut listener) = (Vec::new(), None);
    while !text.ends_with(b"\n") {
        let read = lease.async_io(Interest::READABLE, || receive_some(lease, &mut text, &mut listener)).await?;
        if read == 0 || text.len() > LIMIT {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let listener = listener.ok_or(io::ErrorKind::InvalidData)?;
    Ok((serde_json::from_slice(&text)?, listener))
}

fn receive_some(lease: &UnixStream, text: &mut Vec<u8>, listener: &mut Option<OwnedFd>) -> io::Result<usize> {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::empty();
    let message = rustix::net::recvmsg(lease, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            *listener = received.last().or(listener.take());
        }
    }
    text.extend_from_slice(&bytes[..message.bytes]);
    Ok(message.bytes)
}

/// What the image says of its user and folders, and what the server wants.
fn config(order: Order) -> AgentConfig {
    let mut env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let uid = rustix::process::geteuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let account = Account::find(&passwd, uid);
    let (user, listed, shell) = match account {
        Some(account) => (account.name, Some(account.home), account.shell),
        None => (uid.to_string(), None, String::new()),
    };
    let home = listed.or_else(|| env.get("HOME").map(PathBuf::from)).filter(|home| home.is_dir());
    let home = home.unwrap_or_else(|| PathBuf::from("/"));
    let work_dir = std::env::current_dir().ok().filter(|dir| dir != Path::new("/")).unwrap_or_else(|| home.clone());
    let shell = if Path::new(&shell).is_file() { shell } else { "/bin/sh".to_owned() };
    let own = [
        ("HOME", home.to_string_lossy().into_owned()),
        ("USER", user.clone()),
        ("LOGNAME", user.clone()),
        ("SHELL", shell),
        ("DAYTONA_SANDBOX_ID", order.sandbox_id.clone()),
    ];
    env.extend(own.map(|(name, value)| (name.to_owned(), value)));
    env.entry("LANG".to_owned()).or_insert_with(|| "C.UTF-8".to_owned());
    env.retain(|name, _| !order.unset_env.contains(name));
    env.extend(order.env);
    AgentConfig {
        sandbox_id: order.sandbox_id,
        user,
        home,
        work_dir,
        env,
        confine: None,
        entrypoint: order.entrypoint,
        version: order.version,
        patience: Patience::default(),
    }
}

/// A line of `/etc/passwd`.
struct Account {
    name: String,
    home: PathBuf,
    shell: String,
}

impl Account {
    fn find(passwd: &str, uid: u32) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, id, _, _, home, shell] = fields[..] else {
                return None;
            };
            (id.parse() == Ok(uid)).then(|| Self { name: name.to_owned(), home: home.into(), shell: shell.to_owned() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_their_id() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nnode:x:1000:1000:,,,:/home/node:/bin/sh\n";
        let node = Account::find(passwd, 1000).expect("listed");
        assert_eq!((node.name.as_str(), node.home.as_path()), ("node", Path::new("/home/node")));
        assert!(Account::find(passwd, 7).is_none());
    }
}
