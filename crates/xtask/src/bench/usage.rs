//! What processes have used so far, as Linux counts it (proc(5)).

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// `USER_HZ` on every Linux that we know: the unit of `/proc/…/stat`.
const TICKS_PER_SECOND: f64 = 100.0;

/// Something whose CPU time is told under one name.
#[derive(Clone, Copy)]
pub(super) struct Watched {
    pub(super) name: &'static str,
    pub(super) pid: u32,
    /// With all its children, those that have ended included.
    pub(super) children: bool,
}

impl Watched {
    /// A program of somebody's, with whatever it starts.
    pub(super) fn program(name: &'static str, pid: u32) -> Self {
        Self { name, pid, children: true }
    }

    /// This process alone: all others are its children.
    pub(super) fn this(name: &'static str) -> Self {
        Self { name, pid: std::process::id(), children: false }
    }
}

/// CPU seconds of each, in the same order.
pub(super) fn cpu_seconds(watched: &[Watched]) -> Result<Vec<f64>> {
    let all = every_process()?;
    let one = |watched: &Watched| {
        let found = if watched.children { of_tree(watched.pid, &all) } else { find(watched.pid, &all).map(|stat| seconds(stat.own)) };
        found.with_context(|| format!("{} has ended", watched.name))
    };
    watched.iter().map(one).collect()
}

/// CPU seconds of the children of this process that have ended.
pub(super) fn ended_children_seconds() -> Result<f64> {
    let stat = read(Path::new("/proc/self/stat")).context("/proc/self/stat cannot be read")?;
    Ok(seconds(stat.ended_children))
}

/// The most memory that a process has had in RAM so far, in MiB.
pub(super) fn peak_memory_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process has ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

struct Stat {
    pid: u32,
    parent: u32,
    own: u64,
    /// Of children that were waited for.
    ended_children: u64,
}

fn every_process() -> Result<Vec<Stat>> {
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // One that ends meanwhile has its time added to its parent's.
    Ok(pids.filter_map(|pid| read(&Path::new("/proc").join(pid.to_string()).join("stat"))).collect())
}

fn read(path: &Path) -> Option<Stat> {
    parse(&fs::read_to_string(path).ok()?)
}

/// `pid (name) state ppid … utime stime cutime cstime …`; the name may hold blanks and parentheses.
fn parse(stat: &str) -> Option<Stat> {
    let pid = stat.split_whitespace().next()?.parse().ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: Vec<u64> = fields.get(11..15)?.iter().map(|field| field.parse()).collect::<Result<_, _>>().ok()?;
    Some(Stat { pid, parent: fields.get(1)?.parse().ok()?, own: ticks[0] + ticks[1], ended_children: ticks[2] + ticks[3] })
}

fn find(pid: u32, all: &[Stat]) -> Option<&Stat> {
    all.iter().find(|stat| stat.pid == pid)
}

fn of_tree(root: u32, all: &[Stat]) -> Option<f64> {
    let stat = find(root, all)?;
    let below: f64 = all.iter().filter(|stat| stat.parent == root).filter_map(|child| of_tree(child.pid, all)).sum();
    Some(seconds(stat.own + stat.ended_children) + below)
}

#[expect(clippy::cast_precision_loss, reason = "2^52 ticks are a million years")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_is_its_own_and_that_of_its_children_living_or_gone() {
        let line = |pid: u32, parent: u32| format!("{pid} (a (b) c) S {parent} 1 1 0 -1 4194560 1 2 3 4 100 50 20 30 20 0 1 0 5 6 7");
        let all: Vec<Stat> = [line(10, 1), line(11, 10), line(12, 11), line(13, 1)].iter().filter_map(|line| parse(line)).collect();
        assert_eq!(all.len(), 4);
        assert!((of_tree(10, &all).unwrap() - 6.0).abs() < 1e-9);
        assert!((of_tree(13, &all).unwrap() - 2.0).abs() < 1e-9);
        assert!(of_tree(14, &all).is_none());
    }

    #[test]
    fn this_process_has_used_something() {
        let me = Watched::this("the test");
        assert!(cpu_seconds(&[me]).unwrap()[0] >= 0.0);
        assert!(ended_children_seconds().unwrap() >= 0.0);
        assert!(peak_memory_mib(me.pid).unwrap() > 1.0);
    }
}
