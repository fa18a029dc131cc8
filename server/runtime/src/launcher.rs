//! The launcher: a single-threaded child of the server that forks the sandboxes.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus};

use crate::child::Inherited;
use crate::protocol::{self, Failure, Launch, Plan, Reply, Report, Request, Step, report};
use crate::sys::{self, Fork};
use crate::{init, process};

/// The server's end of a running launcher. It and all sandboxes end when this is dropped.
#[derive(Debug)]
pub struct Launcher {
    pub(crate) child: Child,
    pub(crate) socket: UnixStream,
    pub(crate) program: Program,
}

/// What launchers run.
#[derive(Debug)]
pub(crate) struct Program {
    exe: PathBuf,
    /// A copy in memory, which stays when the file is replaced.
    sealed: Option<OwnedFd>,
}

impl Launcher {
    /// The launcher's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// Starts `exe launcher` with an empty environment.
///
/// Call it first thing: before threads are made and before anything secret is read. `exe` has to
/// call [`launcher_main`] when its only argument is `launcher`.
pub fn spawn_launcher(exe: &Path) -> io::Result<Launcher> {
    let program = Program { exe: exe.to_owned(), sealed: sealed_copy(exe).ok() };
    let (child, socket) = program.start()?;
    Ok(Launcher { child, socket, program })
}

impl Program {
    /// Starts a launcher, the first or one in place of another that has ended. It sees nothing of this process: its
    /// environment is empty, and no descriptor but its socket and standard error goes along.
    pub(crate) fn start(&self) -> io::Result<(Child, UnixStream)> {
        let (socket, theirs) = UnixStream::pair()?;
        let start = |program: &Path| {
            Command::new(program)
                .arg0("daytona-native")
                .arg("launcher")
                .env_clear()
                .current_dir("/")
                // Ctrl-C in a terminal is for the server, which then stops the sandboxes.
                .process_group(0)
                .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
                .stdout(Stdio::null())
                .spawn()
        };
        let child = match &self.sealed {
            Some(copy) => {
                let copy = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(copy));
                // A kernel may forbid running a memfd.
                start(Path::new(&copy)).or_else(|_| start(&self.exe))
            }
            None => start(&self.exe),
        };
        Ok((child?, socket))
    }
}

/// Copies the program into sealed memory.
///
/// Sandboxes are forked without exec, so `/proc/<pid>/exe` inside is what the launcher runs. A
/// sandbox that gets hold of it must not be able to change the file on the host.
#[cfg(target_os = "linux")]
fn sealed_copy(exe: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // MFD_EXEC is unknown before Linux 6.3.
    let copy =
        memfd_create("daytona-native", flags | MemfdFlags::EXEC).or_else(|_| memfd_create("daytona-native", flags))?;
    io::copy(&mut File::open(exe)?, &mut File::from(copy.try_clone()?))?;
    fcntl_add_seals(&copy, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    // Running it needs a descriptor that is not open for writing.
    Ok(File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy)))?.into())
}

