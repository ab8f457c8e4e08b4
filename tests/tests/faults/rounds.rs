//! Rounds one after the other.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use zonecert_devstack::{ROUNDS_VARIABLE, SEED_VARIABLE, number, shared};

use crate::world::World;

/// What is played by `cargo xtask test`.
const SHORT_FORM: u64 = 3;
/// A round has its number added to this.
const SEED: u64 = 20_261_128;
/// Then the world is made anew, so that certificates do not pile up.
const ROUNDS_IN_A_WORLD: u64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whatever_breaks() -> Result<()> {
    let rounds = number(ROUNDS_VARIABLE)?.unwrap_or(SHORT_FORM);
    let first = number(SEED_VARIABLE)?.unwrap_or(SEED);
    let stack = shared().await?;
    let begun = Instant::now();
    let mut world = None;
    let mut lost = Vec::new();
    for number in 0..rounds {
        if number % ROUNDS_IN_A_WORLD == 0 {
            drop(world.take());
        }
        if world.is_none() {
            world = Some(World::new(&stack).await?);
        }
        let seed = first.wrapping_add(number);
        let played = match world.as_mut().context("a world")?.play(seed).await {
            Ok(played) => played,
            Err(error) => {
                println!(
                    "round {:>3}  seed {seed}  FAILED: {error:#}\nto repeat it: cargo xtask faults --rounds 1 --seed {seed}",
                    number + 1
                );
                lost.push(seed);
                // The next round needs a world in which nothing is left.
                drop(world.take());
                continue;
            }
        };
        let strikes: Vec<String> = played
            .plan
            .strikes
            .iter()
            .zip(&played.met.0)
            .map(|(strike, met)| format!("{:?} {} {met}/{}", strike.fault, strike.path, strike.times))
            .collect();
        let incidents: Vec<String> = played
            .plan
            .incidents
            .iter()
            .zip(&played.met.1)
            .map(|(incident, came)| format!("{incident:?}{}", if *came { "" } else { " (did not come)" }))
            .collect();
        println!("round {:>3}  seed {seed}  {:>5.1} s  {}; {}", number + 1, played.seconds, strikes.join(", "), incidents.join(", "));
    }
    println!("{rounds} rounds in {:.0} s, {} of them failed", begun.elapsed().as_secs_f64(), lost.len());
    ensure!(lost.is_empty(), "the rounds with these seeds failed: {lost:?}");
    Ok(())
}
