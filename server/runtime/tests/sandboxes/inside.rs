//! What a sandbox sees and may do.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use daytona_runtime::{Network, RuntimeError, RuntimeKind};

use crate::support::spec;
use crate::world::{Outcome, World};

pub(crate) async fn sees_its_own_user_and_environment(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    let home = sandbox.started.home.display().to_string();
    assert_eq!(sandbox.run("pwd").await?, home);
    assert_eq!(sandbox.run("echo $HOME $GREETING $DAYTONA_SANDBOX_ID").await?, format!("{home} hello a"));
    assert_eq!(sandbox.run("echo $USER").await?, sandbox.started.user);
    // A user without a name is known by number, and `id` fails.
    assert_eq!(sandbox.run("id -un 2>/dev/null || true").await?, sandbox.started.user);
    assert_eq!(sandbox.run("umask").await?, "0022");
    if world.isolated() {
        assert_eq!(sandbox.started.user, "daytona");
        assert_eq!(home, "/home/daytona");
        assert_eq!(sandbox.run("echo $SHELL").await?, "/bin/bash");
    }
    world.end().await;
    Ok(())
}

pub(crate) async fn has_its_own_processes_and_name(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    assert_eq!(sandbox.run("cat /proc/1/comm").await?, "sandbox-init");
    assert_eq!(sandbox.run("cat /proc/2/comm").await?, "sandbox-agent");
    assert_eq!(sandbox.run("uname -n; cat /etc/hostname").await?, "host-a\nhost-a");
    let pids = sandbox.run("ls /proc | grep -c '^[0-9]*$'").await?;
    assert!(pids.parse::<u32>()? < 8, "{pids} processes");
    // Nothing of the host can be signalled.
    let outside = std::process::id();
    assert!(outside > 100, "a process id that means nothing inside");
    assert_ne!(sandbox.try_run(&format!("kill -0 {outside}")).await?.0, 0);
    world.end().await;
    Ok(())
}

pub(crate) async fn sees_no_secrets(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let secret = world.data.path().join("secret");
    fs::write(&secret, "treasure")?;
    let sandbox = world.start("a").await?;
    world.start("other").await?;
    let gone = |path: &str| format!("test ! -e {path}");
    sandbox.run(&gone(&secret.display().to_string())).await?;
    sandbox.run(&gone(&world.data.path().display().to_string())).await?;
    for path in ["/var/run/docker.sock", "/etc/sudoers", "/etc/machine-id", "/etc/ssl/private"] {
        sandbox.run(&gone(path)).await?;
    }
    for folder in ["/mnt", "/media", "/srv", "/run", "/sys", "/tmp"] {
        assert_eq!(sandbox.run(&format!("ls -A {folder}")).await?, "", "{folder}");
    }
    assert_eq!(sandbox.run("ls /home").await?, "daytona");
    let seen = sandbox.run("ls -A /root 2>/dev/null; cat /etc/shadow 2>/dev/null; true").await?;
    assert!(!seen.contains('$'), "{seen}");
    let users = sandbox.run("cut -d: -f1,6,7 /etc/passwd").await?;
    assert!(users.contains("root:/root:/bin/bash") && users.contains("daytona:/home/daytona:/bin/bash"));
    for line in users.lines().filter(|line| !line.starts_with("root:") && !line.starts_with("daytona:")) {
        assert!(line.ends_with(":/nonexistent:/usr/sbin/nologin"), "{line}");
    }
    // Host mounts, other sandboxes and the server's environment.
    let mounts = sandbox.run("cat /proc/self/mountinfo").await?;
    assert!(!mounts.contains("/sandboxes/other"), "{mounts}");
    let environment = sandbox.run("cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; true").await?;
    assert!(!environment.contains("CARGO"), "{environment}");
    let fds = sandbox.run("ls /proc/self/fd").await?;
    assert_eq!(fds, "0\n1\n2\n3", "open files of ls");
    world.end().await;
    Ok(())
}

