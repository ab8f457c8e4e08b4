//! The package installation leaves the machine's policies as they were, however it ends. Run on a copy of the script in a directory
//! of its own, with an `apt-get` that does what a test wants.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use zonecert_devstack::wait;

const SCRIPT: &str = include_str!("../src/packages/install.sh");

/// How the policy of the script answers; no test's own policy says so.
const OURS: &str = "exit 101";

struct Machine {
    root: TempDir,
}

impl Machine {
    /// `apt_get` is the body of a shell script.
    fn new(apt_get: &str) -> Result<Self> {
        let machine = Self { root: tempfile::tempdir()? };
        for dir in ["usr/sbin", "etc/systemd/system/multi-user.target.wants", "etc/systemd/system/timers.target.wants", "bin"] {
            fs::create_dir_all(machine.path(dir))?;
        }
        let program = machine.path("bin/apt-get");
        let root = machine.root.path().display();
        fs::write(&program, format!("#!/bin/sh\nroot={root}\necho \"$@\" >> $root/calls\n{apt_get}\n"))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(machine)
    }

    fn path(&self, relative: &str) -> std::path::PathBuf {
        self.root.path().join(relative)
    }

    fn command(&self) -> Command {
        let root = self.root.path().display().to_string();
        let mut script = SCRIPT.to_owned();
        for dir in ["/usr/sbin", "/etc/", "/lib/", "/usr/lib/"] {
            script = script.replace(&format!("={dir}"), &format!("={root}{dir}")).replace(&format!(" {dir}"), &format!(" {root}{dir}"));
        }
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, "zonecert-install", "pebble"]).stdin(Stdio::null());
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        command
    }

    fn run(&self) -> Result<Output> {
        Ok(self.command().output()?)
    }

    fn policy(&self) -> Option<String> {
        fs::read_to_string(self.path("usr/sbin/policy-rc.d")).ok()
    }

    fn calls(&self) -> Result<Vec<String>> {
        Ok(fs::read_to_string(self.path("calls"))?.lines().map(str::to_owned).collect())
    }

    fn is_clean(&self) -> bool {
        !self.path("usr/sbin/policy-rc.d.before-zonecert").exists() && !self.path("etc/postgresql-common").exists()
    }
}

fn real_installs(calls: &[String]) -> usize {
    calls.iter().filter(|call| call.contains("install --yes")).count()
}

#[test]
fn services_are_forbidden_during_the_call_and_no_trace_is_left() -> Result<()> {
    let machine =
        Machine::new("cp $root/usr/sbin/policy-rc.d $root/during; cat $root/etc/postgresql-common/createcluster.d/* > $root/cluster")?;
    let output = machine.run()?;
    assert!(output.status.success(), "{output:?}");
    assert!(fs::read_to_string(machine.path("during"))?.contains(OURS));
    assert!(fs::read_to_string(machine.path("cluster"))?.contains("create_main_cluster = false"));
    assert_eq!(machine.policy(), None);
    assert!(machine.is_clean());
    let calls = machine.calls()?;
    assert_eq!(real_installs(&calls), 1);
    assert!(!calls.iter().any(|call| call.contains("update")), "the package lists were good: {calls:?}");
    Ok(())
}

#[test]
fn a_policy_of_the_machine_is_put_back_after_success_and_failure() -> Result<()> {
    for (apt_get, works) in [("true", true), ("false", false)] {
        let machine = Machine::new(apt_get)?;
        fs::write(machine.path("usr/sbin/policy-rc.d"), "the machine's own")?;
        assert_eq!(machine.run()?.status.success(), works);
        assert_eq!(machine.policy().as_deref(), Some("the machine's own"));
        assert!(machine.is_clean());
    }
    Ok(())
}

#[test]
fn package_lists_that_do_not_know_the_package_are_fetched() -> Result<()> {
    let machine = Machine::new("case \"$*\" in *update*) touch $root/updated;; esac; [ -e $root/updated ]")?;
    assert!(machine.run()?.status.success());
    let calls = machine.calls()?;
    assert!(calls[0].contains("--simulate"), "{calls:?}");
    assert!(calls[1].contains("update"), "{calls:?}");
    assert_eq!(real_installs(&calls), 1);
    Ok(())
}

#[tokio::test]
async fn an_interruption_and_even_kill_9_do_not_leave_our_policy_for_good() -> Result<()> {
    let machine = Machine::new("[ -e $root/go-on ] || { touch $root/waiting; exec sleep 3600; }")?;
    fs::write(machine.path("usr/sbin/policy-rc.d"), "the machine's own")?;

    for signal in ["TERM", "KILL"] {
        let mut script = machine.command().spawn()?;
        wait_for(&machine.path("waiting")).await?;
        assert!(machine.policy().context("no policy")?.contains(OURS));
        let sleeping = child_of(script.id())?;
        // As a terminal's Ctrl-C does, the script and what it runs are told.
        for pid in [script.id().to_string(), sleeping] {
            Command::new("/bin/sh").args(["-c", &format!("kill -{signal} {pid}")]).status()?;
        }
        assert!(!script.wait()?.success());
        fs::remove_file(machine.path("waiting"))?;
        if signal == "TERM" {
            assert_eq!(machine.policy().as_deref(), Some("the machine's own"));
            assert!(machine.is_clean());
        }
    }
    assert!(machine.policy().context("no policy")?.contains(OURS), "nothing can be done at a kill -9");
    fs::write(machine.path("go-on"), "")?;
    assert!(machine.run()?.status.success());
    assert_eq!(machine.policy().as_deref(), Some("the machine's own"));
    assert!(machine.is_clean());
    Ok(())
}

#[test]
fn only_a_service_that_is_new_is_kept_from_starting_at_boot() -> Result<()> {
    for (unit, target) in [("pdns.service", "multi-user"), ("prometheus.service", "multi-user"), ("certbot.timer", "timers")] {
        is_kept_from_starting(unit, target)?;
    }
    Ok(())
}

fn is_kept_from_starting(unit: &str, target: &str) -> Result<()> {
    let link = &format!("etc/systemd/system/{target}.target.wants/{unit}");
    let enable = format!("ln -sf /dev/null $root/{link}; mkdir -p $root/lib/systemd/system; touch $root/lib/systemd/system/{unit}");
    let machine = Machine::new(&enable.replace("; mkdir", "; case \"$*\" in *simulate*) exit 0;; esac; mkdir"))?;
    assert!(machine.run()?.status.success());
    assert!(!machine.path(link).is_symlink());
    assert!(machine.run()?.status.success());
    assert!(machine.path(link).is_symlink(), "the second run found the service there");
    Ok(())
}

async fn wait_for(file: &Path) -> Result<()> {
    wait::until("apt-get is called", Duration::from_secs(20), async || Ok(file.exists().then_some(()))).await
}

fn child_of(pid: u32) -> Result<String> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    children.split_whitespace().next().map(str::to_owned).context("the script runs nothing")
}
