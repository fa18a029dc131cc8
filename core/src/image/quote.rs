//! Quoting for shells and for JSON, and taking words apart, as the standard libraries of the two languages do.

use std::fmt::Write as _;

use super::Dialect;

/// One word for a shell.
pub(super) fn quote(dialect: Dialect, text: &str) -> String {
    match dialect {
        Dialect::Python => python_quote(text),
        Dialect::TypeScript => js_quote(text),
    }
}

/// What the language's `strip` or `trim` takes away.
pub(super) fn is_space(dialect: Dialect, c: char) -> bool {
    match dialect {
        Dialect::Python => c.is_whitespace() || matches!(c, '\x1c'..='\x1f'),
        Dialect::TypeScript => (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}',
    }
}

pub(super) fn trim(dialect: Dialect, text: &str) -> &str {
    text.trim_matches(|c| is_space(dialect, c))
}

fn python_quote(text: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(is_safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

fn js_quote(text: &str) -> String {
    let space = |c| is_space(Dialect::TypeScript, c);
    if text.is_empty() {
        return "''".to_owned();
    }
    let has_quote = text.contains('\'');
    if has_quote && text.contains('!') {
        return format!("'{}'", text.replace('\'', "'\"'\"'"));
    }
    if !has_quote && text.contains(|c| c == '"' || c == '\\' || space(c)) {
        return format!("'{text}'");
    }
    if text.contains(|c| c == '"' || c == '\'' || space(c)) {
        let mut quoted = String::from("\"");
        for c in text.chars() {
            if matches!(c, '"' | '\\' | '$' | '`') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        quoted.push('"');
        return quoted;
    }
    let is_special = |c: char| "#!\"$&'()*,:;<=>?@[\\]^`{|}~".contains(c);
    let chars: Vec<char> = text.chars().collect();
    let mut quoted = String::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        // The colon of a drive stays as it is.
        let is_drive = c.is_ascii_alphabetic()
            && chars.get(at + 1) == Some(&':')
            && chars.get(at + 2).is_some_and(|&c| is_special(c));
        if is_drive {
            quoted.extend([c, ':', '\\', chars[at + 2]]);
            at += 3;
            continue;
        }
        if is_special(c) {
            quoted.push('\\');
        }
        quoted.push(c);
        at += 1;
    }
    quoted
}

/// A string in JSON that is all ASCII.
pub(super) fn ascii_json(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, ' '..='~') {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}

/// The words of a line, or `None` where a quotation does not end.
pub(super) fn words(dialect: Dialect, line: &str) -> Option<Vec<String>> {
    match dialect {
        Dialect::Python => python_words(line),
        Dialect::TypeScript => Some(js_words(line)),
    }
}

fn python_words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if matches!(c, ' ' | '\t' | '\r' | '\n') {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        match c {
            '\'' => loop {
                match chars.next()? {
                    '\'' => break,
                    c => word.push(c),
                }
            },
            '"' => loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => match chars.next()? {
                        c @ ('"' | '\\') => word.push(c),
                        c => word.extend(['\\', c]),
                    },
                    c => word.push(c),
                }
            },
            '\\' => word.push(chars.next()?),
            c => word.push(c),
        }
    }
    words.extend(word);
    Some(words)
}

/// Operators are left out, variables are empty and a comment ends the line. Patterns stay, which the official client
/// drops: what they match would be missing in the build.
fn js_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let chars: Vec<char> = line.chars().collect();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        if is_space(Dialect::TypeScript, c) || "|&;()<>".contains(c) {
            words.extend(word.take());
            continue;
        }
        match c {
            '\'' => match chars[at..].iter().position(|&c| c == '\'') {
                Some(end) => {
                    word.get_or_insert_default().extend(&chars[at..at + end]);
                    at += end + 1;
                }
                None => words.extend(word.take()),
            },
            '"' => match double_quoted(&chars, at) {
                Some((text, end)) => {
                    word.get_or_insert_default().push_str(&text);
                    at = end;
                }
                None => words.extend(word.take()),
            },
            '\\' => {
                let word = word.get_or_insert_default();
                // A space is no part of a word even so.
                if let Some(&next) = chars.get(at).filter(|&&next| next != '\n') {
                    word.push(next);
                    at += 1;
                }
            }
            '$' => word.get_or_insert_default().push_str(variable(&chars, &mut at)),
            '#' => break,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word.filter(|word| !word.is_empty() || chars.last() != Some(&'#')));
    words
}

/// Text from after a `"` to the next one, and where that ends.
fn double_quoted(chars: &[char], mut at: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    loop {
        let c = *chars.get(at)?;
        at += 1;
        match c {
            '"' => return Some((text, at)),
            '\\' => {
                let next = *chars.get(at)?;
                at += 1;
                if !matches!(next, '"' | '\\' | '$') {
                    text.push('\\');
                }
                text.push(next);
            }
            '$' => text.push_str(variable(chars, &mut at)),
            c => text.push(c),
        }
    }
}

/// Skips the name of a variable, all of which are empty; a lone `$` is one.
fn variable(chars: &[char], at: &mut usize) -> &'static str {
    let begin = *at;
    match chars.get(begin) {
        Some('{') => {
            let end = chars[begin..].iter().position(|&c| c == '}');
            *at = end.map_or(chars.len(), |end| begin + end + 1);
        }
        Some(c) if "*@#?$!-".contains(*c) => *at += 1,
        _ => {
            while chars.get(*at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_') {
                *at += 1;
            }
            if *at == begin {
                return "$";
            }
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_python() {
        let words = |line| python_words(line).map(|words| words.join("|"));
        assert_eq!(words(r#"a "b c" 'd "e' f\ g "\x\"""#).unwrap(), r#"a|b c|d "e|f g|\x""#);
        assert_eq!(words("a '' #b").unwrap(), "a||#b");
        assert_eq!(words("a 'b"), None);
        assert_eq!(words("a \\"), None);
    }

    #[test]
    fn words_of_javascript() {
        let words = |line| js_words(line).join("|");
        assert_eq!(words(r#"a "b c" 'd "e' f\ g "\x\"""#), r#"a|b c|d "e|f g|\x""#);
        assert_eq!(words("a$B c # d"), "a|c");
        assert_eq!(words("*.py a;b ${X}/c"), "*.py|a|b|/c");
    }

    #[test]
    fn quotes() {
        assert_eq!(python_quote("a'b"), "'a'\"'\"'b'");
        assert_eq!(python_quote("x>=1"), "'x>=1'");
        assert_eq!(js_quote("x>=1"), r"x\>\=1");
        assert_eq!(js_quote("C:\\a b"), "'C:\\a b'");
        assert_eq!(js_quote("a:::"), r"a:\:\:");
        assert_eq!(js_quote("it's $5"), "\"it's \\$5\"");
        assert_eq!(js_quote("it's!"), "'it'\"'\"'s!'");
        assert_eq!(ascii_json("ü\"😀\n"), r#""\u00fc\"\ud83d\ude00\n""#);
    }
}
