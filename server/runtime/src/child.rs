//! What the first process and the agent of every sandbox have in common.

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use daytona_toolbox::AgentConfig;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::init::{Agent, Variables};
use crate::protocol::{Command, Failure, Inside, Report, Step, report};
use crate::sys::{self, Fork};

/// Open files a process in a sandbox may have, where the server itself may have as many.
const OPEN_FILES: u64 = 1 << 20;

/// The descriptors a sandbox's first process gets from the launcher.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// The agent's listening socket.
    pub(crate) listener: OwnedFd,
    /// Where the outcome of the start goes.
    pub(crate) report: OwnedFd,
    /// Standard error of the agent.
    pub(crate) log: OwnedFd,
    /// The launcher's orders; see [`crate::init::run`].
    pub(crate) control: OwnedFd,
}

impl Inherited {
    /// Closes everything else the launcher had open.
    pub(crate) fn keep_only(&self) -> io::Result<()> {
        sys::close_all_except(&[
            self.listener.as_raw_fd(),
            self.report.as_raw_fd(),
            self.log.as_raw_fd(),
            self.control.as_raw_fd(),
        ])
    }
}

/// Standard input and output from and to nowhere, standard error to the log.
pub(crate) fn standard_streams(log: &OwnedFd) -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(log)?;
    Ok(())
}

/// No core dumps; open files up to the hard limit, which is what servers inside expect; when memory
/// runs out, ended before the server is.
pub(crate) fn limit_resources() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    prefer_to_end();
    let zero = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, zero)?;
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(OPEN_FILES);
    let files = Some(files.min(OPEN_FILES));
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files })?;
    Ok(())
}

#[cfg(target_os = "linux")]
fn prefer_to_end() {
    const SCORE: i32 = 200;
    let file = "/proc/self/oom_score_adj";
    let now = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
    if now.is_some_and(|now: i32| now < SCORE) {
        let _ = std::fs::write(file, SCORE.to_string());
    }
}

/// Both ends of the line between an agent and its parent; a command has none.
pub(crate) fn line(inside: &Inside) -> Result<(Option<UnixStream>, Option<UnixStream>), Failure> {
    match inside {
        Inside::Agent(_) => UnixStream::pair().map(|(ours, theirs)| (Some(ours), Some(theirs))).step("make a socket"),
        Inside::Nothing | Inside::Command(_) => Ok((None, None)),
    }
}

/// Runs the agent in this process until it ends, or becomes the command; without either this was a trial.
pub(crate) fn run_inside(inside: &Inside, inherited: &Inherited, line: Option<UnixStream>) -> Result<u8, Failure> {
    let (agent, line) = match (inside, line) {
        (Inside::Command(command), _) => return run_command(command, inherited),
        (Inside::Agent(agent), Some(line)) => (agent, line),
        (Inside::Nothing | Inside::Agent(_), _) => {
            report(&inherited.report, &Report::Ready);
            return Ok(0);
        }
    };
    let listener = inherited.listener.try_clone().step("take the socket")?;
    report(&inherited.report, &Report::Ready);
    run_agent((**agent).clone(), listener, line)
}

fn run_agent(config: AgentConfig, listener: OwnedFd, line: UnixStream) -> Result<u8, Failure> {
    sys::block_child_signal(false).step("unblock signals")?;
    let _ = std::env::set_current_dir(&config.work_dir);
    sys::close_all_except(&[listener.as_raw_fd(), line.as_raw_fd()]).step("close descriptors")?;
    let code = daytona_toolbox::run_on_line(config, UnixListener::from(listener), line);
    Ok(u8::from(code != ExitCode::SUCCESS))
}

/// What it takes to start another agent in the place of one that was killed.
pub(crate) struct Again {
    inside: Inside,
    listener: OwnedFd,
}

/// Closes what a first process does not need once the agent runs; gives the launcher's orders.
pub(crate) fn watch_over(agent: &Agent, inside: Inside, inherited: Inherited) -> (OwnedFd, Again) {
    let Inherited { listener, report, log, control } = inherited;
    drop((report, log));
    let kept = [control.as_raw_fd(), listener.as_raw_fd(), agent.line().map_or(-1, AsRawFd::as_raw_fd)];
    let _ = sys::close_all_except(&kept);
    (control, Again { inside, listener })
}

impl Again {
    /// Forks the next agent, whose commands get `variables`; `enter` is what it does first.
    pub(crate) fn start(
        &self,
        variables: Option<&Variables>,
        enter: impl FnOnce() -> Result<(), Failure>,
    ) -> io::Result<Agent> {
        let Inside::Agent(config) = &self.inside else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let mut config = (**config).clone();
        if let Some(variables) = variables {
            config.env.clone_from(variables);
        }
        let listener = self.listener.try_clone()?;
        let (ours, theirs) = UnixStream::pair()?;
        match sys::fork()? {
            Fork::Parent(pid) => Ok(Agent::new(pid, Some(ours))),
            Fork::Child => {
                let code = enter().and_then(|()| run_agent(config, listener, theirs)).unwrap_or_else(|failure| {
                    eprintln!("the agent was not started again: {}", failure.into_error());
                    1
                });
                std::process::exit(code.into())
            }
        }
    }
}

/// Becomes a command whose output goes to the log. What a shell says of a command that cannot be run is the exit code.
fn run_command(command: &Command, inherited: &Inherited) -> Result<u8, Failure> {
    const NOT_FOUND: u8 = 127;
    const NOT_RUN: u8 = 126;
    sys::block_child_signal(false).step("unblock signals")?;
    std::fs::create_dir_all(&command.work_dir)
        .and_then(|()| std::env::set_current_dir(&command.work_dir))
        .step_with(|| format!("enter {}", command.work_dir.display()))?;
    rustix::stdio::dup2_stdout(&inherited.log).step("connect the output")?;
    report(&inherited.report, &Report::Ready);
    let Some((program, arguments)) = command.argv.split_first() else {
        return Ok(NOT_RUN);
    };
    sys::close_all_except(&[]).step("close descriptors")?;
    let failed = std::process::Command::new(program).args(arguments).env_clear().envs(&command.env).exec();
    eprintln!("{program}: {failed}");
    Ok(if failed.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN })
}

/// Names this process for `ps`.
pub(crate) fn set_name(name: &CStr) {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_name(name);
    #[cfg(not(target_os = "linux"))]
    let _ = name;
}
