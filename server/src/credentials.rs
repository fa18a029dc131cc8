//! What lets a request through to one sandbox.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::App;
use crate::sandbox::Sandbox;

pub(crate) const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-daytona-preview-token");
pub(crate) const TOKEN_QUERY: &str = "DAYTONA_SANDBOX_AUTH_KEY";
const COOKIE_PREFIX: &str = "daytona-sandbox-auth-";

/// Where a credential was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    Header,
    Query,
}

/// Whether the request carries the API key or the sandbox's preview token.
pub(crate) fn given(app: &App, sandbox: &Sandbox, headers: &HeaderMap, query: &str) -> Option<Given> {
    let is_token = |value: &[u8]| sandbox.preview_token.is(value);
    let bearer = || app.key.allows(headers) || bearer(headers).is_some_and(is_token);
    let own = || headers.get(TOKEN_HEADER).is_some_and(|value| is_token(value.as_bytes()));
    let cookie =
        || cookies(headers).any(|(name, value)| name == cookie_name(&sandbox.id) && is_token(value.as_bytes()));
    if bearer() || own() || cookie() {
        return Some(Given::Header);
    }
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.any(|(name, value)| name == TOKEN_QUERY && is_token(value.as_bytes())).then_some(Given::Query)
}

/// Leaves the program's own credentials and removes ours.
pub(crate) fn strip(app: &App, sandbox: &Sandbox, headers: &mut HeaderMap) {
    if app.key.allows(headers) || bearer(headers).is_some_and(|token| sandbox.preview_token.is(token)) {
        headers.remove(header::AUTHORIZATION);
    }
    headers.remove(TOKEN_HEADER);
    if cookies(headers).any(|(name, _)| name.starts_with(COOKIE_PREFIX)) {
        let rest: Vec<String> = cookies(headers)
            .filter(|(name, _)| !name.starts_with(COOKIE_PREFIX))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        headers.remove(header::COOKIE);
        if let Some(rest) = HeaderValue::from_str(&rest.join("; ")).ok().filter(|rest| !rest.is_empty()) {
            headers.insert(header::COOKIE, rest);
        }
    }
}

/// The query without the credential that it may carry.
pub(crate) fn without_token(query: &str) -> String {
    if !query.contains(TOKEN_QUERY) {
        return query.to_owned();
    }
    let is_token = |pair: &&str| pair.split('=').next() == Some(TOKEN_QUERY);
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_token(pair)).collect();
    rest.join("&")
}

/// A cookie that carries the token from then on.
pub(crate) fn set_cookie(sandbox: &Sandbox, token: &str, path: &str) -> String {
    format!("{}={token}; Path={path}; HttpOnly; SameSite=Lax", cookie_name(&sandbox.id))
}

fn cookie_name(id: &str) -> String {
    format!("{COOKIE_PREFIX}{id}")
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_loses_only_the_token() {
        assert_eq!(without_token("a=1&DAYTONA_SANDBOX_AUTH_KEY=x&b=%20"), "a=1&b=%20");
        assert_eq!(without_token("DAYTONA_SANDBOX_AUTH_KEY=x"), "");
        assert_eq!(without_token("a=DAYTONA_SANDBOX_AUTH_KEY"), "a=DAYTONA_SANDBOX_AUTH_KEY");
    }
}
