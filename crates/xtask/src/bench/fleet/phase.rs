//! One burst of renewals, measured from outside: by the database, which knows when each was issued, and by the kernel.

use anyhow::{Context as _, Result};
use zonecert_devstack::product::ProductProcess;

use super::super::usage::{Watched, cpu_seconds, peak_memory_mib};
use super::world::World;
use crate::report::say;

/// Statements that are shown one by one.
const SHOWN: i64 = 12;

/// What a burst has cost.
pub(super) struct Phase {
    pub(super) certificates: u32,
    /// Between the first tenth and the last, when every part is busy.
    pub(super) per_second: f64,
    /// From the first renewal that began to the last that was issued.
    pub(super) seconds: f64,
    /// CPU seconds for each process, workers first.
    pub(super) cpu: Vec<(&'static str, f64)>,
    /// Statements of the workers, and of PowerDNS.
    pub(super) statements: (f64, f64),
    /// New connections to PostgreSQL, most of them of PowerDNS.
    pub(super) connections: i64,
    /// The most memory that one worker has had, in MiB.
    pub(super) memory_mib: f64,
    /// The most orders that were under way at the same time.
    pub(super) in_flight: i64,
    /// Attempts that failed and were repeated.
    pub(super) failed_attempts: i64,
    /// The statements that were sent most often, with how often for each certificate.
    pub(super) most: Vec<(f64, f64, String)>,
}

impl Phase {
    /// Has so many certificates renewed by so many workers.
    pub(super) async fn run(world: &World, certificates: u32, workers: usize) -> Result<Self> {
        let mut processes = Vec::new();
        for _ in 0..workers {
            processes.push(world.product.work().await?);
        }
        let watched = watch(world, &processes)?;
        world.database.batch_execute("SELECT pg_stat_statements_reset()").await?;
        let mark: String = world.database.query_one("SELECT now()::text", &[]).await?.get(0);
        let (before, connections_before) = (cpu_seconds(&watched)?, connections(world).await?);
        world.make_due(certificates).await?;
        let in_flight = follow(world, &mark, certificates).await?;
        let after = cpu_seconds(&watched)?;
        let connections = connections(world).await? - connections_before;
        let mut memory_mib: f64 = 0.0;
        for process in &processes {
            memory_mib = memory_mib.max(peak_memory_mib(process.pid().context("a worker has ended")?)?);
        }
        let mut cpu: Vec<(&str, f64)> = Vec::new();
        for (watched, used) in watched.iter().zip(before.iter().zip(&after).map(|(before, after)| after - before)) {
            match cpu.iter_mut().find(|(name, _)| *name == watched.name) {
                Some((_, sum)) => *sum += used,
                None => cpu.push((watched.name, used)),
            }
        }
        let statements = (statements(world, "zonecert_worker").await?, statements(world, "powerdns").await?);
        let most = most(world, certificates).await?;
        let (seconds, per_second) = pace(world, &mark).await?;
        let failed = format!("SELECT count(*) FROM events WHERE event = 'attempt_failed' AND at >= '{mark}'");
        let failed_attempts = world.database.query_one(&failed, &[]).await?.get(0);
        for mut process in processes {
            process.stop().await?;
        }
        Ok(Self { certificates, per_second, seconds, cpu, statements, connections, memory_mib, in_flight, failed_attempts, most })
    }

    /// CPU seconds of this process for each certificate.
    pub(super) fn cpu_each(&self, name: &str) -> f64 {
        self.cpu.iter().filter(|(of, _)| *of == name).map(|(_, used)| used).sum::<f64>() / f64::from(self.certificates)
    }

