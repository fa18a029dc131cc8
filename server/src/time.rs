//! Wall clock times as the API and the store write them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(crate) type Millis = i64;

/// One minute.
pub(crate) const MINUTE: Millis = 60_000;

/// The time.
pub(crate) fn now() -> Millis {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| Millis::try_from(age.as_millis()).unwrap_or(Millis::MAX))
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(millis: Millis) -> String {
    jiff::Timestamp::from_millisecond(millis).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Reads RFC 3339; a time without an offset is UTC.
pub(crate) fn parse(text: &str) -> Option<Millis> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    let local: jiff::civil::DateTime = text.parse().ok()?;
    let utc = local.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(utc.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_there_and_back() {
        assert_eq!(rfc3339(1_700_000_000_120), "2023-11-14T22:13:20.120Z");
        assert_eq!(parse("2023-11-14T22:13:20.120Z"), Some(1_700_000_000_120));
        assert_eq!(parse("2023-11-14T23:13:20.120+01:00"), Some(1_700_000_000_120));
        assert_eq!(parse("2023-11-14T22:13:20"), Some(1_700_000_000_000));
        assert_eq!(parse("2023-11-14"), Some(1_699_920_000_000));
        assert_eq!(parse("yesterday"), None);
    }
}
