use std::os::unix::fs::MetadataExt as _;

use super::*;

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.roll(texts.len())]
    }
}

const NAMES: &[&str] =
    &["a", "b", "l", "m", ".", "", ".wh.a", ".wh.l", ".wh..wh..opq", ".wh...", "secret", "cage", "\u{e9}", "\n"];

const KINDS: &[EntryType] = &[
    EntryType::Regular,
    EntryType::Directory,
    EntryType::Symlink,
    EntryType::Link,
    EntryType::Char,
    EntryType::Fifo,
    EntryType::GNUSparse,
    EntryType::GNULongName,
    EntryType::GNULongLink,
    EntryType::XHeader,
    EntryType::XGlobalHeader,
];

fn name(dice: &mut Dice, outside: &str) -> String {
    let mut name = match dice.roll(40) {
        0 => "../".repeat(1 + dice.roll(4)),
        1..8 => format!("{outside}/"),
        _ => String::new(),
    };
    for at in 0..=dice.roll(3) {
        if at > 0 {
            name.push('/');
        }
        name.push_str(dice.of(NAMES));
    }
    name
}

fn archive(dice: &mut Dice, outside: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=dice.roll(12) {
        let kind = if dice.roll(8) > 0 { KINDS[dice.roll(3)] } else { KINDS[dice.roll(KINDS.len())] };
        let body = match kind {
            EntryType::XHeader | EntryType::XGlobalHeader => {
                let value = name(dice, outside);
                let line = format!(" {}={value}\n", dice.of(&["path", "linkpath", "SCHILY.xattr.user.x", "size"]));
                // Its own length comes first.
                format!("{}{line}", line.len() + 2)
            }
            _ if dice.roll(2) == 0 => name(dice, outside),
            _ => String::new(),
        };
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode([0o644, 0o755, 0, 0o7777, 0o444][dice.roll(5)]);
        header.set_size(body.len() as u64);
        header.set_mtime(1);
        header.set_uid(0);
        header.set_gid(0);
        let gnu = header.as_gnu_mut().unwrap();
        let up = "../".repeat(dice.roll(8)) + outside.trim_start_matches('/');
        let link = if dice.roll(3) == 0 { up } else { name(dice, outside) };
        for (to, text) in [(&mut gnu.name, name(dice, outside)), (&mut gnu.linkname, link)] {
            let length = text.len().min(to.len());
            to[..length].copy_from_slice(&text.as_bytes()[..length]);
        }
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(body.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    // Sometimes it is damaged, or cut.
    if dice.roll(4) == 0 {
        let at = dice.roll(bytes.len());
        bytes[at] = u8::try_from(dice.roll(256)).unwrap();
    }
    if dice.roll(8) == 0 {
        bytes.truncate(dice.roll(bytes.len()));
    }
    bytes
}

#[test]
fn no_archive_makes_it_panic_or_write_outside() {
    let cage = tempfile::tempdir().unwrap();
    let outside = cage.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    let state = || {
        let meta = |path: &Path| {
            let meta = std::fs::symlink_metadata(path).unwrap();
            (meta.mode(), meta.nlink(), meta.mtime(), meta.uid(), meta.ctime_nsec())
        };
        let mut names: Vec<_> =
            std::fs::read_dir(cage.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let secret = outside.join("secret");
        (names, meta(&outside), meta(&secret), std::fs::read(&secret).unwrap())
    };
    let root = cage.path().join("root");
    let options =
        StoreOptions { user_xattr: true, keep_owners: rustix::process::geteuid().is_root(), ..StoreOptions::default() };
    let mut dice = Dice(1);
    let mut done = 0;
    for _ in 0..250 {
        let bytes = archive(&mut dice, outside.to_str().unwrap());
        std::fs::create_dir(&root).unwrap();
        let before = state();
        done += usize::from(unpack(&bytes[..], &root, &options, &AtomicBool::new(false)).is_ok());
        assert_eq!(state(), before, "{}", String::from_utf8_lossy(&bytes));
        remove_tree(&root).unwrap();
    }
    // Else it is a test of refusals alone.
    assert!(done > 25, "{done}");
}
