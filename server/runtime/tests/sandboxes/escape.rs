//! Ways out of a sandbox, each tried from inside.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use daytona_runtime::{Network, RuntimeKind, SandboxSpec};
use tempfile::TempDir;

use crate::support::{self, spec};
use crate::world::{Outcome, Sandbox, World};

/// The specs of both users, as far as the machine has both, with networks of their own, as far as it can give them.
fn specs(world: &World) -> Vec<SandboxSpec> {
    let probe = world.runtime.probe();
    let users: &[&str] = if probe.root { &["daytona", "root"] } else { &["daytona"] };
    let network = if probe.limits.network.holds() { Network::Wire } else { Network::None };
    let with = |user: &&str| SandboxSpec { user: (*user).to_owned(), network, ..spec(user) };
    users.iter().map(with).collect()
}

/// Fails if one of the commands works.
async fn refused(sandbox: &Sandbox, commands: &[&str]) -> Outcome {
    for command in commands {
        let (code, said) = sandbox.try_run(command).await?;
        assert_ne!(code, 0, "{command} works as {}: {said}", sandbox.started.user);
    }
    Ok(())
}

/// A Python program, if there is a Python.
async fn python(sandbox: &Sandbox, program: &str) -> Result<String, Box<dyn std::error::Error>> {
    sandbox.run(&format!("/usr/bin/python3 - <<'END'\n{program}\nEND")).await
}

/// A folder of the host with a secret in it, which everybody may read and write.
fn treasure() -> Result<TempDir, Box<dyn std::error::Error>> {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::Builder::new().prefix("treasure-").tempdir()?;
    fs::write(folder.path().join("secret"), "gold")?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
    Ok(folder)
}

pub(crate) async fn files_stay_inside(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let (host, sandbox) = (treasure()?, world.start("a").await?);
    sandbox
        .run("ln -s / out && ln -s ../../../../../../../../.. up && mkdir -p deep && ln -s /proc/1/root deep/root")
        .await?;
    let path = host.path().display();
    let escapes = ["out", "up", "deep/root", "../../../../../../../..", ""];
    for escape in escapes {
        for (method, request) in [
            ("GET", format!("/files/download?path={escape}{path}/secret")),
            ("GET", format!("/files/info?path={escape}{path}/secret")),
            ("POST", format!("/files/folder?path={escape}{path}/made&mode=0755")),
            ("POST", format!("/files/move?source={escape}{path}/secret&destination=got")),
            ("DELETE", format!("/files?path={escape}{path}&recursive=true")),
        ] {
            let answer = support::request(&sandbox.started.socket, method, &request, "").await?;
            assert!(!answer.contains("gold"), "{method} {request}: {answer}");
        }
    }
    let left: Vec<_> = fs::read_dir(host.path())?.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["secret"]);
    assert_eq!(fs::read_to_string(host.path().join("secret"))?, "gold");
    world.end().await;
    Ok(())
}

pub(crate) async fn proc_leads_nowhere(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    for spec in specs(&world) {
        let sandbox = world.start_with(spec).await?;
        refused(
            &sandbox,
            &[
                "cat /proc/1/root/etc/hostname",
                "ls /proc/1/cwd/",
                "ls /proc/2/root/",
                "cat /proc/1/environ | grep -q .",
                "cat /proc/2/environ | grep -q .",
                "head -c 1 /proc/1/mem",
                "cat /proc/1/exe",
                "cat /proc/2/fd/3",
                "head -c 1 /proc/kcore | grep -q .",
                "cat /proc/keys | grep -q .",
                "dmesg",
                "echo b > /proc/sysrq-trigger",
                "echo x > /proc/sys/kernel/core_pattern",
                "echo 1 > /proc/sys/vm/drop_caches",
                "echo 1 > /proc/sys/net/ipv4/ip_forward",
                "echo 1 > /proc/irq/default_smp_affinity",
                "echo -1000 > /proc/1/oom_score_adj",
            ],
        )
        .await?;
    }
    world.end().await;
    Ok(())
}

