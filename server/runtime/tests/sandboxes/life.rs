//! How sandboxes end, on purpose and otherwise.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use daytona_runtime::{Network, RuntimeError, RuntimeKind};

use crate::support::{request, spec};
use crate::world::{Outcome, World, children, daemon, eventually, mounts, processes};

fn signal(pid: u32, name: &str) -> Outcome {
    let status = Command::new("/bin/kill").args([format!("-{name}"), pid.to_string()]).status()?;
    if status.success() { Ok(()) } else { Err(format!("kill -{name} {pid}").into()) }
}

async fn no_process(marker: &str) -> Outcome {
    eventually(|| processes(marker).join("\n"), || processes(marker).is_empty()).await
}

pub(crate) async fn stop_ends_daemons(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    for force in [false, true] {
        let sandbox = world.start("a").await?;
        let (marker, command) = daemon(&format!("daemon-{kind}-{force}"));
        sandbox.run(&command).await?;
        eventually(|| "no daemon".to_owned(), || !processes(&marker).is_empty()).await?;
        world.runtime.stop("a", force).await?;
        assert_eq!(processes(&marker), [""; 0], "at once, not some time later");
    }
    assert!(mounts(world.data.path()).is_empty());
    world.end().await;
    Ok(())
}

pub(crate) async fn stop_is_gentle(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    let loops = "trap 'echo bye > last; exit 0' TERM; echo > ready; while :; do sleep 0.01; done";
    sandbox.run(&format!("(setsid sh -c \"{loops}\" </dev/null >/dev/null 2>&1 &)")).await?;
    let home = world.home("a");
    eventually(|| "not ready".to_owned(), || home.join("ready").exists()).await?;
    let begun = Instant::now();
    world.runtime.stop("a", false).await?;
    assert_eq!(fs::read_to_string(home.join("last"))?, "bye\n");
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    world.end().await;
    Ok(())
}

pub(crate) async fn stop_force_is_not(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    let loops = "trap 'sleep 1; echo bye > last; exit 0' TERM; echo > ready; while :; do sleep 0.01; done";
    sandbox.run(&format!("(setsid sh -c \"{loops}\" </dev/null >/dev/null 2>&1 &)")).await?;
    let home = world.home("a");
    eventually(|| "not ready".to_owned(), || home.join("ready").exists()).await?;
    world.runtime.stop("a", true).await?;
    assert!(!home.join("last").exists());
    // Stopping what does not run, or is not there, is fine.
    world.runtime.stop("a", true).await?;
    world.runtime.stop("nobody", false).await?;
    world.end().await;
    Ok(())
}

