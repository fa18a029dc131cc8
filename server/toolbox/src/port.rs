//! The TCP ports that programs listen on.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use daytona_wire::preview::{PortInUse, PortList};

use crate::App;
use crate::error::{Error, Result};

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/port", get(list)).route("/port/{port}/in-use", get(in_use))
}

/// `GET /port`
async fn list(State(_): State<App>) -> Result<axum::Json<PortList>> {
    Ok(axum::Json(PortList { ports: listening()? }))
}

/// `GET /port/{port}/in-use`
async fn in_use(State(_): State<App>, Path(port): Path<String>) -> Result<axum::Json<PortInUse>> {
    let port = check(&port)?;
    Ok(axum::Json(PortInUse { is_in_use: listening()?.binary_search(&port).is_ok() }))
}

/// A port as a request names it.
pub(crate) fn check(port: &str) -> Result<u16> {
    port.parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| Error::bad_request(format!("{port:?} is no port; give a number from 1 to 65535")))
}

/// In order, each once.
fn listening() -> Result<Vec<u16>> {
    // What the process itself sees: its network namespace.
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(std::fs::read_to_string);
    if let [Err(error), Err(_)] = &tables {
        return Err(Error::io(error, "read", "/proc/self/net/tcp"));
    }
    let mut ports: Vec<u16> = tables.iter().flatten().flat_map(|table| table.lines().filter_map(parse)).collect();
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

/// The port of a line if it listens: number, local address, remote address, state.
fn parse(line: &str) -> Option<u16> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let (_, port) = local.rsplit_once(':')?;
    (state == LISTEN).then(|| u16::from_str_radix(port, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        assert_eq!(parse("  sl  local_address rem_address   st tx_queue rx_queue"), None);
        let line = |state: &str| format!("   0: 0100007F:0BB8 00000000:0000 {state} 00000000:00000000 00:00000000");
        assert_eq!(parse(&line("0A")), Some(3000));
        assert_eq!(parse(&line("01")), None);
        assert_eq!(parse("  1: 00000000000000000000000001000000:1F90 0000:0000 0A 0"), Some(8080));
    }

    #[test]
    fn ports() {
        assert_eq!(check("3000").unwrap(), 3000);
        for bad in ["0", "65536", "-1", "", "http"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