pub(crate) async fn mounts_stay_as_they_are(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    for spec in specs(&world) {
        let sandbox = world.start_with(spec).await?;
        refused(
            &sandbox,
            &[
                "mount -t tmpfs x /mnt",
                "mount --bind / /mnt",
                "mount -o remount,rw /proc/sys",
                "umount /proc/sys",
                "umount -l /dev",
                "mount -t proc proc /mnt",
                "mount -t sysfs sysfs /mnt",
                "mount -t devtmpfs dev /mnt",
                "nsenter -t 1 -m true",
                "nsenter -t 1 -p true",
                // The same with all capabilities of a new user namespace.
                "unshare -Urm mount -o remount,rw /proc/sys",
                "unshare -Urm umount /proc/sysrq-trigger",
                "unshare -Urm umount /proc/kcore",
                "unshare -Urmpf mount -t proc proc /mnt",
                "unshare -Urmn mount -t sysfs sysfs /mnt",
                "unshare -Urm mount -t devtmpfs dev /mnt",
                "unshare -Urm sh -c 'mount -t tmpfs x /mnt && mknod /mnt/disk b 8 0'",
                "unshare -Urm sh -c 'echo x > /proc/sys/kernel/core_pattern'",
                "unshare -Urm sh -c 'echo b > /proc/sysrq-trigger'",
            ],
        )
        .await?;
    }
    world.end().await;
    Ok(())
}

pub(crate) async fn devices_are_not_made(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    for spec in specs(&world) {
        let sandbox = world.start_with(spec).await?;
        for node in ["disk b 8 0", "disk b 254 0", "mem c 1 1", "kmsg c 1 11", "tun c 10 200", "fuse c 10 229"] {
            refused(&sandbox, &[&format!("mknod /tmp/{node}"), &format!("mknod /dev/{node}")]).await?;
        }
        assert_eq!(
            sandbox.run("ls /dev").await?.replace('\n', " "),
            "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
        );
    }
    world.end().await;
    Ok(())
}

pub(crate) async fn others_are_out_of_reach(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let other = world.start("other").await?;
    other.run("echo gold > secret; echo gold > /tmp/secret; (sleep 1000 & ) >/dev/null 2>&1").await?;
    fs::write(world.data.path().join("api-key"), "gold")?;
    fs::write(world.data.path().join("state.redb"), "gold")?;
    let data = world.data.path().display().to_string();
    for spec in specs(&world) {
        let sandbox = world.start_with(spec).await?;
        assert_eq!(sandbox.run("cat ~/secret /tmp/secret /home/*/secret 2>/dev/null; true").await?, "");
        let found = sandbox
            .run("find / /home /root -xdev '(' -name api-key -o -name 'state.redb*' -o -name server.lock ')' 2>/dev/null; true")
            .await?;
        assert_eq!(found, "");
        assert_eq!(sandbox.run("find /tmp /run /var /home /root /dev -type s 2>/dev/null; true").await?, "");
        refused(
            &sandbox,
            &[&format!("ls {data}"), &format!("cat {data}/api-key"), &format!("ls {data}/sandboxes/other")],
        )
        .await?;
        // Processes: none but its own, neither to see nor to signal.
        let commands = sandbox.run("cat /proc/[0-9]*/comm | sort -u").await?;
        assert!(!commands.contains("sleep"), "{commands}");
        for outside in [std::process::id(), world.launcher] {
            refused(&sandbox, &[&format!("kill -0 {outside}"), &format!("ls /proc/{outside}")]).await?;
        }
    }
    assert_eq!(other.run("cat secret").await?, "gold");
    assert!(fs::exists(format!("/proc/{}", world.launcher))?);
    world.end().await;
    Ok(())
}

pub(crate) async fn nothing_is_traced(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    for spec in specs(&world) {
        let sandbox = world.start_with(spec).await?;
        if sandbox.try_run("test -x /usr/bin/python3").await?.0 != 0 {
            println!("skipped: there is no /usr/bin/python3 to trace with");
            break;
        }
        let said = python(
            &sandbox,
            "import ctypes, os\n\
             libc = ctypes.CDLL(None, use_errno=True)\n\
             libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]\n\
             class Piece(ctypes.Structure):\n    \
                 _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]\n\
             space = ctypes.create_string_buffer(8)\n\
             here, there = Piece(ctypes.addressof(space), 8), Piece(0x400000, 8)\n\
             for pid in (1, 2):\n    \
                 attached = libc.ptrace(16, pid, None, None)\n    \
                 print('attach', attached, os.strerror(ctypes.get_errno()))\n    \
                 read = libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)\n    \
                 print('read', read, os.strerror(ctypes.get_errno()))",
        )
        .await?;
        let no = "-1 Operation not permitted";
        assert_eq!(said, format!("attach {no}\nread {no}\nattach {no}\nread {no}"), "{}", sandbox.started.user);
    }
    world.end().await;
    Ok(())
}

