//! This process's run directory and the watchdog that outlives the process.
//!
//! Data, logs and keys of all services live under one run directory. A shell in the background
//! holds the other end of a pipe from us: when we end, however we end, it reads end of file, kills
//! the children that still run and removes the directory. Unlike a death signal this works on every
//! Unix and does not depend on which thread started a child.
//!
//! After a panic the logs stay, and their place is printed.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::{env, fs, panic, process};

use anyhow::{Context, Result, anyhow};

/// Where the services of this process live while they run; default a new directory for temporary
/// files. Removed at the end.
pub const RUN_DIR_VARIABLE: &str = "CARBON_EVENTS_RUN_DIR";

// `data` is what makes a run directory large; `tls` holds private keys.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
while read -r verb pid; do
  case $verb in
    child) children="$children $pid" ;;
    gone) rest=; for c in $children; do [ "$c" = "$pid" ] || rest="$rest $c"; done; children=$rest ;;
    keep) keep=logs ;;
  esac
done
[ -z "$children" ] || kill -9 $children
for try in 1 2 3 4 5; do
  if [ -n "$keep" ]; then rm -rf -- "$1"/*/data "$1"/*/tls && exit; else rm -rf -- "$1" && exit; fi
  sleep 1
done
"#;

static FAILED: AtomicBool = AtomicBool::new(false);
static NEXT: AtomicU32 = AtomicU32::new(1);
static RUN: LazyLock<Result<Run, String>> =
    LazyLock::new(|| Run::start().map_err(|error| format!("{error:#}")));

struct Run {
    root: PathBuf,
    watchdog: Mutex<ChildStdin>,
}

impl Run {
    fn start() -> Result<Run> {
        let root = match env::var_os(RUN_DIR_VARIABLE) {
            Some(dir) => PathBuf::from(dir),
            None => env::temp_dir().join(format!(
                "carbon-events-{}-{:08x}",
                process::id(),
                RandomState::new().hash_one("run") as u32
            )),
        };
        fs::create_dir_all(&root)
            .with_context(|| format!("cannot make the run directory {}", root.display()))?;
        let root = root.canonicalize()?;
        // A process group of its own: Ctrl-C or a kill of our group must not take it along.
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "carbon-events-watchdog"])
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start the watchdog shell")?;
        let stdin = watchdog.stdin.take().context("the watchdog has no stdin")?;

        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            previous(info);
            keep_logs();
        }));
        Ok(Run {
            root,
            watchdog: Mutex::new(stdin),
        })
    }

    fn tell(&self, line: &str) -> Result<()> {
        let mut watchdog = self.watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(watchdog, "{line}").context("the watchdog is gone")
    }
}

fn run() -> Result<&'static Run> {
    RUN.as_ref().map_err(|error| anyhow!("{error}"))
}

/// A new directory for one service; removed by [`clean`] or at the process's end.
pub(crate) fn new_dir(service: &str) -> Result<PathBuf> {
    let dir = run()?.root.join(format!(
        "{service}-{}",
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Has the watchdog kill `pid` when this process ends.
pub(crate) fn adopt(pid: u32) -> Result<()> {
    run()?.tell(&format!("child {pid}"))
}

/// The child has been waited for: its number may soon be another process's.
pub(crate) fn disown(pid: u32) {
    if let Ok(run) = run() {
        // A dead watchdog has already killed what it knew.
        let _ = run.tell(&format!("gone {pid}"));
    }
}

/// Removes a service's directory, or after a failure all of it but the logs.
pub(crate) fn clean(dir: &Path) {
    let remove = |dir: &Path| {
        if let Err(error) = fs::remove_dir_all(dir)
            && dir.exists()
        {
            eprintln!("cannot remove {}: {error}", dir.display());
        }
    };
    if FAILED.load(Ordering::Relaxed) {
        remove(&dir.join("data"));
        remove(&dir.join("tls"));
    } else {
        remove(dir);
    }
}

/// Keeps the logs of all services of this process and says once where they are. A panic does this
/// by itself.
pub fn keep_logs() {
    if let Ok(run) = run()
        && !FAILED.swap(true, Ordering::Relaxed)
    {
        let _ = run.tell("keep");
        eprintln!("the services' logs are kept in {}", run.root.display());
    }
}
