//! Limits, freezing and accounting. Where the probe says that a limit does not hold, the test is
//! that it says so.

use std::time::Duration;

use daytona_runtime::{RuntimeError, RuntimeKind};

use crate::support::spec;
use crate::world::{Outcome, World, eventually};

pub(crate) async fn memory_is_limited(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    if !world.runtime.probe().limits.memory.holds() {
        println!("skipped: memory limits are {}", world.runtime.probe().limits.memory);
        world.end().await;
        return Ok(());
    }
    let mut small = spec("a");
    small.memory_gib = 0.125;
    let sandbox = world.start_with(small).await?;
    assert!(sandbox.started.limits.memory.holds());
    // `tail` keeps a line without an end in memory.
    let (code, _) = sandbox.try_run("head -c 300m /dev/zero | tail -n 1 | wc -c").await?;
    let (still, _) = sandbox.try_run("head -c 20m /dev/zero | tail -n 1 | wc -c").await?;
    assert_eq!(still, 0, "a small use is fine, {code}");
    let (_, size) = sandbox.try_run("head -c 300m /dev/zero | tail -n 1 | wc -c").await?;
    assert_ne!(size.lines().last(), Some("314572800"), "the large one was stopped");
    world.end().await;
    Ok(())
}

pub(crate) async fn pids_are_limited(kind: RuntimeKind) -> Outcome {
    const BOMB: &str = "/usr/bin/python3 -c '
import os, time
made = 0
try:
    for made in range(20000):
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
except OSError:
    pass
print(made)'";
    let world = World::new(kind).await?;
    if !world.runtime.probe().limits.pids.holds() {
        println!("skipped: process limits are {}", world.runtime.probe().limits.pids);
        world.end().await;
        return Ok(());
    }
    let sandbox = world.start("a").await?;
    if sandbox.try_run("test -x /usr/bin/python3").await?.0 != 0 {
        println!("skipped: there is no /usr/bin/python3 to make processes with");
        world.end().await;
        return Ok(());
    }
    let made: u32 = sandbox.run(BOMB).await?.parse()?;
    assert!((1000..2048).contains(&made), "{made} processes were made");
    world.runtime.stop("a", true).await?;
    world.end().await;
    Ok(())
}

pub(crate) async fn cpu_is_limited(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    if !world.runtime.probe().limits.cpu.holds() {
        println!("skipped: cpu limits are {}", world.runtime.probe().limits.cpu);
        world.end().await;
        return Ok(());
    }
    let mut slow = spec("a");
    slow.cpu = 0.1;
    let sandbox = world.start_with(slow).await?;
    let begun = std::time::Instant::now();
    // 50 ms of work take about half a second at a tenth of a core.
    sandbox.run("timeout 1 sh -c 'while :; do :; done'; true").await?;
    let stats = world.runtime.stats("a").await?;
    let share = stats.cpu.as_secs_f64() / begun.elapsed().as_secs_f64();
    assert!(share < 0.3, "{share} of a core was used");
    world.end().await;
    Ok(())
}

pub(crate) async fn freezes_and_thaws(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    let frozen = world.runtime.freeze("a", true).await;
    if !world.runtime.probe().limits.freeze.holds() {
        assert!(matches!(frozen, Err(RuntimeError::Unsupported { op: "freeze", .. })), "{frozen:?}");
        world.end().await;
        return Ok(());
    }
    frozen?;
    let pending = sandbox.try_run("echo done");
    let early = tokio::time::timeout(Duration::from_millis(300), pending).await;
    assert!(early.is_err(), "a frozen sandbox answered");
    world.runtime.snapshot("a", &world.data.path().join("snapshot")).await?;
    world.runtime.freeze("a", false).await?;
    assert_eq!(sandbox.run("echo done").await?, "done");
    for force in [false, true] {
        world.runtime.freeze("a", true).await?;
        world.runtime.stop("a", force).await?;
        world.start("a").await?;
    }
    world.end().await;
    Ok(())
}

pub(crate) async fn stats_count(kind: RuntimeKind) -> Outcome {
    let world = World::new(kind).await?;
    let sandbox = world.start("a").await?;
    let before = world.runtime.stats("a").await?;
    assert!(before.pids >= 2 && before.memory_bytes > 0, "{before:?}");
    sandbox.run("head -c 3m /dev/urandom > file; (sleep 1000 </dev/null >/dev/null 2>&1 &)").await?;
    let file = world.home("a").join("file");
    // Blocks are allocated when they are written back.
    std::fs::File::open(file)?.sync_all()?;
    let after = world.runtime.stats("a").await?;
    assert!(after.pids > before.pids, "{after:?}");
    assert!(after.disk_bytes >= before.disk_bytes + (3 << 20), "{before:?} {after:?}");
    assert!(after.cpu >= before.cpu);
    let missing = world.runtime.stats("b").await;
    assert!(matches!(missing, Err(RuntimeError::NotFound { .. })));
    world.runtime.stop("a", true).await?;
    eventually(|| "still running".to_owned(), || world.runtime.running().is_empty()).await?;
    world.end().await;
    Ok(())
}