pub(crate) async fn the_network_is_its_own(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let name = format!("escape-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    if !world.runtime.probe().limits.network.holds() {
        println!("skipped, the device: {}", world.runtime.probe().limits.network);
    }
    for spec in specs(&world) {
        let own = spec.network == Network::Wire;
        let sandbox = world.start_with(spec).await?;
        let interfaces = sandbox.run("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '").await?;
        assert_eq!(interfaces, if own { "lo\neth0" } else { "lo" });
        refused(
            &sandbox,
            &[
                &format!("exec 3<>/dev/tcp/127.0.0.1/{port}"),
                "exec 3<>/dev/net/tun",
                "nsenter -t 1 -n true",
                "ip link set lo down",
                "ip link add dummy0 type dummy",
                "ip addr add 192.0.2.77/24 dev lo",
                "ip route add 198.51.100.0/24 dev lo",
                "iptables -L || nft list ruleset",
            ],
        )
        .await?;
        if own {
            refused(&sandbox, &["ip link set eth0 down", "ip addr flush dev eth0", "ip route del default"]).await?;
        }
        if sandbox.try_run("test -x /usr/bin/python3").await?.0 == 0 {
            let said = python(
                &sandbox,
                &format!(
                    "import socket\n\
                     def tried(*kind, to=None):\n    \
                         try:\n        \
                             one = socket.socket(*kind)\n        \
                             to and one.connect(to)\n        \
                             print('works')\n    \
                         except OSError as error:\n        \
                             print(type(error).__name__)\n\
                     tried(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)\n\
                     tried(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)\n\
                     tried(socket.AF_PACKET, socket.SOCK_RAW)\n\
                     tried(socket.AF_UNIX, socket.SOCK_STREAM, to='\\0{name}')"
                ),
            )
            .await?;
            let (raw, rest) = said.split_at(said.rfind('\n').unwrap_or(0));
            assert_eq!(raw, ["PermissionError"; 3].join("\n"));
            assert!(rest.trim() != "works", "the host's abstract socket");
        }
    }
    listener.set_nonblocking(true)?;
    assert!(listener.accept().is_err(), "somebody connected");
    world.end().await;
    Ok(())
}

pub(crate) async fn limits_are_not_lifted(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    for mut spec in specs(&world) {
        (spec.cpu, spec.memory_gib) = (1.0, 1.0);
        // Its groups are looked for by this name, among those of all that runs.
        spec.id.insert_str(0, "limits-");
        let id = spec.id.clone();
        let sandbox = world.start_with(spec).await?;
        assert_eq!(sandbox.run("ls -A /sys").await?, "");
        let before = limits_of(&id);
        let groups = sandbox.run("cut -d: -f3 /proc/self/cgroup").await?;
        // With all capabilities of new namespaces the files of its groups can be seen.
        sandbox
            .try_run(
                "unshare -UrmC sh -c 'for kind in cpu memory pids freezer; do \
                 mount -t cgroup -o $kind x /mnt 2>/dev/null || mount -t cgroup2 x /mnt 2>/dev/null || continue; \
                 for value in max -1 8589934592; do for file in /mnt/*.max /mnt/*limit* /mnt/*quota* /mnt/cgroup.procs; do \
                 echo $value > $file; done; done; mkdir /mnt/more; echo $$ > /mnt/more/cgroup.procs; umount /mnt; done'",
            )
            .await?;
        assert_eq!(sandbox.run("cut -d: -f3 /proc/self/cgroup").await?, groups);
        assert_eq!(limits_of(&id), before, "after {} tried", sandbox.started.user);
        refused(&sandbox, &["ulimit -n 2000000", "ulimit -c unlimited"]).await?;
    }
    world.end().await;
    Ok(())
}

/// The limits in force of a sandbox's groups, from the host.
fn limits_of(id: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
        if folder.file_name().is_some_and(|name| name == id) {
            for file in ["cpu.max", "cpu.cfs_quota_us", "pids.max", "memory.max", "memory.limit_in_bytes"] {
                if let Ok(value) = fs::read_to_string(folder.join(file)) {
                    found.push((folder.join(file).display().to_string(), value));
                }
            }
        }
    }
    found
}

pub(crate) async fn new_users_have_no_rights(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let host = treasure()?;
    for spec in specs(&world) {
        let sandbox = world.start_with(spec).await?;
        refused(
            &sandbox,
            &[
                "unshare -Ur hostname other",
                "unshare -Ur ip link set lo down",
                "unshare -Ur date -s 2001-01-01",
                "unshare -Ur chroot /proc/1/root true",
                "unshare -Ur reboot -f",
                "unshare -Ur nsenter -t 1 -n true",
                &format!("unshare -Urm cat {}/secret", host.path().display()),
            ],
        )
        .await?;
    }
    world.end().await;
    Ok(())
}
