//! Whose containers are whose, and what has become of a data directory's own.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use daytona_runtime::{Exited, Loss, Network, RuntimeError};
use futures_util::StreamExt as _;

use crate::run::blocking;
use crate::state::{Shape, State};
use crate::{Docker, Inner, LABEL_DATA, LABEL_SANDBOX, check_id, failed};

/// Why a container that nobody has asked to be removed is not there.
const REMOVED: &str = "its container was removed from the Docker engine, and with it all that the sandbox had written";
/// Between two tries to learn what the engine removes.
const AGAIN: Duration = Duration::from_millis(500);

/// How the things of one data directory are told from those of others.
#[derive(Debug)]
pub(crate) struct Names {
    /// The directory's identifier, which no other one has, not even a copy.
    pub(crate) id: String,
    /// What earlier versions have used: a digest of its path, which another folder in its place shares.
    pub(crate) earlier: String,
    /// How the names of containers begin.
    pub(crate) prefix: String,
}

impl Names {
    pub(crate) fn new(id: &str, data_dir: &Path) -> Self {
        let short: String = id.chars().take(12).collect();
        Self { id: id.to_owned(), earlier: crate::engine::earlier_name(data_dir), prefix: format!("daytona-{short}-") }
    }
}

/// Whose a container is, by its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This data directory's.
    This,
    /// That of a data directory in this place, made before those had identifiers: this one's if this one names it.
    Earlier,
    Other,
}

/// A container that this data directory has made and that no sandbox of it names any more.
#[derive(Clone, Debug)]
pub struct Leftover {
    /// Id of the container.
    pub container: String,
    /// Its name.
    pub name: String,
    /// Id of the sandbox that it was made for.
    pub sandbox: String,
    /// The image that it was made of.
    pub image: String,
}

impl Docker {
    /// Containers that this data directory has made and that no folder of it names any more. They are stopped, and stay.
    pub async fn leftovers(&self) -> Result<Vec<Leftover>, RuntimeError> {
        let inner = &self.inner;
        let (found, noted) = (inner.all_containers().await?, inner.noted_anywhere().await?);
        Ok(found.into_iter().filter_map(|container| inner.leftover(container, &noted)).collect())
    }

    /// Makes a folder that names one of [`Docker::leftovers`]: with it the container can be deleted.
    pub fn note_leftover(&self, leftover: &Leftover) -> Result<PathBuf, RuntimeError> {
        let folder = self.inner.data_dir.join("docker").join(&leftover.name);
        let shape = Shape { place: None, user: String::new(), network: Network::None, volumes: Vec::new() };
        let container = Some((leftover.container.clone(), shape));
        let state = State { image: leftover.image.clone(), own: false, entrypoint: None, size: 0, container };
        state.write(&folder)?;
        Ok(folder)
    }

