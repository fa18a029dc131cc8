//! Words and variables, as Dockerfiles have them: a small part of what a shell knows.

/// Why a text cannot be expanded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WordError {
    /// It is wrong.
    Bad(String),
    /// It is right, but not done here.
    Unsupported(String),
}

/// Splits at white space outside quotes. Quotes and escapes stay.
pub(crate) fn split(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
        if c == escape && quote != Some('\'') {
            word.extend(chars.next());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Takes quotes and escapes off and puts values for variables.
pub(crate) fn expand(text: &str, escape: char, value: &dyn Fn(&str) -> Option<String>) -> Result<String, WordError> {
    let mut reader = Reader { rest: text, escape, value };
    reader.word(None)
}

/// Puts values for variables and leaves all else: the body of a here-document.
pub(crate) fn expand_body(text: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String, WordError> {
    let mut reader = Reader { rest: text, escape: '\\', value };
    let mut done = String::with_capacity(text.len());
    while let Some(c) = reader.next() {
        match c {
            '$' => done.push_str(&reader.variable()?),
            '\\' if reader.rest.starts_with('$') => done.extend(reader.next()),
            _ => done.push(c),
        }
    }
    Ok(done)
}

struct Reader<'a> {
    rest: &'a str,
    escape: char,
    value: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        Some(c)
    }

    /// Up to the end, or to the character named, which is taken.
    fn word(&mut self, end: Option<char>) -> Result<String, WordError> {
        let mut done = String::new();
        loop {
            let Some(c) = self.next() else {
                return match end {
                    None => Ok(done),
                    Some(end) => Err(WordError::Bad(format!("a variable does not end: {end} is missing"))),
                };
            };
            match c {
                _ if Some(c) == end => return Ok(done),
                '\'' => loop {
                    match self.next() {
                        Some('\'') => break,
                        Some(c) => done.push(c),
                        None => return Err(WordError::Bad("a quote ' does not end".to_owned())),
                    }
                },
                '"' => self.quoted(&mut done)?,
                '$' => done.push_str(&self.variable()?),
                _ if c == self.escape => match self.next() {
                    Some(next) => done.push(next),
                    None => done.push(c),
                },
                _ => done.push(c),
            }
        }
    }

    fn quoted(&mut self, done: &mut String) -> Result<(), WordError> {
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('$') => done.push_str(&self.variable()?),
                Some(c) if c == self.escape => match self.next() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => done.push(next),
                    Some(next) => done.extend([c, next]),
                    None => return Err(WordError::Bad("a quote \" does not end".to_owned())),
                },
                Some(c) => done.push(c),
                None => return Err(WordError::Bad("a quote \" does not end".to_owned())),
            }
        }
    }

    /// What follows a dollar sign.
    fn variable(&mut self) -> Result<String, WordError> {
        if let Some(rest) = self.rest.strip_prefix('{') {
            self.rest = rest;
            return self.braced();
        }
        match self.name() {
            "" => Ok("$".to_owned()),
            name => Ok((self.value)(name).unwrap_or_default()),
        }
    }

    fn braced(&mut self) -> Result<String, WordError> {
        let name = self.name();
        if name.is_empty() {
            return Err(WordError::Bad(format!("no name of a variable at ${{{}", self.rest)));
        }
        let value = (self.value)(name);
        let mut operator = self.next();
        let colon = operator == Some(':');
        if colon {
            operator = self.next();
        }
        // With a colon an empty value is as good as none.
        let set = value.as_ref().is_some_and(|value| !colon || !value.is_empty());
        match operator {
            Some('}') if !colon => Ok(value.unwrap_or_default()),
            Some('-') => {
                let other = self.word(Some('}'))?;
                Ok(value.filter(|_| set).unwrap_or(other))
            }
            Some('+') => {
                let other = self.word(Some('}'))?;
                Ok(if set { other } else { String::new() })
            }
            Some('?') => {
                let why = self.word(Some('}'))?;
                value.filter(|_| set).ok_or_else(|| WordError::Bad(format!("{name}: {why}")))
            }
            Some(operator @ ('#' | '%' | '/')) => {
                Err(WordError::Unsupported(format!("the operator {operator} in ${{{name}{operator}…}}")))
            }
            Some(operator) => Err(WordError::Bad(format!("unknown operator {operator} in ${{{name}…}}"))),
            None => Err(WordError::Bad(format!("the variable ${{{name} does not end: }} is missing"))),
        }
    }
}

impl<'a> Reader<'a> {
    /// Letters, digits and underscores; a digit at the beginning stands alone.
    fn name(&mut self) -> &'a str {
        let length = match self.rest.chars().next() {
            Some(c) if c.is_ascii_digit() => 1,
            _ => self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(self.rest.len()),
        };
        let (name, rest) = self.rest.split_at(length);
        self.rest = rest;
        name
    }
}
