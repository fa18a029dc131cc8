//! One client of the SSH server.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use daytona_wire::tunnel::{Size, Start};
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Session};
use russh::{Channel, ChannelId, Disconnect, Error, Pty, Sig};
use tokio::sync::oneshot;

use super::Stranger;
use super::channel::{self, Output};
use super::input::{Input, Order};
use crate::App;
use crate::access::Digest;
use crate::proxy::wait_for_start;
use crate::sandbox::{Activity, Live, Sandbox};

/// Channels of one connection.
const CHANNELS: usize = 100;
/// The subsystem that moves files.
const FILES: &str = "sftp";

pub(super) struct Client {
    app: Weak<App>,
    stranger: Option<Stranger>,
    guest: Option<Guest>,
    channels: HashMap<ChannelId, State>,
}

/// Who has shown a token.
struct Guest {
    sandbox: Arc<Sandbox>,
    digest: Digest,
    live: Option<Arc<Live>>,
    /// Ends what looks after the connection.
    connected: Option<oneshot::Sender<()>>,
    _activity: Activity,
}

/// A channel, and what was asked for before anything runs on it.
#[derive(Default)]
struct State {
    output: Option<Output>,
    input: Arc<Input>,
    start: Start,
}

impl Client {
    pub(super) fn new(app: Weak<App>, stranger: Stranger) -> Self {
        Self { app, stranger: Some(stranger), guest: None, channels: HashMap::new() }
    }

    async fn admit(&mut self, token: &str) -> Auth {
        let digest = Digest::of(token);
        let found = self
            .app
            .upgrade()
            .and_then(|app| app.sandboxes.all().into_iter().find(|sandbox| sandbox.record().access.lets_in(&digest)));
        let Some(sandbox) = found else {
            return Auth::reject();
        };
        // The start of its sandbox may take longer than a stranger may.
        self.stranger = None;
        wait_for_start(&sandbox).await;
        let (live, activity) = (sandbox.reachable(), Activity::begin(&sandbox));
        tracing::info!(sandbox = %sandbox.id, "an SSH client came");
        self.guest = Some(Guest { sandbox, digest, live, connected: None, _activity: activity });
        Auth::Accept
    }

    /// The agent, or why there is none.
    fn live(&self) -> Result<Arc<Live>, String> {
        let guest = self.guest.as_ref().ok_or("not let in")?;
        guest.live.clone().or_else(|| guest.sandbox.reachable()).ok_or_else(|| guest.sandbox.not_running().message)
    }

    fn size(cols: u32, rows: u32) -> Size {
        let within = |count: u32, default: u16| match u16::try_from(count) {
            Ok(0) | Err(_) => default,
            Ok(count) => count,
        };
        Size { cols: within(cols, 80), rows: within(rows, 24) }
    }

    /// Runs a command, or a shell, on a channel that nothing runs on.
    fn run(&mut self, id: ChannelId, command: Option<String>, session: &mut Session) -> Result<(), Error> {
        let live = self.live();
        let state = self.channels.get_mut(&id);
        let Some((output, input, start)) = state.and_then(|state| {
            let output = state.output.take()?;
            Some((output, Arc::clone(&state.input), std::mem::take(&mut state.start)))
        }) else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        tokio::spawn(channel::program(live, Start { command, ..start }, output, input));
        Ok(())
    }

    fn input(&self, id: ChannelId) -> Option<&Arc<Input>> {
        self.channels.get(&id).map(|state| &state.input)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        for state in self.channels.values() {
            state.input.close();
        }
    }
}

