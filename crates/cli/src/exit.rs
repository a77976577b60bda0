//! Exit codes, which scripts rely on.

use std::process::ExitCode;

use carbon_events::{Error, ErrorKind};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It succeeded.
    Done,
    /// It failed or found something wrong; running it again does not help.
    Failed,
    /// The arguments or some of the input are invalid.
    Refused,
    /// The cluster or the registry did not answer; running it again may help.
    Unavailable,
    /// It was interrupted.
    Interrupted,
}

/// The codes, for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0    success
  1    failure, or a check found something: topics differ from the table (topics verify), a schema is
       incompatible (schemas check), events were lost (demo)
  2    the arguments, the configuration or some lines of the input are invalid
  3    the cluster or the registry could not be reached in time: try again
  130  interrupted (Ctrl-C), after accepted events were sent";

impl Exit {
    fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Refused => 2,
            Exit::Unavailable => 3,
            Exit::Interrupted => 130,
        }
    }

    /// How a command ends with this error.
    pub(crate) fn of(error: &anyhow::Error) -> Exit {
        match error.downcast_ref::<Error>() {
            Some(error) if error.retryable() => Exit::Unavailable,
            Some(error)
                if matches!(
                    error.kind(),
                    ErrorKind::InvalidConfig | ErrorKind::InvalidEvent
                ) =>
            {
                Exit::Refused
            }
            Some(_) => Exit::Failed,
            None if error.is::<Usage>() => Exit::Refused,
            None => Exit::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Arguments that turn out to be invalid after parsing.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retryable_errors_have_a_code_of_their_own() {
        let code = |kind| Exit::of(&Error::new(kind, "x").into());
        assert_eq!(code(ErrorKind::Unavailable), Exit::Unavailable);
        assert_eq!(code(ErrorKind::Timeout), Exit::Unavailable);
        assert_eq!(code(ErrorKind::InvalidConfig), Exit::Refused);
        assert_eq!(code(ErrorKind::Authentication), Exit::Failed);
        assert_eq!(Exit::of(&Usage("x".to_owned()).into()), Exit::Refused);
        assert_eq!(Exit::of(&anyhow::anyhow!("x")), Exit::Failed);
    }

    #[test]
    fn every_code_is_in_the_help() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Refused,
            Exit::Unavailable,
            Exit::Interrupted,
        ];
        for exit in all {
            assert!(
                HELP.contains(&format!("\n  {:<3}  ", exit.code())),
                "{exit:?}"
            );
        }
    }
}