#[cfg(not(target_os = "linux"))]
fn sealed_copy(_exe: &Path) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The launcher's role of the binary (`daytona-native launcher`); the server's socket is its
/// standard input.
///
/// Returns when the server is gone; the sandboxes end with it.
pub fn launcher_main() -> ExitCode {
    match Forks::new().and_then(|mut forks| forks.serve()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("launcher: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ignores, or no longer, what would end the launcher and with it all sandboxes: it is meant for the server, which ends
/// in order.
fn ignore_signals(ignore: bool) {
    const SIGNALS: [i32; 12] = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGIO,
        libc::SIGXCPU,
        libc::SIGXFSZ,
    ];
    for signal in SIGNALS {
        sys::ignore_signal(signal, ignore);
    }
    #[cfg(target_os = "linux")]
    for signal in [libc::SIGPWR, libc::SIGSTKFLT].into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
        sys::ignore_signal(signal, ignore);
    }
}

/// The launcher's state.
struct Forks {
    server: UnixStream,
    #[cfg(target_os = "linux")]
    child_events: OwnedFd,
    running: HashMap<Pid, Running>,
    /// The cgroups above those of the sandboxes.
    parents: Vec<PathBuf>,
}

/// One sandbox's first process.
struct Running {
    seq: u64,
    control: OwnedFd,
    /// Its own PID namespace: killing the first process ends all.
    isolated: bool,
    /// Its cgroups.
    groups: Vec<PathBuf>,
    /// Its namespaces, where they cannot be opened later.
    #[cfg(target_os = "linux")]
    namespaces: Option<crate::ns::Namespaces>,
}

impl Forks {
    fn new() -> io::Result<Self> {
        let server = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        sys::ignore_signal(libc::SIGPIPE, true);
        ignore_signals(true);
        sys::block_child_signal(true)?;
        // One control pipe for each sandbox.
        let files = rustix::process::getrlimit(Resource::Nofile).maximum;
        let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files });
        #[cfg(target_os = "linux")]
        {
            // What outlives a killed first process of the process runtime comes here.
            rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
            sys::leave_keyring();
            crate::child::set_name(c"launcher");
        }
        Ok(Self {
            server,
            #[cfg(target_os = "linux")]
            child_events: sys::child_events()?,
            running: HashMap::new(),
            parents: Vec::new(),
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            if self.wait()? {
                match protocol::receive::<Request>(&self.server)? {
                    None => {
                        self.end();
                        return Ok(());
                    }
                    Some((Ok(request), fds)) => self.handle(request, fds)?,
                    Some((Err(error), _)) => eprintln!("launcher: bad request: {error}"),
                }
            }
            self.reap()?;
        }
    }

    /// Waits for a request (true) or the end of a child.
    fn wait(&self) -> io::Result<bool> {
        let mut fds = vec![PollFd::new(&self.server, PollFlags::IN)];
        #[cfg(target_os = "linux")]
        {
            fds.push(PollFd::new(&self.child_events, PollFlags::IN));
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut buffer = [0; 512];
            let _ = rustix::io::read(&self.child_events, &mut buffer);
        }
        #[cfg(not(target_os = "linux"))]
        {
            let short = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            let _ = poll(&mut fds, Some(&short));
        }
        Ok(!fds[0].revents().is_empty())
    }

    fn handle(&mut self, request: Request, fds: Vec<OwnedFd>) -> io::Result<()> {
        match request {
            Request::Groups { parents } => {
                self.parents = parents;
                Ok(())
            }
            Request::Launch(launch) => {
                let seq = launch.seq;
                let Ok([listener, outcome, log]) = <[OwnedFd; 3]>::try_from(fds) else {
                    let reason = "the request came without its descriptors".to_owned();
                    return protocol::send(&self.server, &Reply::Exited { seq, reason, code: None });
                };
                match self.launch(*launch, listener, &outcome, log) {
                    Ok(pid) => {
                        let pid = pid.as_raw_nonzero().get();
                        protocol::send(&self.server, &Reply::Started { seq, pid })
                    }
                    Err(failure) => {
                        let reason = failure.step.clone();
                        report(&outcome, &Report::Failed(failure));
                        protocol::send(&self.server, &Reply::Exited { seq, reason, code: None })
                    }
                }
            }
            Request::Stop { seq, force } => {
                let found = self.running.iter().find(|(_, running)| running.seq == seq);
                if let Some((pid, running)) = found {
                    if force && running.isolated {
                        let _ = rustix::process::kill_process(*pid, Signal::KILL);
                    } else {
                        // It fails when the process is just ending.
                        let order = if force { init::END } else { init::END_GENTLY };
                        let _ = rustix::io::write(&running.control, &[order]);
                    }
                }
                Ok(())
            }
            Request::Rename { seq, hostname } => {
                if let (Ok([outcome]), Some(result)) = (<[OwnedFd; 1]>::try_from(fds), self.rename(seq, &hostname)) {
                    report(&outcome, &result.map_or_else(Report::Failed, |()| Report::Ready));
                }
                Ok(())
            }
        }
    }

    /// `None` where there is nothing to name, or nobody to say it here.
    #[cfg(target_os = "linux")]
    fn rename(&self, seq: u64, hostname: &str) -> Option<Result<(), Failure>> {
        let (pid, running) = self.running.iter().find(|(_, running)| running.seq == seq && running.isolated)?;
        let opened = match &running.namespaces {
            Some(_) => None,
            None => match crate::ns::Namespaces::of(*pid).step("open its namespaces") {
                Ok(opened) => Some(opened),
                Err(failure) => return Some(Err(failure)),
            },
        };
        let namespaces = running.namespaces.as_ref().or(opened.as_ref())?;
        // Whoever enters them cannot come back.
        match sys::fork().step("fork") {
            Err(failure) => Some(Err(failure)),
            Ok(Fork::Child) => {
                let renamed = namespaces.rename(hostname);
                std::process::exit(renamed.map_or_else(|failure| failure.errno.clamp(1, 255), |()| 0));
            }
            Ok(Fork::Parent(child)) => {
                let ended = rustix::process::waitpid(Some(child), WaitOptions::empty());
                let errno =
                    ended.ok().flatten().map_or(libc::ECHILD, |(_, status)| status.exit_status().unwrap_or(libc::EIO));
                Some(if errno == 0 { Ok(()) } else { Err(Failure { step: "change the host name".to_owned(), errno }) })
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn rename(&self, _: u64, _: &str) -> Option<Result<(), Failure>> {
        None
    }

    fn launch(&mut self, launch: Launch, listener: OwnedFd, outcome: &OwnedFd, log: OwnedFd) -> Result<Pid, Failure> {
        let Launch { seq, plan, agent, command } = launch;
        let inside = Launch::inside(agent, command);
        let (theirs, control) = io::pipe().step("make a pipe")?;
        let inherited = Inherited {
            listener,
            report: outcome.try_clone().step("duplicate a descriptor")?,
            log,
            control: theirs.into(),
        };
        let (isolated, groups) = match &plan {
            #[cfg(target_os = "linux")]
            Plan::Ns(plan) => (true, plan.groups.clone()),
            Plan::Process(_) => (false, Vec::new()),
        };
        #[cfg(target_os = "linux")]
        let unprivileged = matches!(&plan, Plan::Ns(plan) if plan.userns.is_some());
        let fork = match &plan {
            #[cfg(target_os = "linux")]
            Plan::Ns(plan) => crate::ns::fork(plan)?,
            Plan::Process(_) => sys::fork().step("fork")?,
        };
        match fork {
            Fork::Parent(pid) => {
                let running = Running {
                    seq,
                    control: control.into(),
                    isolated,
                    groups,
                    #[cfg(target_os = "linux")]
                    namespaces: unprivileged.then(|| crate::ns::Namespaces::of(pid).ok()).flatten(),
                };
                self.running.insert(pid, running);
                Ok(pid)
            }
            Fork::Child => {
                ignore_signals(false);
                let code = match inherited.keep_only() {
                    Err(_) => 1,
                    Ok(()) => match plan {
                        #[cfg(target_os = "linux")]
                        Plan::Ns(plan) => crate::ns::run(&plan, inside, inherited),
                        Plan::Process(plan) => process::run(&plan, inside, inherited),
                    },
                };
                std::process::exit(code.into())
            }
        }
    }

    /// The server is gone: ends what it left running, and removes what it can no longer remove.
    fn end(&mut self) {
        let mut groups = Vec::new();
        for (pid, running) in self.running.drain() {
            groups.extend(running.groups);
            if running.isolated {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            // The others see the end of their control pipe.
        }
        for group in &groups {
            crate::cgroup::thaw(group);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while rustix::process::wait(WaitOptions::NOHANG).is_ok() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        for group in &groups {
            crate::cgroup::remove_group(group);
        }
        // A server that ended in order has removed them, and one without sandboxes has them too.
        for parent in self.parents.iter().filter(|parent| parent.exists()) {
            crate::cgroup::remove_group(parent);
        }
    }

    fn reap(&mut self) -> io::Result<()> {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let Some(running) = self.running.remove(&pid) else {
                continue;
            };
            if !running.isolated {
                // What it did not live to end came to this process.
                process::end_tree(|pid| self.running.contains_key(&pid));
            }
            protocol::send(
                &self.server,
                &Reply::Exited {
                    seq: running.seq,
                    reason: describe(status),
                    code: status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)),
                },
            )?;
        }
        Ok(())
    }
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => "the agent ended".to_owned(),
        (Some(code), _) if code > 128 => format!("the agent was killed by signal {}", code - 128),
        (Some(code), _) => format!("the agent ended with status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
