//! What commands print: tables and colours for people, JSON for programs.

use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use daytona_core::wire::sandbox::SandboxState;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::context::{Failure, Outcome};

/// What a shell says of a program that writes to a closed pipe.
pub(crate) const BROKEN_PIPE: u8 = 128 + 13;
/// Blanks between columns.
const GAP: u16 = 2;
const ESCAPE: char = '\u{1b}';

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    fn on(self, terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

/// How to colour a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Dim,
    Good,
    Busy,
    Bad,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Busy => "33",
            Self::Bad => "31",
        }
    }

    /// Of a state: what runs, what rests, what is on its way, what has failed.
    pub(crate) fn of(state: SandboxState) -> Self {
        match state {
            SandboxState::Started => Self::Good,
            SandboxState::Stopped | SandboxState::Archived | SandboxState::Paused | SandboxState::Destroyed => {
                Self::Dim
            }
            SandboxState::Error | SandboxState::BuildFailed => Self::Bad,
            _ => Self::Busy,
        }
    }
}

/// Where output goes.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the two streams")]
pub(crate) struct Output {
    pub(crate) json: bool,
    color: bool,
    pub(crate) color_err: bool,
    /// Someone looks at the standard error.
    pub(crate) progress: bool,
    terminal: bool,
    /// Columns that there are.
    width: usize,
}

impl Output {
    pub(crate) fn new(json: bool, color: Color) -> Self {
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let size = if out { rustix::termios::tcgetwinsize(io::stdout()).ok() } else { None };
        let width = size.map(|size| usize::from(size.ws_col)).filter(|&width| width > 0).unwrap_or(usize::MAX);
        Self { json, color: color.on(out), color_err: color.on(err), progress: err && !json, terminal: out, width }
    }

    /// A line on the standard output. A reader that has gone ends the program without a word.
    #[expect(clippy::unused_self, reason = "beside the methods that need what is known of the output")]
    pub(crate) fn line(&self, text: impl AsRef<str>) -> Outcome {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_ref().as_bytes()).and_then(|()| stdout.write_all(b"\n"));
        written.and_then(|()| stdout.flush()).map_err(closed)
    }

    /// A JSON document on a line of its own, or on more for people.
    pub(crate) fn json(&self, value: &impl Serialize) -> Outcome {
        let text = if self.terminal { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        self.line(text.map_err(|error| Failure::new(error.to_string()))?)
    }

    /// Something to know on the standard error; not part of the result.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "daytona-native: {}", printable(text));
        }
    }

    /// What goes on meanwhile, on the standard error and as it is but for what a terminal would obey.
    pub(crate) fn aside(&self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{}", printable(text));
        }
    }

    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        if self.color && tone != Tone::Plain {
            return format!("{ESCAPE}[{}m{text}{ESCAPE}[0m", tone.code());
        }
        text.to_owned()
    }

    /// A table without lines, as wide as it has to be; `right` are the columns of numbers. Where the terminal is
    /// narrower, the `optional` columns are left out, the first one first.
    pub(crate) fn table(&self, header: &[&str], right: &[usize], optional: &[usize], rows: &[Vec<Text>]) -> Outcome {
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].0.chars().count());
            cells.chain([header[column].chars().count()]).max().unwrap_or_default()
        };
        let mut columns: Vec<usize> = (0..header.len()).collect();
        for left_out in optional {
            let whole: usize = columns.iter().map(|&column| width(column) + usize::from(GAP)).sum();
            if whole.saturating_sub(GAP.into()) <= self.width {
                break;
            }
            columns.retain(|column| column != left_out);
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if self.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(columns.iter().map(|&column| Cell::new(header[column]).add_attribute(Attribute::Bold)));
        for row in rows {
            table.add_row(columns.iter().map(|&column| {
                let text = &row[column];
                let cell = Cell::new(printable(&text.0));
                match text.1 {
                    Tone::Plain => cell,
                    Tone::Dim => cell.add_attribute(Attribute::Dim),
                    Tone::Good => cell.fg(comfy_table::Color::DarkGreen),
                    Tone::Busy => cell.fg(comfy_table::Color::DarkYellow),
                    Tone::Bad => cell.fg(comfy_table::Color::DarkRed),
                }
            }));
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, GAP));
            if right.contains(&columns[index]) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self.line(table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n"))
    }

    /// Names and values beneath each other.
    pub(crate) fn pairs(&self, pairs: &[(&str, Text)]) -> Outcome {
        let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default() + 2;
        for (name, Text(value, tone)) in pairs {
            let name = self.paint(Tone::Dim, &format!("{name:width$}"));
            self.line(format!("{name}{}", self.paint(*tone, &printable(value))))?;
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn closed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::Silent(BROKEN_PIPE);
    }
    Failure::new(format!("the output cannot be written: {error}"))
}

/// Returns when nobody reads the standard output any more, where that can be seen: at a pipe or a terminal.
pub(crate) async fn reader_gone() {
    let (tell, told) = oneshot::channel();
    // A thread, because not all that the output may be can be polled without waiting.
    std::thread::spawn(move || {
        let stdout = io::stdout();
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        while let Err(Errno::INTR) = poll(&mut watched, None) {}
        if watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            let _ = tell.send(());
        } else {
            std::mem::forget(tell);
        }
    });
    let _ = told.await;
}

/// A text and its colour.
#[derive(Clone, Debug)]
pub(crate) struct Text(pub(crate) String, pub(crate) Tone);

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        Self(text.into(), Tone::Plain)
    }
}

/// Without what a terminal would take for a command: names and errors come from elsewhere.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

/// How long ago something was: `3m ago`.
pub(crate) fn ago(time: Option<&str>) -> String {
    let Some(seconds) = time.and_then(seconds_since) else { return "-".to_owned() };
    match seconds {
        ..60 => format!("{}s ago", seconds.max(0)),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// Seconds since a time in RFC 3339.
pub(crate) fn seconds_since(time: &str) -> Option<i64> {
    let then: jiff::Timestamp = time.parse().ok()?;
    Some(jiff::Timestamp::now().as_second() - then.as_second())
}

/// Without a fraction that says nothing.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n"), "a\u{fffd}[2Jb\u{fffd}\n");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!((number(4.0), number(0.5), number(10.0)), ("4".to_owned(), "0.5".to_owned(), "10".to_owned()));
    }

    #[test]
    fn times_are_told_from_now() {
        assert_eq!(ago(None), "-");
        assert_eq!(ago(Some("2000-01-01T00:00:00Z")).rsplit_once(' ').unwrap().1, "ago");
    }
}
