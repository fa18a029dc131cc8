//! Running one program given as text.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use axum::extract::State;
use daytona_wire::environment::LONGEST_TEXT;
use daytona_wire::process::{CodeRunRequest, CodeRunResponse};

use crate::App;
use crate::body::Json;
use crate::chart::Charts;
use crate::error::{Error, Result};
use crate::process::{self, ARGUMENT_LIMIT, Outcome, Program};
use crate::typescript;

/// `POST /process/code-run`
///
/// The program is handed to the interpreter itself, never through a file of the sandbox: imports
/// start at the work dir, and tracebacks name `<string>`, or `<stdin>` where the program is too
/// long for an argument.
pub(crate) async fn code_run(
    State(app): State<App>,
    Json(request): Json<CodeRunRequest>,
) -> Result<axum::Json<CodeRunResponse>> {
    let argv = request.argv.unwrap_or_default();
    if request.code.contains('\0') || argv.iter().any(|arg| arg.contains('\0')) {
        return Err(Error::bad_request(
            "the code or an argument holds a NUL byte; remove it, or write it as an escape",
        ));
    }
    if let Some(long) = argv.iter().position(|word| word.len() >= LONGEST_TEXT) {
        return Err(Error::bad_request(format!(
            "argv[{long}] is too long: Linux starts nothing with {LONGEST_TEXT} bytes (128 KiB) or more in one argument; \
             write it to a file, and give the file's path"
        )));
    }
    let mut env = process::environment(&app, request.envs)?;
    let language = request.language.to_ascii_lowercase();
    let charts =
        (language == "python" && Charts::wanted(&request.code)).then(|| Charts::prepare(&mut env)).transpose()?;
    let path = search_path(&env);
    let command = match language.as_str() {
        "python" => python(path, request.code, argv),
        "javascript" => javascript(path, request.code, argv),
        "typescript" => {
            let path = path.to_owned();
            let work = move || typescript(&path, request.code, argv);
            tokio::task::spawn_blocking(work)
                .await
                .map_err(|_| Error::internal("the TypeScript compiler broke off; try again"))?
        }
        other => {
            return Err(Error::bad_request(format!(
                "unknown language {other:?}; use python, javascript or typescript"
            )));
        }
    };
    let outcome = match command {
        Ok(Interpreter { path, args, stdin }) => {
            let stdin = stdin.as_deref().map(process::as_stdin).transpose()?;
            process::run(Program {
                path,
                args,
                cwd: app.config.work_dir.clone(),
                env,
                stdin,
                timeout: process::limit(request.timeout),
            })
            .await?
        }
        Err(missing) => missing,
    };
    let artifacts = match charts {
        Some(charts) => tokio::task::spawn_blocking(|| charts.collect()).await.unwrap_or_default(),
        None => None,
    };
    Ok(axum::Json(CodeRunResponse { exit_code: outcome.exit_code, result: outcome.result, artifacts }))
}

/// An interpreter, told what to run.
struct Interpreter {
    path: PathBuf,
    args: Vec<OsString>,
    /// The program, where it is too long for an argument.
    stdin: Option<String>,
}

type Command = std::result::Result<Interpreter, Outcome>;

fn python(path: &str, code: String, arguments: Vec<String>) -> Command {
    let interpreter = find_python(path).ok_or_else(|| Outcome::not_started(NO_PYTHON))?;
    let mut args: Vec<OsString> = vec!["-u".into()];
    let stdin = if code.len() > ARGUMENT_LIMIT {
        args.push("-".into());
        Some(code)
    } else {
        args.extend(["-c".into(), code.into()]);
        None
    };
    args.extend(arguments.into_iter().map(OsString::from));
    Ok(Interpreter { path: interpreter, args, stdin })
}

fn javascript(path: &str, code: String, arguments: Vec<String>) -> Command {
    Ok(node(find_node(path)?, Vec::new(), code, arguments))
}

/// Whatever Node.js is there runs what the agent's own compiler has left of the types.
fn typescript(path: &str, code: String, arguments: Vec<String>) -> Command {
    let interpreter = find_node(path)?;
    let module = typescript::erase(code).map_err(|why| Outcome { exit_code: 1, result: why })?;
    let options = vec!["--enable-source-maps".into(), "--input-type=module".into()];
    Ok(node(interpreter, options, module, arguments))
}

pub(crate) const NO_PYTHON: &str =
    "python3 is not installed in this sandbox; install it, for example with `apt-get install python3`";

pub(crate) fn find_python(path: &str) -> Option<PathBuf> {
    find(path, &["python3", "python"])
}

fn find_node(path: &str) -> std::result::Result<PathBuf, Outcome> {
    find(path, &["node", "nodejs"]).ok_or_else(|| {
        Outcome::not_started(
            "node is not installed in this sandbox; install Node.js 20 or newer, \
             for example with `apt-get install nodejs`",
        )
    })
}

fn node(path: PathBuf, mut args: Vec<OsString>, code: String, arguments: Vec<String>) -> Interpreter {
    let stdin = if code.len() > ARGUMENT_LIMIT {
        args.push("-".into());
        Some(code)
    } else {
        // Node takes no empty program. The name stands where a file's would, so that arguments
        // start at process.argv[2].
        args.extend([format!("--eval={code}\n"), "--".into(), "[eval]".into()].map(OsString::from));
        None
    };
    args.extend(arguments.into_iter().map(OsString::from));
    Interpreter { path, args, stdin }
}

pub(crate) fn search_path(env: &BTreeMap<String, String>) -> &str {
    env.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str)
}

/// The first of `names` on `path`.
pub(crate) fn find(path: &str, names: &[&str]) -> Option<PathBuf> {
    names.iter().find_map(|name| {
        std::env::split_paths(path)
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join(name))
            .find(|file| executable(file))
    })
}

fn executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