pub(crate) async fn leaves_the_host_alone(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let mut all = spec("a");
    if world.runtime.probe().root {
        "root".clone_into(&mut all.user);
    }
    let sandbox = world.start_with(all).await?;
    let name = format!("touched-{}", std::process::id());
    let (_, said) = sandbox
        .try_run(&format!(
            "for d in / /usr/bin /usr/lib /etc /opt /var /var/lib/dpkg /dev /tmp /run; do \
             echo x > $d/{name}; done; rm -f /usr/bin/env /etc/hosts; chmod 600 /dev/null; \
             echo b > /proc/sysrq-trigger; echo 1 > /proc/sys/kernel/panic; hostname {name}; true"
        ))
        .await?;
    for folder in ["/", "/usr/bin", "/usr/lib", "/etc", "/opt", "/var", "/var/lib/dpkg", "/dev", "/tmp", "/run"] {
        assert!(!std::path::Path::new(folder).join(&name).exists(), "{folder}: {said}");
    }
    assert!(fs::exists("/usr/bin/env")? && fs::exists("/etc/hosts")?);
    assert_eq!(fs::metadata("/dev/null")?.permissions().mode() & 0o777, 0o666);
    assert!(!fs::read_to_string("/proc/sys/kernel/hostname")?.contains(&name));
    if world.runtime.probe().root {
        sandbox.run(&format!("test -e /usr/bin/{name} -a ! -e /usr/bin/env")).await?;
    }
    world.end().await;
    Ok(())
}

pub(crate) async fn has_its_own_tmp(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let (a, b) = (world.start("a").await?, world.start("b").await?);
    assert_eq!(a.run("stat -c %a /tmp /var/tmp /dev/shm").await?, "1777\n1777\n1777");
    a.run("echo x > /tmp/mine; echo x > /dev/shm/mine; echo x > /var/tmp/mine").await?;
    assert_eq!(b.run("ls -A /tmp /dev/shm /var/tmp | grep mine; true").await?, "");
    // Terminals, standard streams and the devices work.
    a.run("echo x > /dev/null && head -c 8 /dev/urandom | wc -c && test -c /dev/ptmx").await?;
    a.run("echo x | cat /dev/stdin > /dev/stdout && test -c /dev/tty").await?;
    a.run("exec 3<>/dev/ptmx").await?;
    world.end().await;
    Ok(())
}

pub(crate) async fn has_few_rights(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    let status = sandbox.run("cat /proc/self/status").await?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned()).unwrap_or_default()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_ne!(field("Uid:").split_whitespace().next(), Some("0"));
    // The program it was forked from is out of reach.
    for process in [1, 2] {
        assert_ne!(sandbox.try_run(&format!("cat /proc/{process}/exe")).await?.0, 0);
    }
    assert_ne!(sandbox.try_run("cat /proc/kcore | head -c 1 | grep -q .").await?.0, 0);
    for command in ["mount -t tmpfs x /mnt", "echo 1 > /proc/sys/kernel/panic", "hostname x"] {
        assert_ne!(sandbox.try_run(command).await?.0, 0, "{command}");
    }
    world.end().await;
    Ok(())
}

pub(crate) async fn cannot_reach_the_host_without_network(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let open = world.start("open").await?;
    open.run(&connect).await?;
    let mut alone = spec("alone");
    alone.network = Network::None;
    let alone = world.start_with(alone).await?;
    let (code, said) = alone.try_run(&connect).await?;
    // Refused, not unreachable: the loopback interface is up.
    assert!(code != 0 && said.contains("refused"), "{said}");
    let interfaces = alone.run("tail -n +3 /proc/net/dev | cut -d: -f1").await?;
    assert_eq!(interfaces.trim(), "lo");
    world.end().await;
    Ok(())
}

