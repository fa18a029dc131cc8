//! Real sandboxes: made, used, ended, killed.
//!
//! As root the tests run twice, the second time as a normal user.

#[path = "../support/mod.rs"]
mod support;

mod escape;
mod inside;
mod life;
mod limits;
mod state;
mod world;

use std::process::{Command, ExitCode};
use std::time::Duration;

use daytona_runtime::{Runtime, RuntimeChoice, RuntimeKind, launcher_main, spawn_launcher};
use libtest_mimic::{Arguments, Failed, Trial};

use world::Outcome;

/// Runs the tests of the role this variable names.
const ROLE: &str = "RUNTIME_TESTS_AS";

fn main() -> ExitCode {
    if std::env::args().skip(1).eq(["launcher"]) {
        return launcher_main();
    }
    if let Some(data) = std::env::args().skip_while(|arg| arg != "server").nth(1) {
        return life::server_main(&data);
    }
    let mut arguments = Arguments::from_args();
    // Each makes several processes; more at once only wait for each other.
    arguments.test_threads.get_or_insert(2);
    let mut trials = Vec::new();
    let ns = tokio().block_on(probe());
    for kind in [RuntimeKind::Ns, RuntimeKind::Process] {
        if kind == RuntimeKind::Ns
            && let Err(reason) = &ns
        {
            println!("skipped, all of `ns`: {reason}");
            continue;
        }
        trials.extend(all(kind));
    }
    let root = rustix_uid() == 0;
    if root && std::env::var_os(ROLE).is_none() {
        trials.push(Trial::test("as_a_normal_user", || as_a_normal_user(false)));
        trials.push(Trial::test("as_a_normal_user_with_networks", || as_a_normal_user(true)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Whether this kernel and user can have namespaces.
async fn probe() -> Result<(), Box<dyn std::error::Error>> {
    let data = tempfile::tempdir()?;
    let launcher = spawn_launcher(&std::env::current_exe()?)?;
    let (runtime, _) = Runtime::start(launcher, RuntimeChoice::Ns, data.path(), None).await?;
    for warning in &runtime.probe().warnings {
        println!("note: {warning}");
    }
    runtime.shutdown().await;
    Ok(())
}

fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a tokio runtime")
}

/// A test as a function of the runtime it is for.
fn trial<F: Future<Output = Outcome> + 'static>(name: &str, kind: RuntimeKind, test: fn(RuntimeKind) -> F) -> Trial {
    Trial::test(format!("{kind}::{name}"), move || {
        let limited = async { tokio::time::timeout(Duration::from_secs(120), test(kind)).await };
        match tokio().block_on(limited) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failed::from(error.to_string())),
            Err(_) => Err(Failed::from("timed out")),
        }
    })
}

macro_rules! trials {
    ($kind:expr, $($module:ident: $($name:ident)*;)*) => {
        vec![$($(trial(stringify!($name), $kind, $module::$name),)*)*]
    };
}

fn all(kind: RuntimeKind) -> Vec<Trial> {
    let mut trials = trials!(kind,
        inside: sees_its_own_user_and_environment;
        life: stop_ends_daemons stop_is_gentle stop_force_is_not stop_kills_the_stubborn
            a_killed_agent_starts_again gentler_signals_are_for_the_programs
            programs_have_their_grace_with_open_pipes a_killed_first_process_is_told a_killed_launcher_takes_all_along
            a_killed_server_takes_all_along a_killed_server_without_sandboxes_leaves_no_groups many_at_once
            a_long_data_directory
            the_launcher_survives_nonsense the_launcher_does_not_grow bad_requests_are_refused;
        state: sparse_files_stay_sparse files_survive_a_restart snapshot_copies_what_is_stored archives_and_copies_keep_everything
            destroy_removes_everything;
        limits: stats_count;
        escape: files_stay_inside;
    );
    if kind == RuntimeKind::Ns {
        trials.extend(trials!(kind,
            inside: has_its_own_processes_and_name sees_no_secrets leaves_the_host_alone
                has_its_own_tmp has_few_rights cannot_reach_the_host_without_network cannot_reach_abstract_sockets
                root_can_install_files hides_a_data_directory_among_programs;
            life: a_failed_step_is_named an_agent_killed_by_root_starts_again a_copy_touches_nothing_of_the_original
                groups_of_killed_servers_are_removed;
            escape: proc_leads_nowhere mounts_stay_as_they_are devices_are_not_made others_are_out_of_reach
                nothing_is_traced the_network_is_its_own limits_are_not_lifted new_users_have_no_rights;
            limits: memory_is_limited pids_are_limited cpu_is_limited freezes_and_thaws;
        ));
    }
    trials
}

fn rustix_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid())
}

/// Runs all of this again as a user who may do nothing; with `networks` only what concerns networks, where
/// `/dev/net/tun` is for everybody, as on most systems.
fn as_a_normal_user(networks: bool) -> Result<(), Failed> {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    const USER: u32 = 61_234;
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("tests");
    std::fs::copy(std::env::current_exe()?, &program)?;
    for path in [&program, &folder.path().to_owned()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    let mut command = Command::new(&program);
    if networks {
        if !std::path::Path::new("/dev/net/tun").exists() {
            println!("skipped: this machine has no /dev/net/tun");
            return Ok(());
        }
        let node = folder.path().join("tun");
        let script = format!(
            "mknod -m 666 {node} c 10 200 && mount --bind {node} /dev/net/tun && \
             exec setpriv --reuid {USER} --regid {USER} --clear-groups {program} network",
            node = node.display(),
            program = program.display()
        );
        command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    } else {
        command.uid(USER).gid(USER);
    }
    let output = command.env(ROLE, "a normal user").current_dir("/").output()?;
    println!("{}", String::from_utf8_lossy(&output.stdout));
    if output.status.success() {
        return Ok(());
    }
    Err(Failed::from(format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )))
}