pub(crate) async fn stop_kills_the_stubborn(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    let marker = format!("stubborn-{kind}-{}", std::process::id());
    let loops = format!("trap '' TERM HUP INT; echo > ready; while :; do sleep 0.1; done # {marker}");
    sandbox.run(&format!("(setsid sh -c \"{loops}\" </dev/null >/dev/null 2>&1 &)")).await?;
    let home = world.home("a");
    eventually(|| "not ready".to_owned(), || home.join("ready").exists()).await?;
    let begun = Instant::now();
    world.runtime.stop("a", false).await?;
    let took = begun.elapsed();
    assert!((1500..4000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(processes(&marker), [""; 0]);
    world.end().await;
    Ok(())
}

pub(crate) async fn a_killed_agent_starts_again(kind: RuntimeKind) -> Outcome {
    killed_agents(kind, "daytona").await
}

pub(crate) async fn an_agent_killed_by_root_starts_again(kind: RuntimeKind) -> Outcome {
    killed_agents(kind, "root").await
}

async fn killed_agents(kind: RuntimeKind, user: &str) -> Outcome {
    let mut world = World::new(kind).await?;
    if user == "root" && !world.runtime.probe().root {
        println!("skipped: there is no root here");
        world.end().await;
        return Ok(());
    }
    let mut spec = spec("a");
    user.clone_into(&mut spec.user);
    let sandbox = world.start_with(spec).await?;
    sandbox.run("echo kept > file").await?;
    let change = r#"{"set": {"CHANGED": "kept"}, "unset": ["GREETING"]}"#;
    request(&sandbox.started.socket, "POST", "/env", change).await?;
    // Without processes of its own these would end this machine's.
    let all: &[&str] = if world.isolated() {
        &["kill -9 -1", "pkill -9 .", "pkill -9 -u $(id -u)", "kill -9 1; kill -9 $PPID; sleep 5"]
    } else {
        &["kill -9 $PPID; sleep 5"]
    };
    for kill in all {
        let (marker, command) = daemon(&format!("agent-{kind}"));
        sandbox.run(&command).await?;
        eventually(|| "no daemon".to_owned(), || !processes(&marker).is_empty()).await?;
        // The agent is the parent of what it runs, or its grandparent.
        let killed = sandbox.try_run(kill).await;
        assert!(killed.is_err(), "{kill}: {killed:?}");
        let seen = sandbox.run("cat file; echo $CHANGED${GREETING-, unset}").await?;
        assert_eq!(seen, "kept\nkept, unset", "{kill}");
        no_process(&marker).await?;
    }
    assert_eq!(world.runtime.running(), ["a"]);
    assert!(world.exits.try_recv().is_err(), "it has not ended");
    world.runtime.stop("a", false).await?;
    world.end().await;
    Ok(())
}

pub(crate) async fn gentler_signals_are_for_the_programs(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    if world.isolated() {
        for name in ["TERM", "INT", "HUP", "USR1", "ALRM"] {
            // What runs this ignores it; the agent is not ended, and so the answer comes.
            let command = format!("trap '' {name}; sleep 100 & kill -{name} -1; echo sent");
            assert_eq!(sandbox.run(&command).await?, "sent", "{name}");
        }
        // A stopped agent goes on; the kernel spares the sender.
        assert_eq!(sandbox.run("kill -STOP -1; echo sent").await?, "sent");
        assert_eq!(sandbox.run("echo goes on").await?, "goes on");
    } else {
        assert_eq!(sandbox.run("kill -TERM $PPID; echo sent").await?, "sent");
        assert_eq!(sandbox.run("kill -STOP $PPID; echo sent").await?, "sent");
    }
    // Programs begin with the defaults.
    assert_eq!(sandbox.try_run("kill -TERM $$").await?.0, 143);
    world.runtime.stop("a", false).await?;
    world.end().await;
    Ok(())
}

/// A websocket to which one text message was sent.
async fn websocket(socket: &Path, path: &str, text: &str) -> std::io::Result<tokio::net::UnixStream> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut stream = tokio::net::UnixStream::connect(socket).await?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: agent\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    if !answer.starts_with(b"HTTP/1.1 101") {
        return Err(std::io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
    }
    let length = u16::try_from(text.len()).map_err(std::io::Error::other)?.to_be_bytes();
    // Text, masked with zeros.
    let frame = [&[0x81, 0xfe], &length[..], &[0; 4], text.as_bytes()].concat();
    stream.write_all(&frame).await?;
    Ok(stream)
}

/// What writes while it shuts down: to its pipe, then to a file, later to another.
const WRITER: &str = "trap 'echo one; echo one > one; sleep 0.5; echo two; echo two > two; exit 0' TERM; echo > ready; \
                      while :; do sleep 0.01; done";

pub(crate) async fn programs_have_their_grace_with_open_pipes(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    let socket = sandbox.started.socket.clone();
    let home = world.home("a");
    let body = serde_json::json!({ "command": format!("mkdir exec; cd exec; {WRITER}") }).to_string();
    let exec = tokio::spawn({
        let socket = socket.clone();
        async move { request(&socket, "POST", "/process/execute", &body).await }
    });
    request(&socket, "POST", "/process/session", r#"{"sessionId": "s"}"#).await?;
    let command = format!("mkdir session; cd session; sh -c \"{WRITER}\"");
    let body = serde_json::json!({ "command": command, "runAsync": true }).to_string();
    request(&socket, "POST", "/process/session/s/exec", &body).await?;
    request(&socket, "POST", "/process/pty", r#"{"id": "t", "cols": 80, "rows": 24}"#).await?;
    let typed = format!("mkdir pty; cd pty; sh -c \"{WRITER}\"\n");
    let terminal = websocket(&socket, "/process/pty/t/connect", &typed).await?;
    let start = serde_json::json!({ "type": "start", "command": format!("mkdir stream; cd stream; {WRITER}") });
    let stream = websocket(&socket, "/process/execute/stream?id=0123456789abcdef", &start.to_string()).await?;
    let mut places = vec!["exec", "session", "pty", "stream"];
    let python = sandbox.try_run("command -v python3").await?.0 == 0;
    let mut interpreter = None;
    if python {
        let code = format!(
            "import os, subprocess\nos.mkdir('python')\nsubprocess.run(['sh', '-c', {}], cwd='python')",
            serde_json::to_string(WRITER)?
        );
        let run = serde_json::json!({ "code": code }).to_string();
        interpreter = Some(websocket(&socket, "/process/interpreter/execute", &run).await?);
        places.push("python");
    }
    for place in &places {
        eventually(|| format!("{place} is not ready"), || home.join(place).join("ready").exists()).await?;
    }
    let begun = Instant::now();
    world.runtime.stop("a", false).await?;
    for place in places {
        for file in ["one", "two"] {
            let text = fs::read_to_string(home.join(place).join(file));
            assert_eq!(text.unwrap_or_default(), format!("{file}\n"), "{place}/{file}");
        }
    }
    assert!(begun.elapsed() < Duration::from_millis(1700), "{:?}: they ended by themselves", begun.elapsed());
    drop((terminal, stream, interpreter));
    drop(exec.await?);
    world.end().await;
    Ok(())
}

pub(crate) async fn a_killed_first_process_is_told(kind: RuntimeKind) -> Outcome {
    let mut world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    let other = world.start("b").await?;
    let (marker, command) = daemon(&format!("first-{kind}"));
    sandbox.run(&command).await?;
    let first = children(world.launcher);
    assert_eq!(first.len(), 2);
    signal(first[0].min(first[1]), "KILL")?;
    let exit = world.exit().await?;
    assert_eq!((exit.id.as_str(), exit.reason.as_str()), ("a", "killed by signal 9"));
    no_process(&marker).await?;
    assert_eq!(other.run("echo fine").await?, "fine");
    world.start("a").await?.run("true").await?;
    world.end().await;
    Ok(())
}

pub(crate) async fn a_killed_launcher_takes_all_along(kind: RuntimeKind) -> Outcome {
    let mut world = World::new(kind).await?;
    let (marker, command) = daemon(&format!("launcher-{kind}"));
    for id in ["a", "b"] {
        world.start(id).await?.run(&command).await?;
    }
    signal(world.launcher, "KILL")?;
    let mut gone = [world.exit().await?.id, world.exit().await?.id];
    gone.sort();
    assert_eq!(gone, ["a", "b"]);
    no_process(&marker).await?;
    eventually(|| "mounts".to_owned(), || mounts(world.data.path()).is_empty()).await?;
    // Another one follows it.
    for id in ["a", "c"] {
        world.start(id).await?.run("true").await?;
    }
    world.runtime.stop("a", false).await?;
    world.runtime.destroy("a").await?;
    world.end().await;
    Ok(())
}

/// A server that starts a sandbox with a daemon, or none where there is no command, and waits to be killed.
pub(crate) fn server_main(data: &str) -> ExitCode {
    let mut words = data.splitn(3, ' ');
    let (Some(kind), Some(path), Some(command)) = (words.next(), words.next(), words.next()) else {
        return ExitCode::FAILURE;
    };
    let kind = if kind == "ns" { RuntimeKind::Ns } else { RuntimeKind::Process };
    let data = tempfile::Builder::new().prefix("server-").tempdir_in(path);
    let served = crate::tokio().block_on(async {
        let world = World::at(kind, data?).await?;
        if !command.is_empty() {
            let sandbox = world.start("a").await?;
            sandbox.run(command).await?;
            sandbox.run("echo kept > file").await?;
        }
        println!("{}", world.data.path().display());
        std::future::pending::<()>().await;
        Ok::<_, Box<dyn std::error::Error>>(())
    });
    eprintln!("{served:?}");
    ExitCode::FAILURE
}

/// Kills a server with a folder for its data, once it has run a command in a sandbox; its data directory.
fn killed_server(kind: RuntimeKind, folder: &Path, command: &str) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let arguments = format!("{kind} {} {command}", folder.display());
    let mut server = Command::new(std::env::current_exe()?)
        .args(["server", &arguments])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut path = String::new();
    let output = server.stdout.take().ok_or("no output")?;
    BufReader::new(output).read_line(&mut path)?;
    server.kill()?;
    server.wait()?;
    Ok(path.trim().into())
}

/// Waits for the launcher of a killed server, which removes the groups before it ends.
async fn no_groups(data: &Path) -> Outcome {
    let left = || groups(data).into_iter().filter(|group| group.exists()).collect::<Vec<_>>();
    eventually(|| format!("{:?}", left()), || left().is_empty()).await
}

pub(crate) async fn a_killed_server_without_sandboxes_leaves_no_groups(kind: RuntimeKind) -> Outcome {
    let folder = tempfile::tempdir()?;
    no_groups(&killed_server(kind, folder.path(), "")?).await
}

pub(crate) async fn a_killed_server_takes_all_along(kind: RuntimeKind) -> Outcome {
    let folder = tempfile::tempdir()?;
    let (marker, command) = daemon(&format!("server-{kind}"));
    let data = killed_server(kind, folder.path(), &command)?;
    no_process(&marker).await?;
    eventually(|| "mounts".to_owned(), || mounts(folder.path()).is_empty()).await?;
    no_groups(&data).await?;
    // The next server finds what was stored.
    let taken = tempfile::TempDir::with_prefix_in("x", folder.path())?;
    fs::remove_dir(taken.path())?;
    fs::rename(data, taken.path())?;
    let world = World::at(kind, taken).await?;
    assert_eq!(world.start("a").await?.run("cat file").await?, "kept");
    world.end().await;
    Ok(())
}

/// Where the groups of a server are.
fn groups(data: &Path) -> Vec<PathBuf> {
    let text = fs::read(data.join("cgroups.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

pub(crate) async fn a_copy_touches_nothing_of_the_original(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    let (marker, command) = daemon(&format!("original-{kind}"));
    sandbox.run(&command).await?;
    eventually(|| "no daemon".to_owned(), || !processes(&marker).is_empty()).await?;
    let freezes = world.runtime.probe().limits.freeze.holds();
    if freezes {
        world.runtime.freeze("a", true).await?;
    }
    let copy = tempfile::tempdir()?;
    fs::remove_dir(copy.path())?;
    // All but what a mounted overlay keeps from this user.
    Command::new("cp").arg("-a").arg(world.data.path()).arg(copy.path()).stderr(Stdio::null()).status()?;
    assert!(copy.path().join("cgroups.json").exists());
    let other = World::at(kind, copy).await?;
    assert!(!processes(&marker).is_empty(), "it still runs");
    for group in groups(world.data.path()) {
        assert!(group.join("a").exists(), "{}", group.display());
    }
    if freezes {
        let early = tokio::time::timeout(Duration::from_millis(100), sandbox.try_run("true")).await;
        assert!(early.is_err(), "it was thawed");
        world.runtime.freeze("a", false).await?;
    }
    sandbox.run("true").await?;
    other.start("a").await?.run("true").await?;
    other.end().await;
    sandbox.run("true").await?;
    world.end().await;
    Ok(())
}

pub(crate) async fn groups_of_killed_servers_are_removed(kind: RuntimeKind) -> Outcome {
    use std::os::unix::fs::MetadataExt as _;

    let world = World::new(kind).await?;
    let Some(group) = groups(world.data.path()).into_iter().next() else {
        println!("skipped: this user cannot make cgroups");
        world.end().await;
        return Ok(());
    };
    world.runtime.shutdown().await;
    // A process that has ended: nobody has its id and its time.
    let folder = world.data.path().metadata()?;
    let named = |inode: u64| format!("daytona-native-{:x}-{inode:x}-{}-1", folder.dev(), world.launcher);
    let [ours, foreign] = [folder.ino(), folder.ino() + 1].map(|inode| group.with_file_name(named(inode)));
    let mut sleeping = Vec::new();
    for parent in [&ours, &foreign] {
        fs::create_dir_all(parent.join("a"))?;
        let process = Command::new("sleep").arg("1000").spawn()?;
        fs::write(parent.join("a/cgroup.procs"), process.id().to_string())?;
        sleeping.push(process);
    }
    fs::write(world.data.path().join("cgroups.json"), serde_json::to_vec(&[&ours, &foreign, &ours.join("a")])?)?;
    // Only cgroup v2 can end what is inside; elsewhere it is empty as a rule.
    let ends = ours.join("a/cgroup.kill").exists();
    if !ends {
        sleeping[0].kill()?;
        sleeping[0].wait()?;
    }
    let told = daytona_runtime::left_groups();
    assert!(told.contains(&ours) && told.contains(&foreign), "{told:?}");
    let World { data, .. } = world;
    let world = World::at(kind, data).await?;
    let own = groups(world.data.path());
    assert!(!daytona_runtime::left_groups().iter().any(|left| own.contains(left)), "its server runs");
    if ends {
        sleeping[0].wait()?;
    }
    assert!(!ours.exists());
    assert_eq!(sleeping[1].try_wait()?, None, "of another folder");
    sleeping[1].kill()?;
    sleeping[1].wait()?;
    for dir in [foreign.join("a"), foreign] {
        eventually(|| format!("{} is busy", dir.display()), || fs::remove_dir(&dir).is_ok()).await?;
    }
    world.end().await;
    Ok(())
}

pub(crate) async fn many_at_once(kind: RuntimeKind) -> Outcome {
    const COUNT: usize = 40;
    let world = World::new(kind).await?;
    let mut starts = Vec::new();
    for n in 0..COUNT {
        let runtime = world.runtime.clone();
        starts.push(tokio::spawn(async move {
            let started = runtime.create(spec(&format!("n{n}"))).await?;
            let output = crate::support::exec(&started, "echo $DAYTONA_SANDBOX_ID").await;
            Ok::<_, RuntimeError>(output.map(|(_, output)| output))
        }));
    }
    for (n, start) in starts.into_iter().enumerate() {
        assert_eq!(start.await???, format!("n{n}"));
    }
    assert_eq!(world.runtime.running().len(), COUNT);
    let launcher = world.launcher;
    world.end().await;
    assert_eq!(children(launcher), [0; 0]);
    assert!(!Path::new(&format!("/proc/{launcher}")).exists());
    Ok(())
}

pub(crate) async fn a_long_data_directory(kind: RuntimeKind) -> Outcome {
    let data = tempfile::Builder::new().prefix(&"long, with: \\odd=".repeat(10)).tempdir()?;
    let world = World::at(kind, data).await?;
    let sandbox = world.start(&"i".repeat(64)).await?;
    assert!(sandbox.started.socket.as_os_str().len() < 108);
    assert_eq!(sandbox.run("echo works").await?, "works");
    world.end().await;
    Ok(())
}

pub(crate) async fn a_failed_step_is_named(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    world.start("a").await?;
    world.runtime.stop("a", true).await?;
    let upper = world.runtime.sandbox_dir("a").join("upper/usr");
    fs::rename(&upper, upper.with_extension("away"))?;
    fs::write(&upper, "not a folder")?;
    let failed = world.runtime.create(spec("a")).await;
    let Err(RuntimeError::Launch { step, source }) = failed else {
        return Err(format!("{failed:?}").into());
    };
    assert_eq!(step, "mount overlay /usr");
    assert!(source.raw_os_error().is_some(), "{source}");
    assert!(world.runtime.running().is_empty());
    // Repaired, it starts.
    fs::remove_file(&upper)?;
    fs::rename(upper.with_extension("away"), &upper)?;
    world.start("a").await?.run("true").await?;
    world.end().await;
    Ok(())
}

pub(crate) async fn bad_requests_are_refused(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let refused = async |change: fn(&mut daytona_runtime::SandboxSpec)| {
        let mut bad = spec("a");
        change(&mut bad);
        matches!(world.runtime.create(bad).await, Err(RuntimeError::Invalid(_)))
    };
    assert!(refused(|spec| "../a".clone_into(&mut spec.id)).await);
    assert!(refused(|spec| spec.id.clear()).await);
    assert!(refused(|spec| spec.memory_gib = f64::NAN).await);
    assert!(refused(|spec| spec.cpu = -1.0).await);
    if world.isolated() {
        let mut odd = spec("a");
        "nobody-knows".clone_into(&mut odd.user);
        let refused = world.runtime.create(odd).await;
        assert!(matches!(refused, Err(RuntimeError::Unsupported { .. })), "{refused:?}");
    }
    world.start("a").await?;
    assert!(refused(|spec| spec.network = Network::Host).await, "it runs already");
    world.end().await;
    Ok(())
}

pub(crate) async fn the_launcher_survives_nonsense(_kind: RuntimeKind) -> Outcome {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut launcher = Command::new(std::env::current_exe()?)
        .arg("launcher")
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::null())
        .spawn()?;
    let mut send = |text: &str| -> std::io::Result<()> {
        ours.write_all(&u32::try_from(text.len()).unwrap_or(0).to_le_bytes())?;
        ours.write_all(text.as_bytes())
    };
    for nonsense in ["", "{", "[1,2]", "{\"Launch\":{}}", "\u{0}\u{1}", "{\"Stop\":{\"seq\":-1}}"] {
        send(nonsense)?;
    }
    send("{\"Stop\":{\"seq\":7,\"force\":true}}")?;
    // One without its descriptors is answered.
    send("{\"Launch\":{\"seq\":9,\"plan\":{\"Process\":{\"home\":\"/\"}},\"agent\":null}}")?;
    ours.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut length = [0; 4];
    ours.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_le_bytes(length) as usize];
    ours.read_exact(&mut answer)?;
    assert!(String::from_utf8_lossy(&answer).contains("\"seq\":9"));
    drop(ours);
    assert!(launcher.wait()?.success());
    Ok(())
}

pub(crate) async fn the_launcher_does_not_grow(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let heap = || {
        let status = fs::read_to_string(format!("/proc/{}/status", world.launcher));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmData:"));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
    };
    let files = || -> Vec<String> {
        let open = fs::read_dir(format!("/proc/{}/fd", world.launcher));
        let links = open.into_iter().flatten().flatten();
        links.map(|link| fs::read_link(link.path()).unwrap_or_default().display().to_string()).collect()
    };
    let mut after_some = None;
    for n in 0..30 {
        let id = format!("n{n}");
        world.start(&id).await?;
        world.runtime.stop(&id, true).await?;
        if n == 5 {
            after_some = Some((heap(), files().len()));
        }
    }
    // The last control pipe is closed just after the end is reported.
    let now = || (heap(), files().len());
    let grew = || format!("{after_some:?} became {:?}: {:?}", now(), files());
    eventually(grew, || after_some >= Some(now())).await?;
    assert_eq!(children(world.launcher), [0; 0], "zombies");
    world.end().await;
    Ok(())
}
