//! `/etc` of the sandboxes: the host's public settings without its credentials and accounts.

use std::fmt::Write;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::base::User;
use crate::{GATEWAY, Network};

/// Larger files are not settings.
const MAX_FILE: u64 = 4 << 20;
/// Ids below this belong to the system.
const FIRST_USER: u32 = 1000;
const NOBODY: u32 = 65534;

/// Names at the top of /etc that are left out: credentials, identity of the host, and services
/// that are the host's business. Files that not everybody may read are left out anyway.
const LEFT_OUT: [&str; 49] = [
    "NetworkManager",
    "aws",
    "azure",
    "boto.cfg",
    "ceph",
    "cloud",
    "cni",
    "containerd",
    "containers",
    "credstore",
    "credstore.encrypted",
    "cron.d",
    "crontab",
    "crypttab",
    "cups",
    "davfs2",
    "docker",
    "exports",
    "fstab",
    "group",
    "gshadow",
    "hostname",
    "hosts",
    "ipsec.d",
    "ipsec.secrets",
    "iscsi",
    "krb5.conf",
    "krb5.conf.d",
    "krb5.keytab",
    "kubernetes",
    "letsencrypt",
    "libvirt",
    "machine-id",
    "mysql",
    "netplan",
    "openvpn",
    "passwd",
    "postgresql",
    "ppp",
    "rancher",
    "resolv.conf",
    "samba",
    "shadow",
    "sudoers",
    "sudoers.d",
    "tailscale",
    "vault.d",
    "wireguard",
    "wpa_supplicant",
];

/// Beginnings of names that are left out at the top: account files and their backups.
const ACCOUNTS: [&str; 6] = ["group", "gshadow", "passwd", "shadow", "subgid", "subuid"];

fn left_out(name: &str, top: bool) -> bool {
    let begins = |beginning: &&str| name.starts_with(*beginning);
    let ends = |ending: &&str| name.ends_with(*ending);
    let mut accounts = ACCOUNTS.iter();
    (top && (LEFT_OUT.binary_search(&name).is_ok() || accounts.any(begins)))
        || [".", "auth.conf", "ssh_host_"].iter().any(begins)
        || [".key", ".keytab", ".p12", ".pfx"].iter().any(ends)
        || ["credentials", "id_ed25519", "id_rsa", "netrc", "private"].contains(&name)
}

/// Builds the folder, which exists and is empty.
pub(super) fn build(etc: &Path, user: User, network: Network) -> io::Result<()> {
    copy(Path::new("/etc"), etc, true)?;
    let read = |name: &str| fs::read_to_string(Path::new("/etc").join(name)).unwrap_or_default();
    let (passwd, shadow) = accounts(&read("passwd"), user);
    let (group, gshadow) = groups(&read("group"), user);
    let write = |name: &str, text: &str, mode: u32| {
        let path = etc.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
    };
    write("passwd", &passwd, 0o644)?;
    write("group", &group, 0o644)?;
    write("shadow", &shadow, 0o600)?;
    write("gshadow", &gshadow, 0o600)?;
    // Follows the link that resolved services put there.
    let resolver = read("resolv.conf");
    let resolver = if network == Network::Wire { asking_the_gateway(&resolver) } else { resolver };
    write("resolv.conf", &resolver, 0o644)
}

/// The host's way of looking up names, done by the gateway.
fn asking_the_gateway(host: &str) -> String {
    let mut text = format!("nameserver {GATEWAY}\n");
    for line in host.lines().filter(|line| !line.trim_start().starts_with("nameserver")) {
        let _ = writeln!(text, "{line}");
    }
    text
}

fn copy(from: &Path, to: &Path, top: bool) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let file_name = entry.file_name();
        if file_name.to_str().is_none_or(|name| left_out(name, top)) {
            continue;
        }
        // What vanishes or cannot be read meanwhile is no loss.
        let _ = copy_entry(&entry.path(), &to.join(file_name));
    }
    Ok(())
}

fn copy_entry(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    let mode = metadata.mode();
    if metadata.is_symlink() {
        symlink(fs::read_link(from)?, to)
    } else if metadata.is_dir() && mode & 0o005 == 0o005 {
        fs::create_dir(to)?;
        copy(from, to, false)?;
        fs::set_permissions(to, fs::Permissions::from_mode(mode & 0o755))
    } else if metadata.is_file() && mode & 0o004 != 0 && metadata.len() <= MAX_FILE {
        fs::write(to, fs::read(from)?)?;
        fs::set_permissions(to, fs::Permissions::from_mode(mode & 0o755))
    } else {
        Ok(())
    }
}

/// Hashes names and change times of all that is in the host's /etc.
pub(super) fn fingerprint(hasher: &mut impl Hasher) {
    let mut entries = Vec::new();
    let mut folders = vec![PathBuf::from("/etc")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            let changed = (metadata.ctime(), metadata.ctime_nsec());
            entries.push((entry.path(), metadata.ino(), changed));
        }
    }
    // It may be a link to somewhere else.
    if let Ok(metadata) = fs::metadata("/etc/resolv.conf") {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        entries.push((PathBuf::new(), metadata.ino(), changed));
    }
    entries.sort_unstable();
    entries.hash(hasher);
}

