//! Running the command as a user does.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a command may take before it counts as hanging.
const WITHIN: Duration = Duration::from_secs(120);

/// The command, with none of this machine's settings.
pub(crate) fn command() -> Command {
    let mut command = Command::new(crate::binary());
    for (name, _) in std::env::vars() {
        let ours = ["KAFKA_", "SERVICE_", "RUST_LOG", "NO_COLOR", "CLICOLOR"];
        if ours.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What the command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Stdout as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Stdout as lines of JSON.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// Runs the command to its end.
pub(crate) fn run<A: AsRef<OsStr>>(
    mut command: Command,
    arguments: impl IntoIterator<Item = A>,
) -> Ran {
    wait(command.args(arguments).spawn().expect("the command starts"))
}

/// As [`run`], with this input.
pub(crate) fn run_with_input<A: AsRef<OsStr>>(
    mut command: Command,
    arguments: impl IntoIterator<Item = A>,
    input: &str,
) -> Ran {
    let command = command.args(arguments).stdin(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin
        .write_all(input.as_bytes())
        .expect("the input is taken");
    drop(stdin);
    wait(child)
}

/// Waits for a command's end; one that hangs is killed, and what it said is shown.
pub(crate) fn wait(mut child: Child) -> Ran {
    let stdout = child.stdout.take().map(read);
    let stderr = child.stderr.take().map(read);
    let text = |reader: Option<JoinHandle<String>>| {
        reader
            .map(|reader| reader.join().expect("the reader ends"))
            .unwrap_or_default()
    };
    let deadline = Instant::now() + WITHIN;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the command can be waited for") {
            break status;
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            panic!(
                "the command hangs\nstdout: {}\nstderr: {}",
                text(stdout),
                text(stderr)
            );
        }
        thread::sleep(Duration::from_millis(5));
    };
    Ran {
        code: status.code().unwrap_or(-1),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

fn read(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("the output is text");
        text
    })
}
