//! Measures how long a sandbox takes to start and how much memory an idle one holds.
//!
//! `cargo run --release -p daytona-runtime --example measure -- [idle sandboxes] [ns|process]`

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use daytona_runtime::{Runtime, RuntimeChoice, launcher_main, spawn_launcher};

const STARTS: usize = 100;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["launcher"] {
        return launcher_main();
    }
    match measure(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let idle: usize = arguments.first().map_or(Ok(100), |text| text.parse())?;
    let choice: RuntimeChoice = arguments.get(1).map_or(Ok(RuntimeChoice::Auto), |text| text.parse())?;
    let launcher = spawn_launcher(&std::env::current_exe()?)?;
    let data = tempfile::Builder::new().prefix("measure-").tempdir_in("/var/tmp")?;
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    tokio.block_on(async {
        let begun = Instant::now();
        let (runtime, _exits) = Runtime::start(launcher, choice, data.path(), None).await?;
        println!("{} (chosen in {:.1?})", runtime.probe().summary, begun.elapsed());
        let (mut ready, mut first, mut second) = (Vec::new(), Vec::new(), Vec::new());
        let (mut stop, mut destroy) = (Vec::new(), Vec::new());
        for n in 0..STARTS {
            let id = format!("start-{n}");
            let begun = Instant::now();
            let started = runtime.create(support::spec(&id)).await?;
            ready.push(begun.elapsed());
            support::exec(&started, "echo").await?;
            first.push(begun.elapsed());
            let begun = Instant::now();
            support::exec(&started, "echo").await?;
            second.push(begun.elapsed());
            let begun = Instant::now();
            runtime.stop(&id, false).await?;
            stop.push(begun.elapsed());
            let begun = Instant::now();
            runtime.destroy(&id).await?;
            destroy.push(begun.elapsed());
        }
        println!("{STARTS} starts, one after another: median, 95th percentile, longest");
        for (name, times) in [
            ("ready", &mut ready),
            ("first exec result", &mut first),
            ("a second exec", &mut second),
            ("stop", &mut stop),
            ("destroy", &mut destroy),
        ] {
            times.sort();
            let (median, late) = (times[STARTS / 2], times[STARTS * 95 / 100]);
            println!("{name:>20} {median:>9.2?} {late:>9.2?} {:>9.2?}", times[STARTS - 1]);
        }
        let before = memory_available();
        let begun = Instant::now();
        let mut last = None;
        for n in 0..idle {
            last = Some(runtime.create(support::spec(&format!("idle-{n}"))).await?);
        }
        println!("{idle} idle sandboxes made in {:.1?}", begun.elapsed());
        if let Some(started) = last {
            let begun = Instant::now();
            support::exec(&started, "echo").await?;
            println!("exec in the last one {:.2?}", begun.elapsed());
            let (processes, pss) = tree_memory();
            let count = u64::try_from(idle)?;
            println!(
                "a sandbox: {:.1} processes, {} KiB PSS, {} KiB of the machine's memory",
                f64::from(processes) / f64::from(u32::try_from(idle)?),
                pss / count,
                before.saturating_sub(memory_available()) / count,
            );
        }
        let begun = Instant::now();
        runtime.shutdown().await;
        println!("all stopped in {:.1?}", begun.elapsed());
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    tokio.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// `MemAvailable`, in KiB.
fn memory_available() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kib(&text, "MemAvailable:")
}

fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Processes of all sandboxes and their proportional memory in KiB.
fn tree_memory() -> (u32, u64) {
    let (mut count, mut sum) = (0, 0);
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.starts_with("sandbox-") {
            count += 1;
            let rollup = fs::read_to_string(path.join("smaps_rollup")).unwrap_or_default();
            sum += kib(&rollup, "Pss:");
        }
    }
    (count, sum)
}