    /// What a sandbox that does not run has lost, if its container was removed by somebody else.
    pub async fn loss(&self, id: &str) -> Result<Option<Loss>, RuntimeError> {
        check_id(id)?;
        match State::read(&self.sandbox_dir(id))? {
            Some(State { container: Some((container, _)), .. }) if self.inner.find(&container).await?.is_some() => {
                Ok(None)
            }
            Some(state) if state.container.is_some() => self.inner.loss(&state).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Ids of the sandboxes whose containers were removed by somebody else.
    pub async fn lost(&self) -> Result<Vec<String>, RuntimeError> {
        self.inner.lost().await
    }

    /// Has a sandbox whose container is lost begin again, with what [`Docker::loss`] has named.
    pub async fn begin_again(&self, id: &str) -> Result<(), RuntimeError> {
        let dir = self.sandbox_dir(id);
        match self.loss(id).await? {
            Some(Loss { instead: Some(_), .. }) => {}
            Some(loss) => return Err(RuntimeError::Lost(loss)),
            None => return Ok(()),
        }
        let Some(mut state) = State::read(&dir)? else { return Ok(()) };
        state.container = None;
        state.write(&dir)
    }
}

impl Inner {
    /// Filters for images of this data directory.
    pub(crate) fn own(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![format!("{LABEL_DATA}={}", self.names.id)])])
    }

    pub(crate) fn owner(&self, labels: Option<&HashMap<String, String>>) -> Owner {
        match labels.and_then(|labels| labels.get(LABEL_DATA)) {
            Some(name) if *name == self.names.id => Owner::This,
            Some(name) if *name == self.names.earlier => Owner::Earlier,
            _ => Owner::Other,
        }
    }

    /// What is lost with the container of a sandbox.
    pub(crate) async fn loss(&self, state: &State) -> Result<Loss, RuntimeError> {
        let image = self.image(&state.image).await?;
        let made = image.as_ref().and_then(|image| image.created.as_ref());
        let made = made.map_or_else(String::new, |made| format!(", made {made:.19}"));
        let instead = image.is_some().then(|| {
            if state.own {
                format!("with older files: those of the image {}{made}", state.image)
            } else {
                format!("with the image {} alone", state.image)
            }
        });
        Ok(Loss { what: REMOVED.to_owned(), instead })
    }

    async fn all_containers(&self) -> Result<Vec<ContainerSummary>, RuntimeError> {
        let label = HashMap::from([("label".to_owned(), vec![LABEL_DATA.to_owned()])]);
        let all = ListContainersOptionsBuilder::new().all(true).filters(&label).build();
        self.engine.list_containers(Some(all)).await.map_err(failed("list its containers"))
    }

    /// The containers that sandboxes of this data directory name, each with its sandbox.
    async fn noted(&self) -> Result<HashMap<String, String>, RuntimeError> {
        let folder = self.data_dir.join("sandboxes");
        blocking(move || Ok(folders(&folder).iter().filter_map(|dir| noted_in(dir)).collect())).await
    }

    /// And those of sandboxes in `lost+found`.
    async fn noted_anywhere(&self) -> Result<HashMap<String, String>, RuntimeError> {
        let lost = self.data_dir.join("lost+found");
        let noted = blocking(move || {
            let inside = folders(&lost).into_iter().flat_map(|folder| folders(&folder));
            Ok(inside.filter_map(|dir| noted_in(&dir)).collect::<Vec<_>>())
        });
        let (mut all, noted) = (self.noted().await?, noted.await?);
        all.extend(noted);
        Ok(all)
    }

    async fn lost(&self) -> Result<Vec<String>, RuntimeError> {
        let noted = self.noted().await?;
        let there: HashSet<String> = self.all_containers().await?.into_iter().filter_map(|found| found.id).collect();
        Ok(noted.into_iter().filter(|(container, _)| !there.contains(container)).map(|(_, id)| id).collect())
    }

    fn leftover(&self, container: ContainerSummary, noted: &HashMap<String, String>) -> Option<Leftover> {
        let own = self.owner(container.labels.as_ref()) == Owner::This;
        // Labels are inherited: by what a person has made of an image of a sandbox.
        let name = container.names?.iter().find_map(|name| {
            name.strip_prefix('/').filter(|name| name.starts_with(&self.names.prefix)).map(str::to_owned)
        })?;
        let id = container.id.filter(|id| own && !noted.contains_key(id))?;
        let sandbox = container.labels.and_then(|mut labels| labels.remove(LABEL_SANDBOX)).unwrap_or_default();
        Some(Leftover { container: id, name, sandbox, image: container.image.unwrap_or_default() })
    }

    /// Ends containers that a killed server has left. Those that no sandbox names are kept, unless nothing has ever run
    /// in them; those of others are left alone.
    pub(crate) async fn end_leftovers(&self) -> Result<(), RuntimeError> {
        let noted = self.noted_anywhere().await?;
        let work = self.all_containers().await?.into_iter().map(|container| self.end_leftover(container, &noted));
        futures_util::future::try_join_all(work.collect::<Vec<_>>()).await?;
        self.sweep_images().await;
        Ok(())
    }

    async fn end_leftover(
        &self,
        container: ContainerSummary,
        noted: &HashMap<String, String>,
    ) -> Result<(), RuntimeError> {
        use ContainerSummaryStateEnum as State;
        let Some(id) = container.id.clone() else { return Ok(()) };
        let state = container.state;
        let named = noted.contains_key(&id) && self.owner(container.labels.as_ref()) != Owner::Other;
        if !named {
            let Some(leftover) = self.leftover(container, noted) else { return Ok(()) };
            if state == Some(State::CREATED) {
                tracing::info!(container = leftover.name, "removed a container in which nothing had run");
                return self.remove_container(&id).await;
            }
            tracing::warn!(
                container = leftover.name,
                sandbox = leftover.sandbox,
                "no sandbox names this container any more: it is kept, stopped, until it is pruned"
            );
        }
        if state == Some(State::PAUSED) {
            let _ = self.engine.unpause_container(&id).await;
        }
        if matches!(state, Some(State::RUNNING | State::PAUSED | State::RESTARTING)) {
            tracing::info!(container = id, "ended what an earlier server has left running");
            self.kill(&id).await?;
        }
        Ok(())
    }

    /// Gives what is noted here names of this data directory's own: images that an earlier version has named, or the
    /// directory that this one is a copy of.
    pub(crate) async fn take_over_images(&self) -> Result<(), RuntimeError> {
        for folder in ["sandboxes", "snapshots", "archives"] {
            for dir in folders(&self.data_dir.join(folder)) {
                let Ok(Some(mut state)) = State::read(&dir) else { continue };
                let Some((repo, tag)) = state.image.rsplit_once(':') else { continue };
                if !state.own || repo == self.repo() || self.image(&state.image).await?.is_none() {
                    continue;
                }
                let old = state.image.clone();
                let earlier = repo == format!("daytona-native/{}", self.names.earlier);
                state.image = self.tag(&old, tag).await?;
                state.write(&dir)?;
                if earlier {
                    self.untag(&old).await;
                }
            }
        }
        Ok(())
    }

    /// Tells of sandboxes whose containers somebody removes; ends with the runtime.
    pub(crate) async fn watch_removals(inner: std::sync::Weak<Self>) {
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), vec!["destroy".to_owned()]),
            ("label".to_owned(), vec![LABEL_SANDBOX.to_owned()]),
        ]);
        loop {
            let Some(this) = inner.upgrade() else { return };
            let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
            let options = EventsOptionsBuilder::new().filters(&filters).since(&now.to_string()).build();
            let engine = this.engine.clone();
            let mut events = std::pin::pin!(engine.events(Some(options)));
            // What was removed while nobody looked.
            for id in this.lost().await.unwrap_or_default() {
                this.tell_lost(id);
            }
            let (this, exits) = (Arc::downgrade(&this), this.exits.clone());
            loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    () = exits.closed() => return,
                };
                let Some(Ok(event)) = event else { break };
                let sandbox =
                    event.actor.and_then(|actor| actor.attributes).and_then(|mut of| of.remove(LABEL_SANDBOX));
                let Some(this) = this.upgrade() else { return };
                if let Some(id) = sandbox.filter(|id| check_id(id).is_ok() && this.sandbox_dir(id).is_dir()) {
                    this.tell_lost(id);
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Whoever hears it looks for itself: this data directory removes containers too.
    fn tell_lost(&self, id: String) {
        let _ = self.exits.send(Exited { id, reason: "its container was removed".to_owned() });
    }
}

/// The container that a sandbox's folder names, and the sandbox.
fn noted_in(dir: &Path) -> Option<(String, String)> {
    let sandbox = dir.file_name()?.to_string_lossy().into_owned();
    let state = State::read(dir).unwrap_or_else(|error| {
        tracing::warn!("{error}");
        None
    });
    Some((state?.container?.0, sandbox))
}

/// The folders in one, in no order.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
