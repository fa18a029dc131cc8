//! Names: looked up by the host's own resolvers, within the sandbox's limits.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use daytona_runtime::GATEWAY;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::Shared;

pub(super) const PORT: u16 = 53;
/// The name of the host, where its services may be reached.
pub(super) const HOST: &str = "host.daytona.internal";
/// How long one resolver may take; there may be several.
const PATIENCE: Duration = Duration::from_secs(5);
/// A connection without a question ends.
const IDLE: Duration = Duration::from_secs(30);

/// How a question came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Udp,
    Tcp,
}

/// The answer to a question; none to nonsense.
pub(super) async fn answer(shared: &Shared, question: &[u8], way: Way) -> Option<Vec<u8>> {
    let message = Message::from_vec(question).ok()?;
    if message.metadata.message_type != MessageType::Query {
        return None;
    }
    let [query] = message.queries.as_slice() else {
        return reply(&message, ResponseCode::FormErr, None);
    };
    if message.metadata.op_code != OpCode::Query {
        return reply(&message, ResponseCode::NotImp, None);
    }
    let name = query.name.to_ascii().to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    if !shared.policy().allows_name(name) || (name == HOST && !shared.host_services) {
        // Not "refused": some resolvers would wait for another answer.
        return reply(&message, ResponseCode::NXDomain, None);
    }
    if name == HOST {
        let address = (query.query_type == RecordType::A).then_some(GATEWAY);
        let answer = reply(&message, ResponseCode::NoError, address)?;
        note(shared, name, &answer);
        return Some(answer);
    }
    for resolver in resolvers().await {
        let asked = tokio::time::timeout(PATIENCE, ask(resolver, question, way)).await;
        let Ok(Ok(answer)) = asked else {
            continue;
        };
        note(shared, name, &answer);
        return Some(answer);
    }
    reply(&message, ResponseCode::ServFail, None)
}

fn reply(question: &Message, code: ResponseCode, address: Option<Ipv4Addr>) -> Option<Vec<u8>> {
    let mut reply = Message::error_msg(question.metadata.id, question.metadata.op_code, code);
    reply.metadata.recursion_desired = question.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    for query in &question.queries {
        reply.add_query(query.clone());
        if let Some(address) = address {
            reply.add_answer(Record::from_rdata(query.name.clone(), 60, RData::A(A(address))));
        }
    }
    reply.to_vec().ok()
}

/// Asks for the addresses of a name as a program would, and notes them; `false` where that is no name.
pub(super) async fn look_up(shared: &Shared, name: &str) -> bool {
    let Ok(name) = Name::from_ascii(format!("{name}.")) else {
        return false;
    };
    let mut question = Message::new(rand_id(), MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name, RecordType::A));
    match question.to_vec() {
        Ok(question) => answer(shared, &question, Way::Udp).await.is_some(),
        Err(_) => false,
    }
}

/// A number that nobody guesses who would answer in a resolver's place.
fn rand_id() -> u16 {
    getrandom::u32().unwrap_or_default().to_le_bytes()[..2].try_into().map_or(0, u16::from_le_bytes)
}

/// Remembers where a name leads.
fn note(shared: &Shared, name: &str, answer: &[u8]) {
    let Ok(answer) = Message::from_vec(answer) else {
        return;
    };
    let mut known = shared.known();
    for record in &answer.answers {
        if let RData::A(A(address)) = record.data {
            known.add(name, address, record.ttl);
        }
    }
}

/// The host's resolvers, read again each time: laptops move.
async fn resolvers() -> Vec<SocketAddr> {
    let text = tokio::fs::read_to_string("/etc/resolv.conf").await.unwrap_or_default();
    listed(&text)
}

fn listed(text: &str) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = (words.next()? == "nameserver").then(|| words.next())??;
            // A link-local address may name its interface.
            let (address, scope) = address.split_once('%').unwrap_or((address, ""));
            Some(match address.parse::<IpAddr>().ok()? {
                IpAddr::V6(address) if !scope.is_empty() => scoped(address, scope),
                address => SocketAddr::new(address, PORT),
            })
        })
        .collect();
    if found.is_empty() {
        found.push(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)));
    }
    found
}

fn scoped(address: Ipv6Addr, scope: &str) -> SocketAddr {
    let read = || std::fs::read_to_string(format!("/sys/class/net/{scope}/ifindex")).ok();
    let index = scope.parse().ok().or_else(|| read()?.trim().parse().ok()).unwrap_or(0);
    std::net::SocketAddrV6::new(address, PORT, 0, index).into()
}

async fn ask(resolver: SocketAddr, question: &[u8], way: Way) -> io::Result<Vec<u8>> {
    if way == Way::Tcp {
        let mut stream = TcpStream::connect(resolver).await?;
        write(&mut stream, question).await?;
        return read(&mut stream).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
    }
    let any: SocketAddr = match resolver {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut answer = vec![0; 1 << 16];
    loop {
        let length = socket.recv(&mut answer).await?;
        // The question's number; all else is not an answer to it.
        if length > 2 && answer[..2] == question[..2] {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

/// Answers the questions of one connection until it ends.
pub(super) async fn serve(shared: &Shared, mut stream: impl AsyncStream) -> io::Result<()> {
    while let Some(question) = tokio::time::timeout(IDLE, read(&mut stream)).await?? {
        let Some(answer) = answer(shared, &question, Way::Tcp).await else {
            break;
        };
        write(&mut stream, &answer).await?;
    }
    stream.shutdown().await
}

pub(super) trait AsyncStream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> AsyncStream for T {}

async fn read(stream: &mut impl AsyncStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        length => length?,
    };
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

async fn write(stream: &mut impl AsyncStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_those_of_the_host() {
        let text = "# nameserver 192.0.2.9\nsearch lan\nnameserver 127.0.0.53\nnameserver  ::1 \nnameserver x\n";
        assert_eq!(listed(text), ["127.0.0.53:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
        assert_eq!(listed(""), ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!(listed("nameserver fe80::1%3"), ["[fe80::1%3]:53".parse().unwrap()]);
    }
}