/// The accounts of the system, without their homes, and `daytona`.
fn accounts(host: &str, user: User) -> (String, String) {
    let mut passwd = "root:x:0:0:root:/root:/bin/bash\n".to_owned();
    let mut shadow = "root:*:19700:0:99999:7:::\n".to_owned();
    let mut add = |name: &str, uid: u32, gid: u32, home: &str, shell: &str| {
        let _ = writeln!(passwd, "{name}:x:{uid}:{gid}:{name}:{home}:{shell}");
        let _ = writeln!(shadow, "{name}:*:19700:0:99999:7:::");
    };
    for line in host.lines() {
        let mut fields = line.split(':');
        let (Some(name), _, Some(Ok(uid)), Some(Ok(gid))) =
            (fields.next(), fields.next(), fields.next().map(str::parse::<u32>), fields.next().map(str::parse::<u32>))
        else {
            continue;
        };
        if uid != 0 && uid < FIRST_USER && name != "daytona" {
            add(name, uid, gid, "/nonexistent", "/usr/sbin/nologin");
        }
    }
    add("nobody", NOBODY, NOBODY, "/nonexistent", "/usr/sbin/nologin");
    add("daytona", user.uid, user.gid, "/home/daytona", "/bin/bash");
    (passwd, shadow)
}

/// The groups of the system, without their members, and `daytona`.
fn groups(host: &str, user: User) -> (String, String) {
    let mut group = "root:x:0:\n".to_owned();
    let mut gshadow = "root:*::\n".to_owned();
    let mut add = |name: &str, gid: u32| {
        let _ = writeln!(group, "{name}:x:{gid}:");
        let _ = writeln!(gshadow, "{name}:*::");
    };
    let mut nogroup = "nogroup";
    for line in host.lines() {
        let mut fields = line.split(':');
        let (Some(name), _, Some(Ok(gid))) = (fields.next(), fields.next(), fields.next().map(str::parse::<u32>))
        else {
            continue;
        };
        if gid == NOBODY {
            nogroup = name;
        } else if gid != 0 && gid < FIRST_USER && name != "daytona" {
            add(name, gid);
        }
    }
    add(nogroup, NOBODY);
    add("daytona", user.gid);
    (group, gshadow)
}

/// The id `daytona` gets when the server runs as root: 1000, or a free one that no tool hands out
/// next.
pub(crate) fn choose_id() -> u32 {
    let read = |name: &str| fs::read_to_string(Path::new("/etc").join(name)).unwrap_or_default();
    let (passwd, group) = (read("passwd"), read("group"));
    let taken: Vec<u32> =
        passwd.lines().chain(group.lines()).filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect();
    std::iter::once(FIRST_USER).chain((50_000..60_000).rev()).find(|id| !taken.contains(id)).unwrap_or(FIRST_USER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_sorted_for_the_search() {
        assert!(LEFT_OUT.is_sorted());
    }

    #[test]
    fn credentials_are_left_out() {
        for name in ["shadow", "shadow-", "sudoers", "machine-id", "wireguard", "docker"] {
            assert!(left_out(name, true), "{name}");
        }
        for name in ["ssh_host_rsa_key", "private", "server.key", "auth.conf.d", ".pwd.lock"] {
            assert!(left_out(name, false), "{name}");
        }
        for name in ["ssl", "apt", "alternatives", "os-release", "pip.conf"] {
            assert!(!left_out(name, true), "{name}");
        }
        // A name that matters at the top only.
        assert!(!left_out("docker", false));
    }

    #[test]
    fn accounts_are_generated() {
        let host = "root:x:0:0:Boss:/root:/bin/zsh\nalice:x:1000:1000::/home/alice:/bin/bash\n\
                    _apt:x:42:65534::/home/secret:/bin/sh\nbroken\n";
        let (passwd, shadow) = accounts(host, User { uid: 1001, gid: 1001 });
        assert!(passwd.starts_with("root:x:0:0:root:/root:/bin/bash\n"));
        assert!(passwd.contains("_apt:x:42:65534:_apt:/nonexistent:/usr/sbin/nologin\n"));
        assert!(passwd.ends_with("daytona:x:1001:1001:daytona:/home/daytona:/bin/bash\n"));
        assert!(!passwd.contains("alice") && !passwd.contains("secret"));
        assert_eq!(passwd.lines().count(), shadow.lines().count());
    }

    #[test]
    fn the_gateway_is_asked_as_the_host_asks() {
        let host = "# by hand\nnameserver 127.0.0.53\nnameserver ::1\nsearch lan example.com\noptions ndots:2\n";
        let inside = "nameserver 10.0.2.2\n# by hand\nsearch lan example.com\noptions ndots:2\n";
        assert_eq!(asking_the_gateway(host), inside);
    }

    #[test]
    fn groups_are_generated() {
        let host = "root:x:0:\nwheel:x:10:alice\nalice:x:1000:\nnogroup:x:65534:\n";
        let (group, _) = groups(host, User { uid: 1000, gid: 1000 });
        assert_eq!(group, "root:x:0:\nwheel:x:10:\nnogroup:x:65534:\ndaytona:x:1000:\n");
    }
}
