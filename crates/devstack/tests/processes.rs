//! Processes that outlive, or do not outlive, the process that started them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use zonecert_devstack::{Stack, StackOptions, wait};

const HELD_DIR: &str = "ZONECERT_TEST_HELD_DIR";
const WITHIN: Duration = Duration::from_mins(1);

fn stack_dir() -> Result<TempDir> {
    Ok(tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir()?)
}

fn options(dir: &Path) -> StackOptions {
    StackOptions { durable: false, ..StackOptions::new(dir) }
}

fn is_running(pid: &Value) -> bool {
    // A zombie (state Z) waits for its parent only.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

fn records(dir: &Path) -> Result<Vec<(PathBuf, Value)>> {
    let files = fs::read_dir(dir.join("run"))?.map(|entry| Ok(entry?.path()));
    files.map(|file: Result<PathBuf>| file.and_then(|file| Ok((file.clone(), serde_json::from_slice(&fs::read(file)?)?)))).collect()
}

/// A process that is seen as `sleep`: for a moment after its start it has no command line yet.
async fn sleeper() -> Result<Child> {
    let child = Command::new("/usr/bin/sleep").arg("3600").stdin(Stdio::null()).spawn()?;
    let shown = format!("/proc/{}/cmdline", child.id());
    wait::until("the process has its command line", WITHIN, async || Ok((fs::read(&shown)? == b"/usr/bin/sleep\x003600\0").then_some(())))
        .await?;
    Ok(child)
}

fn record(dir: &Path, part: &str, pid: u32, argv: &[&str]) -> Result<()> {
    fs::create_dir_all(dir.join("run"))?;
    let record = json!({"pid": pid, "argv": argv, "end_signal": 15});
    Ok(fs::write(dir.join("run").join(format!("{part}.json")), record.to_string())?)
}

/// Not a test: the process that [`kill_9_of_the_parent_leaves_no_child`] kills.
#[tokio::test]
#[ignore = "run by another test as the process to be killed"]
async fn hold_a_stack() -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the one way to hand a path to a test executable")]
    let Ok(dir) = std::env::var(HELD_DIR) else { return Ok(()) };
    let _stack = Stack::start(options(Path::new(&dir))).await?;
    std::future::pending().await
}

#[tokio::test]
async fn kill_9_of_the_parent_leaves_no_child() -> Result<()> {
    let dir = stack_dir()?;
    let mut holder = Command::new(std::env::current_exe()?)
        .args(["--exact", "hold_a_stack", "--ignored"])
        .env(HELD_DIR, dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let description = dir.path().join("stack.json");
    wait::until("the held stack is up", WITHIN, async || Ok(description.exists().then_some(()))).await?;
    let children = records(dir.path())?;
    assert_eq!(children.len(), 4, "{children:?}");
    assert!(children.iter().all(|(_, child)| is_running(&child["pid"])));

    holder.kill()?;
    holder.wait()?;
    wait::until("no child is left", WITHIN, async || Ok((!children.iter().any(|(_, child)| is_running(&child["pid"]))).then_some(())))
        .await?;
    Stack::start(options(dir.path())).await.context("the directory cannot be used again")?.stop().await
}

#[tokio::test]
async fn a_leftover_is_recognised_by_id_and_command_line_and_ended() -> Result<()> {
    let dir = stack_dir()?;
    let mut leftover = sleeper().await?;
    record(dir.path(), "pebble", leftover.id(), &["/usr/bin/sleep", "3600"])?;
    let stack = Stack::start(options(dir.path())).await?;
    let ended = wait::until("the leftover has ended", WITHIN, async || Ok(leftover.try_wait()?)).await?;
    ensure!(!ended.success(), "it ended by a signal");
    let now = records(dir.path())?;
    let pebble = now.iter().find(|(file, _)| file.ends_with("pebble.json")).context("Pebble is not recorded")?;
    assert_eq!(pebble.1["pid"].as_u64(), stack.pebble.pid().map(u64::from), "it was replaced");
    stack.stop().await
}

#[tokio::test]
async fn a_foreign_process_with_the_same_id_is_left_alone() -> Result<()> {
    let dir = stack_dir()?;
    let mut foreign = sleeper().await?;
    // The id was given to another program since, or to the same program with other arguments.
    record(dir.path(), "pebble", foreign.id(), &["/usr/bin/pebble", "-config", "pebble.json"])?;
    record(dir.path(), "powerdns", foreign.id(), &["/usr/bin/sleep", "36"])?;
    record(dir.path(), "serve", foreign.id(), &["3600"])?;
    let stack = Stack::start(options(dir.path())).await?;
    assert!(foreign.try_wait()?.is_none(), "it was ended");
    stack.stop().await?;
    assert!(foreign.try_wait()?.is_none(), "it was ended");
    foreign.kill()?;
    foreign.wait()?;
    Ok(())
}

#[tokio::test]
async fn a_part_that_ends_by_itself_is_named() -> Result<()> {
    let dir = stack_dir()?;
    let mut stack = Stack::start(options(dir.path())).await?;
    stack.check()?;
    let pid = stack.customer_dns.pid().context("the customer's PowerDNS does not run")?;
    ensure!(Command::new("/bin/sh").args(["-c", &format!("kill -9 {pid}")]).status()?.success());
    let error = wait::until("the end is noticed", WITHIN, async || Ok(stack.check().err())).await?;
    assert!(error.to_string().starts_with("customer-dns has ended"), "{error:#}");
    stack.stop().await
}
