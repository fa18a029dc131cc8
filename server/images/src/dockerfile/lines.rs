//! The lines of a Dockerfile: comments, continuations, here-documents.

use super::words;
use crate::{Error, Result};

/// An instruction as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Of its beginning, from 1.
    pub(super) number: usize,
    pub(super) keyword: String,
    /// What follows the keyword, continuations joined.
    pub(super) rest: String,
    pub(super) documents: Vec<HereDoc>,
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HereDoc {
    pub(crate) name: String,
    pub(crate) body: String,
    /// Variables in it are replaced: its name was not quoted.
    pub(crate) expand: bool,
}

/// Splits a text into instructions, and answers its escape character too.
pub(super) fn split(text: &str) -> Result<(Vec<Line>, char)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let all: Vec<&str> = text.lines().collect();
    let escape = directives(&all)?;
    let mut lines = Vec::new();
    let mut at = 0;
    while at < all.len() {
        let number = at + 1;
        let first = all[at].trim_start();
        at += 1;
        if first.is_empty() || first.starts_with('#') {
            continue;
        }
        let mut joined = String::new();
        let mut piece = first;
        loop {
            match continued(piece, escape) {
                None => {
                    joined.push_str(piece);
                    break;
                }
                Some(begin) => joined.push_str(begin),
            }
            // Comments and empty lines within are passed over.
            while all.get(at).is_some_and(|line| line.trim_start().starts_with('#') || line.trim().is_empty()) {
                at += 1;
            }
            let Some(next) = all.get(at) else { break };
            piece = next;
            at += 1;
        }
        let joined = joined.trim_end();
        let (keyword, rest) = joined.split_once(char::is_whitespace).unwrap_or((joined, ""));
        let (keyword, rest) = (keyword.to_ascii_uppercase(), rest.trim_start().to_owned());
        let mut documents = Vec::new();
        if matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") {
            for (name, expand, tabs) in markers(&rest, escape) {
                let mut body = String::new();
                loop {
                    let Some(line) = all.get(at) else {
                        let why = format!("the here-document {name} does not end: a line with {name} alone is missing");
                        return Err(Error::Dockerfile { line: number, why });
                    };
                    at += 1;
                    let line = if tabs { line.trim_start_matches('\t') } else { line };
                    if line == name {
                        break;
                    }
                    body.push_str(line);
                    body.push('\n');
                }
                documents.push(HereDoc { name, body, expand });
            }
        }
        lines.push(Line { number, keyword, rest, documents });
    }
    Ok((lines, escape))
}

/// Reads the comments at the top that mean something.
fn directives(lines: &[&str]) -> Result<char> {
    let mut escape = '\\';
    for (at, line) in lines.iter().enumerate() {
        let Some((name, value)) = line.trim().strip_prefix('#').and_then(|comment| comment.split_once('=')) else {
            break;
        };
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "escape" => {
                escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    _ => {
                        let why = format!("the escape character is \\ or `, not {value:?}");
                        return Err(Error::Dockerfile { line: at + 1, why });
                    }
                }
            }
            "syntax" if !value.contains("docker/dockerfile") => {
                return Err(Error::Unsupported { what: format!("the syntax {value:?}"), line: Some(at + 1) });
            }
            "syntax" | "check" => {}
            _ => break,
        }
    }
    Ok(escape)
}

/// The part before the escape character that ends a line, if one does.
fn continued(line: &str, escape: char) -> Option<&str> {
    let begin = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!begin.ends_with(escape)).then_some(begin)
}

/// Names of here-documents, in order, with whether they are expanded and whether tabs are taken off.
fn markers(text: &str, escape: char) -> Vec<(String, bool, bool)> {
    words::split(text, escape)
        .iter()
        .filter_map(|word| {
            let marker = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
            let (name, tabs) = marker.strip_prefix('-').map_or((marker, false), |name| (name, true));
            if name.contains('<') {
                return None;
            }
            let plain = name.replace(['"', '\'', escape], "");
            (!plain.is_empty()).then(|| (plain.clone(), plain == name, tabs))
        })
        .collect()
}
