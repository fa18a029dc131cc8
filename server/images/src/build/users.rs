//! Users and groups of an image, from its own files.

use std::fs;
use std::path::Path;

use crate::view::View;

/// A user as an image knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
}

/// Finds `user`, a name or a number; a number need not be known.
pub(crate) fn user(view: &View, user: &str) -> Option<User> {
    let number = user.parse::<u32>().ok();
    let known = lines(view, "/etc/passwd").into_iter().find_map(|fields| {
        let uid = fields.get(2)?.parse().ok()?;
        let home = fields.get(5).cloned().unwrap_or_default();
        (fields[0] == user || number == Some(uid)).then(|| User {
            uid,
            gid: fields.get(3).and_then(|gid| gid.parse().ok()).unwrap_or(uid),
            home,
        })
    });
    known.or_else(|| match (user, number) {
        (_, Some(uid)) => Some(User { uid, gid: uid, home: "/".to_owned() }),
        ("root" | "", None) => Some(User { home: "/root".to_owned(), ..User::default() }),
        _ => None,
    })
}

/// `user[:group]` of `--chown`: ids, or which of the names the image does not know.
pub(crate) fn owner(view: &View, text: &str) -> Result<(u32, u32), String> {
    let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    let found = user(view, name).ok_or_else(|| format!("the image has no user {name}"))?;
    let gid = match group.filter(|group| !group.is_empty()) {
        // A number alone is both, as Docker has it.
        None => name.parse().unwrap_or(found.gid),
        Some(group) => match group.parse() {
            Ok(gid) => gid,
            Err(_) => lines(view, "/etc/group")
                .into_iter()
                .find(|fields| fields[0] == group)
                .and_then(|fields| fields.get(2)?.parse().ok())
                .ok_or_else(|| format!("the image has no group {group}"))?,
        },
    };
    Ok((found.uid, gid))
}

fn lines(view: &View, path: &str) -> Vec<Vec<String>> {
    let node = view.find(Path::new(path), true).ok().flatten().filter(|node| node.meta.is_file());
    let text = node.and_then(|node| fs::read(&node.real[0]).ok()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>()).filter(|f| f.len() >= 3).collect()
}
