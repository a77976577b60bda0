//! One child process: its log file, its readiness and its end.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::run;

/// How often a condition is polled.
const POLL: Duration = Duration::from_millis(20);

/// A running service. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Service {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts `command` with its output appended to the file `log`.
    pub(crate) fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Service> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write the log {}", log.display()))?;
        // Its own process group: on Ctrl-C this process stops it, not the terminal.
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name} ({:?})", command.get_program()))?;
        let service = Service {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        };
        run::adopt(service.child.id())?;
        Ok(service)
    }

    /// Whether it is running or paused.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for `ready`. Fails with the log's last lines if the process ends or the deadline passes.
    pub(crate) fn wait_until_ready(
        &mut self,
        deadline: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result<()> {
        let end = Instant::now() + deadline;
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended with {status} while starting{}",
                    self.name,
                    self.log_tail()
                );
            }
            if Instant::now() >= end {
                bail!(
                    "{} is not ready after {deadline:?}{}",
                    self.name,
                    self.log_tail()
                );
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Sends a signal; an error if the process has ended.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        if !self.is_running() {
            bail!("{} is not running", self.name);
        }
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child
            .kill()
            .with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait()?;
        run::disown(self.child.id());
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits; kills it and says so after `deadline`.
    pub(crate) fn stop(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let ended = wait_until(deadline, || !self.is_running());
        if !ended {
            self.kill()?;
            bail!(
                "{} did not stop within {deadline:?} and was killed",
                self.name
            );
        }
        let status = self.child.wait()?;
        run::disown(self.child.id());
        Ok(status)
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(20)..];
        format!("; the end of {}:\n{}", self.log.display(), tail.join("\n"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.is_running() {
            run::disown(self.child.id());
        } else if let Err(error) = self.kill() {
            eprintln!("{error:#}");
        }
    }
}

/// The place of a service that tests end and start again, by shared reference.
#[derive(Debug)]
pub(crate) struct Slot {
    name: String,
    service: Mutex<Option<Service>>,
}

impl Slot {
    pub(crate) fn new(name: String) -> Slot {
        Slot {
            name,
            service: Mutex::new(None),
        }
    }

    /// Starts `command` here. [`wait_until_ready`](Self::wait_until_ready) is the caller's next call.
    pub(crate) fn spawn(&self, command: &mut Command, log: &Path) -> Result<()> {
        *self.lock() = Some(Service::spawn(&self.name, command, log)?);
        Ok(())
    }

    pub(crate) fn wait_until_ready(
        &self,
        deadline: Duration,
        ready: impl FnMut() -> bool,
    ) -> Result<()> {
        self.with(|service| service.wait_until_ready(deadline, ready))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.lock().as_mut().is_some_and(Service::is_running)
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        self.with(|service| Ok(service.child.id()))
    }

    pub(crate) fn pause(&self) -> Result<()> {
        self.with(|service| service.signal(Signal::STOP))
    }

    pub(crate) fn resume(&self) -> Result<()> {
        self.with(|service| service.signal(Signal::CONT))
    }

    pub(crate) fn kill(&self) -> Result<()> {
        self.take()?.kill()
    }

    pub(crate) fn stop(&self, deadline: Duration) -> Result<()> {
        self.take()?.stop(deadline).map(drop)
    }

    /// Kills whatever runs here.
    pub(crate) fn end(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Service>> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Service) -> Result<T>) -> Result<T> {
        act(self
            .lock()
            .as_mut()
            .with_context(|| format!("{} is not running", self.name))?)
    }

    fn take(&self) -> Result<Service> {
        self.lock()
            .take()
            .with_context(|| format!("{} is not running", self.name))
    }
}

/// Looks at `condition` until it holds or `deadline` has passed; returns whether it held.
pub fn wait_until(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(POLL);
    }
}

/// Runs a command to its end and returns what it printed; an error with its messages if it fails.
pub(crate) fn output_of(what: &str, command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {:?} to {what}", command.get_program()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(anyhow!(
        "{:?} failed to {what} ({}):\n{}{}",
        command.get_program(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    ))
}
