//! The host's view in the place of an image: opted in, and said everywhere.

use std::collections::HashSet;

/// The same Dockerfile with nothing in the place of its base images: its steps run upon the host's view.
pub(super) fn upon_the_host(dockerfile: &str) -> String {
    let mut stages = HashSet::new();
    let mut text = String::new();
    for line in dockerfile.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_from = words.first().is_some_and(|word| word.eq_ignore_ascii_case("FROM"));
        let name = words.iter().skip(1).position(|word| !word.starts_with("--")).map(|index| index + 1);
        match name.filter(|_| is_from) {
            Some(at) if !stages.contains(&words[at].to_lowercase()) => {
                text.push_str("FROM scratch");
                for word in &words[at + 1..] {
                    text.push(' ');
                    text.push_str(word);
                }
            }
            _ => text.push_str(line),
        }
        text.push('\n');
        if is_from
            && let [.., word, stage] = &words[..]
            && word.eq_ignore_ascii_case("AS")
        {
            stages.insert(stage.to_lowercase());
        }
    }
    text
}

/// Whether there is nothing to be built.
pub(super) fn is_only_a_name(dockerfile: &str) -> bool {
    dockerfile
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .all(|line| line == "FROM scratch")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_images_are_replaced() {
        let dockerfile = "ARG V=1\nFROM --platform=linux/amd64 a:$V AS One\nRUN x\nfrom one\nCOPY --from=One /a /b\n";
        let upon = "ARG V=1\nFROM scratch AS One\nRUN x\nfrom one\nCOPY --from=One /a /b\n";
        assert_eq!(upon_the_host(dockerfile), upon);
        assert!(is_only_a_name(&upon_the_host("FROM debian:12\n\n# only that\n")));
        assert!(!is_only_a_name(&upon_the_host("FROM debian:12\nENV A=b\n")));
    }
}