    pub(super) fn print(&self, title: &str) {
        let count = f64::from(self.certificates);
        println!("\n{title}");
        println!("  {:>8.1} certificates per second, steady; {} in {:.1} s", self.per_second, self.certificates, self.seconds);
        let cpu: Vec<String> = self.cpu.iter().map(|(name, used)| format!("{name} {:.4}", used / count)).collect();
        println!("  CPU seconds per certificate: {}", cpu.join(", "));
        println!(
            "  statements per certificate: {:.1} of the workers, {:.1} of PowerDNS; new connections to PostgreSQL: {:.2}",
            self.statements.0 / count,
            self.statements.1 / count,
            f64::from(i32::try_from(self.connections).unwrap_or(i32::MAX)) / count
        );
        println!("  peak memory of a worker: {:.0} MiB, with up to {} orders under way in all", self.memory_mib, self.in_flight);
        if self.failed_attempts > 0 {
            println!("  {} attempts failed and were repeated", self.failed_attempts);
        }
    }

    pub(super) fn print_statements(&self) {
        println!("  sent most often (times per certificate, milliseconds per certificate):");
        for (calls, milliseconds, query) in &self.most {
            println!("  {calls:>8.2} {milliseconds:>8.3}  {query}");
        }
    }
}

fn watch(world: &World, workers: &[ProductProcess]) -> Result<Vec<Watched>> {
    let mut watched = Vec::new();
    for worker in workers {
        watched.push(Watched::program("worker", worker.pid().context("a worker has ended")?));
    }
    let stack = &world.stack;
    watched.extend([
        Watched::program("PostgreSQL", stack.postgres.pid().context("PostgreSQL has ended")?),
        Watched::program("PowerDNS", stack.powerdns.pid().context("PowerDNS has ended")?),
        Watched::program("Pebble", stack.pebble.pid().context("Pebble has ended")?),
        // This process holds the proxy before Pebble and the resolver of the stack.
        Watched::this("the stack's proxy"),
    ]);
    Ok(watched)
}

/// Waits for the last, and returns how many orders there were at the most.
async fn follow(world: &World, mark: &str, certificates: u32) -> Result<i64> {
    let counts = format!(
        "SELECT count(*) FILTER (WHERE status = 'succeeded'), count(*) FILTER (WHERE lease_expires_at > now() AND status = 'active'),
             count(*) FILTER (WHERE status NOT IN ('succeeded', 'active'))
         FROM issuances WHERE reason = 'renewal' AND created_at >= '{mark}'"
    );
    let (mut most, mut told) = (0, 0);
    loop {
        zonecert_devstack::wait::pause(std::time::Duration::from_millis(500)).await;
        let row = world.database.query_one(&counts, &[]).await?;
        let (done, running, failed): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        anyhow::ensure!(failed == 0, "{failed} renewals have failed");
        most = most.max(running);
        if done >= told + i64::from(certificates) / 4 {
            told = done;
            say(&format!("{done} of {certificates} renewed"));
        }
        if done >= i64::from(certificates) {
            return Ok(most);
        }
    }
}

async fn pace(world: &World, mark: &str) -> Result<(f64, f64)> {
    let query = format!(
        "SELECT extract(epoch FROM max(finished_at) - min(created_at))::float8,
             (0.8 * count(*) / (percentile_cont(0.9) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at)::float8)
                 - percentile_cont(0.1) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at)::float8)))::float8
         FROM issuances WHERE reason = 'renewal' AND status = 'succeeded' AND created_at >= '{mark}'"
    );
    let row = world.database.query_one(&query, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

async fn connections(world: &World) -> Result<i64> {
    Ok(world.database.query_one("SELECT sum(sessions)::bigint FROM pg_stat_database", &[]).await?.get(0))
}

async fn statements(world: &World, role: &str) -> Result<f64> {
    let query = format!(
        "SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements WHERE userid = (SELECT oid FROM pg_roles WHERE rolname LIKE '{role}%' LIMIT 1)"
    );
    Ok(world.database.query_one(&query, &[]).await?.get(0))
}

async fn most(world: &World, certificates: u32) -> Result<Vec<(f64, f64, String)>> {
    let query = format!(
        "SELECT calls / {certificates}.0::float8, total_exec_time / {certificates}.0::float8, left(regexp_replace(query, '\\s+', ' ', 'g'), 140) FROM pg_stat_statements
         WHERE userid <> 10 ORDER BY calls DESC LIMIT {SHOWN}"
    );
    Ok(world.database.query(&query, &[]).await?.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}
