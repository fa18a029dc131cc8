//! The calls of terminal backends and of sandbox providers.

use daytona_core::{
    CapabilityProfile, Config, Daytona, Result, SandboxHandle, SandboxProvider, TERMINAL_IMAGES, TerminalBackend,
    TerminalConfig, TerminalOptions,
};
use serde_json::{Value, json};

use crate::calls::{Outcome, arg};
use crate::processes::{followed, streamed};
use crate::values::Saved;

pub(crate) async fn on_terminal(
    method: &str,
    client: &Daytona,
    target: Option<&Saved>,
    args: &Value,
) -> Result<Outcome> {
    match method {
        "new" => {
            let config = match &args["config"] {
                Value::String(yaml) => TerminalConfig::from_yaml(yaml)?,
                config => TerminalConfig::read(config)?,
            };
            return Ok(Outcome::backend(TerminalBackend::new(client, config)));
        }
        "images" => return Ok(TERMINAL_IMAGES.into()),
        _ => {}
    }
    let Some(Saved::Backend(backend)) = target else { panic!("terminal.{method} needs a terminal backend") };
    let options = || TerminalOptions { cwd: arg(args, "cwd"), env: arg(args, "env"), timeout: arg(args, "timeout") };
    let command = || arg::<String>(args, "command");
    match method {
        "config" => Ok(backend.config().into()),
        "run" => {
            let stdin: Option<String> = arg(args, "stdin");
            backend.run(&command(), options(), stdin.map(Into::into)).await.map(Outcome::from)
        }
        "stream" => streamed(backend.exec(&command(), options()).await?, args).await.map(Outcome::from),
        "close" => backend.close(None).await.map(Outcome::from),
        "destroy" => backend.destroy(None).await.map(Outcome::from),
        _ => panic!("unknown call terminal.{method}"),
    }
}

pub(crate) async fn on_provider(method: &str, target: Option<&Saved>, args: &Value) -> Result<Outcome> {
    match method {
        "new" => {
            let key: Option<String> = arg(args, "api_key");
            let settings = Config { api_key: key.map(Into::into), ..Config::default() };
            return Ok(Outcome::provider(SandboxProvider::new(&args["pool"], settings)?));
        }
        "profile" => return Ok(CapabilityProfile::classic().into()),
        _ => {}
    }
    let Some(Saved::Provider(provider)) = target else { panic!("provider.{method} needs a sandbox provider") };
    match method {
        "pool" => Ok(provider.pool().into()),
        "follow_logs" => followed(provider.stream_logs(&SandboxHandle::read(&args["handle"])?).await?).await,
        "capacity" => Ok(json!(provider.capacity(None).await?.regions).into()),
        _ => provider.service(method, args, None).await.map(Outcome::from),
    }
}