/// Sockets with abstract names are the network's, which is shared.
pub(crate) async fn cannot_reach_abstract_sockets(kind: RuntimeKind) -> Outcome {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    let world = World::new(kind).await?;
    let name = format!("abstract-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    let connect = |name: &str| {
        format!("/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + \"{name}\")'")
    };
    let sandbox = world.start("a").await?;
    let (code, said) = sandbox.try_run(&connect(&name)).await?;
    if sandbox.try_run("test -x /usr/bin/python3").await?.0 != 0 {
        println!("skipped: there is no /usr/bin/python3 to connect with");
    } else if code == 0 {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let mut numbers = release.split('.').map_while(|part| part.parse::<u32>().ok());
        let version = (numbers.next(), numbers.next());
        assert!(version < (Some(6), Some(12)), "Linux {release} with Landlock scopes");
        println!("skipped: Linux {release} cannot scope abstract sockets");
    } else {
        assert!(said.contains("Operation not permitted"), "{said}");
        // Their own are fine.
        let own = "import socket; a = socket.socket(socket.AF_UNIX); a.bind(chr(0) + \"own\"); a.listen()";
        let both = format!("{own}; socket.socket(socket.AF_UNIX).connect(chr(0) + \"own\")");
        sandbox.run(&format!("/usr/bin/python3 -c '{both}'")).await?;
    }
    world.end().await;
    Ok(())
}

pub(crate) async fn root_can_install_files(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let mut root = spec("a");
    "root".clone_into(&mut root.user);
    if !world.runtime.probe().root {
        let refused = world.runtime.create(root).await;
        assert!(matches!(refused, Err(RuntimeError::Unsupported { .. })), "{refused:?}");
        world.end().await;
        return Ok(());
    }
    let sandbox = world.start_with(root.clone()).await?;
    assert_eq!(sandbox.run("id -un; echo $HOME; pwd").await?, "root\n/root\n/root");
    assert_eq!(sandbox.run("stat -c '%U %a' /root").await?, "root 700");
    sandbox.run("echo '#!/bin/sh\necho works' > /usr/local/bin/tool-x && chmod 755 /usr/local/bin/tool-x").await?;
    assert_eq!(sandbox.run("tool-x").await?, "works");
    sandbox.run("install -o nobody -m 640 /etc/passwd /var/lib/x && su nobody -s /bin/sh -c 'cat /var/lib/x' | grep -q daytona").await?;
    // What only root may read on the host.
    assert_eq!(sandbox.run("ls -A /opt; echo x > /opt/own && cat /opt/own").await?, "x");
    assert!(!fs::exists("/opt/own")?);
    // Neither devices nor mounts.
    assert_ne!(sandbox.try_run("mknod /tmp/disk b 8 0").await?.0, 0);
    assert_ne!(sandbox.try_run("mount -t tmpfs x /mnt").await?.0, 0);
    assert_ne!(sandbox.try_run("cat /proc/1/exe").await?.0, 0);
    world.runtime.stop("a", false).await?;
    let sandbox = world.start_with(root).await?;
    assert_eq!(sandbox.run("tool-x").await?, "works");
    assert!(!fs::exists("/usr/local/bin/tool-x")?);
    world.end().await;
    Ok(())
}

/// The data directory may lie in a folder that sandboxes see.
pub(crate) async fn hides_a_data_directory_among_programs(kind: RuntimeKind) -> Outcome {
    let Ok(data) = tempfile::Builder::new().prefix("data-").tempdir_in("/opt") else {
        println!("skipped: this user cannot write to /opt");
        return Ok(());
    };
    let world = World::at(kind, data).await?;
    fs::write(world.data.path().join("secret"), "treasure")?;
    let sandbox = world.start("a").await?;
    let seen = sandbox.run(&format!("ls -A {}", world.data.path().display())).await?;
    assert_eq!(seen, "");
    assert_ne!(sandbox.try_run("touch /opt/x").await?.0, 0);
    world.end().await;
    Ok(())
}