/// Ends the connection with its sandbox, or when its token is taken back.
async fn look_after(
    app: Weak<App>,
    sandbox: Arc<Sandbox>,
    digest: Digest,
    live: Option<Arc<Live>>,
    session: russh::server::Handle,
    gone: oneshot::Receiver<()>,
) {
    let Some(mut revoked) = app.upgrade().map(|app| app.ssh.subscribe()) else {
        return;
    };
    let taken_back = async {
        // One that expires while it is used may be used on.
        while sandbox.record().access.ssh.as_ref().is_some_and(|grant| grant.digest == digest) {
            if revoked.changed().await.is_err() {
                return;
            }
        }
    };
    let ended = async {
        match live {
            Some(live) => live.gone().await,
            None => std::future::pending().await,
        }
    };
    let why = tokio::select! {
        _ = gone => return,
        () = taken_back => "the token was taken back",
        () = ended => "the sandbox has ended",
    };
    let _ = session.disconnect(Disconnect::ByApplication, why.to_owned(), "en".to_owned()).await;
}

impl Handler for Client {
    type Error = Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Error> {
        Ok(self.admit(user).await)
    }

    /// For clients that insist on one: the token is enough.
    async fn auth_password(&mut self, user: &str, _: &str) -> Result<Auth, Error> {
        Ok(self.admit(user).await)
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Error> {
        if let Some(guest) = &mut self.guest {
            let (connected, gone) = oneshot::channel();
            guest.connected = Some(connected);
            let (sandbox, digest, live) = (Arc::clone(&guest.sandbox), guest.digest.clone(), guest.live.clone());
            tokio::spawn(look_after(self.app.clone(), sandbox, digest, live, session.handle(), gone));
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        if self.channels.len() < CHANNELS {
            let (_, output) = channel.split();
            self.channels.insert(output.id(), State { output: Some(output), ..State::default() });
            reply.accept().await;
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        if self.channels.len() < CHANNELS {
            let (_, output) = channel.split();
            let input = Arc::<Input>::default();
            self.channels.insert(output.id(), State { input: Arc::clone(&input), ..State::default() });
            tokio::spawn(channel::port(self.live(), (host.to_owned(), port), reply, output, input));
        }
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        cols: u32,
        rows: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Error> {
        if let Some(state) = self.channels.get_mut(&id) {
            state.start.terminal = Some(Self::size(cols, rows));
            state.start.env.insert("TERM".to_owned(), term.to_owned());
        }
        session.channel_success(id)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        if let Some(state) = self.channels.get_mut(&id) {
            let env: &mut BTreeMap<String, String> = &mut state.start.env;
            env.insert(name.to_owned(), value.to_owned());
        }
        session.channel_success(id)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        self.run(id, None, session)
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Error> {
        self.run(id, Some(String::from_utf8_lossy(command).into_owned()), session)
    }

    async fn subsystem_request(&mut self, id: ChannelId, name: &str, session: &mut Session) -> Result<(), Error> {
        let live = self.live();
        let taken = self.channels.get_mut(&id).filter(|_| name == FILES).and_then(|state| {
            let output = state.output.take()?;
            Some((output, Arc::clone(&state.input)))
        });
        match taken {
            Some((output, input)) => {
                session.channel_success(id)?;
                tokio::spawn(channel::files(live, output, input));
                Ok(())
            }
            None => session.channel_failure(id),
        }
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        cols: u32,
        rows: u32,
        _: u32,
        _: u32,
        _: &mut Session,
    ) -> Result<(), Error> {
        if let Some(input) = self.input(id) {
            input.push(Order::Resize(Self::size(cols, rows)));
        }
        Ok(())
    }

    async fn signal(&mut self, id: ChannelId, signal: Sig, _: &mut Session) -> Result<(), Error> {
        if let Some(input) = self.input(id) {
            let name = match signal {
                Sig::Custom(name) => name,
                // Named as the signal is.
                known => format!("{known:?}"),
            };
            input.push(Order::Signal(name));
        }
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], _: &mut Session) -> Result<(), Error> {
        if let Some(input) = self.input(id) {
            input.push(Order::Data(Bytes::copy_from_slice(data)));
            input.pace().await;
        }
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Error> {
        if let Some(input) = self.input(id) {
            input.push(Order::Eof);
        }
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Error> {
        if let Some(state) = self.channels.remove(&id) {
            state.input.close();
        }
        Ok(())
    }
}
