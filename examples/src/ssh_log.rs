//! What OpenSSH's server writes into the system's log, as far as it matters to security.

use std::net::IpAddr;

use carbon_events::events::SecurityCategory::{self, Authentication, Network};
use carbon_events::events::SecurityOutcome::{self, Blocked, Denied, Failure, Success};
use carbon_events::events::Severity::{self, High, Info, Low, Medium};

/// The action of an attempt to log in.
pub const LOGIN: &str = "login";

type Meaning = (SecurityCategory, Severity, &'static str, SecurityOutcome);

/// What a message means by how it begins; the first that fits.
const MEANINGS: &[(&[&str], Meaning)] = &[
    (&["Accepted "], (Authentication, Info, LOGIN, Success)),
    (&["Failed "], (Authentication, Low, LOGIN, Failure)),
    (
        &[
            "error: maximum authentication attempts exceeded for ",
            "Disconnecting: Too many authentication failures",
        ],
        (Authentication, High, LOGIN, Blocked),
    ),
    (
        &["Invalid user ", "input_userauth_request: invalid user "],
        (Authentication, Medium, "name-user", Denied),
    ),
    (
        &["pam_unix(sshd:session): session opened"],
        (Authentication, Info, "open-session", Success),
    ),
    (
        &["pam_unix(sshd:session): session closed"],
        (Authentication, Info, "close-session", Success),
    ),
    (
        &["pam_unix(sshd:auth): ", "PAM "],
        (Authentication, Low, "pam-authenticate", Failure),
    ),
    (
        &[
            "Bad protocol version",
            "Did not receive identification",
            "Unable to negotiate",
            "fatal: Unable to negotiate",
        ],
        (Network, Low, "negotiate", Failure),
    ),
    (&["Connection from "], (Network, Info, "connect", Success)),
    (
        &["Connection ", "Disconnect", "Received disconnect"],
        (Network, Info, "disconnect", Success),
    ),
    (&[""], (Network, Info, "run", Success)),
];

/// One message of the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'l> {
    /// What it says.
    pub message: &'l str,
    /// How often in a row it was said.
    pub repeated: u32,
    /// The field of security that it belongs to.
    pub category: SecurityCategory,
    /// How serious it is.
    pub severity: Severity,
    /// What was tried.
    pub action: &'static str,
    /// How that ended.
    pub outcome: SecurityOutcome,
    /// The user of whom it speaks; whatever a client gave as the name.
    pub user: Option<&'l str>,
    /// Whether the host knows no such user.
    pub invalid_user: bool,
    /// How the user tried to log in: `password`, `publickey`, …
    pub method: Option<&'l str>,
    /// The client's address.
    pub address: Option<&'l str>,
    /// The client's port.
    pub port: Option<&'l str>,
}

impl<'l> Entry<'l> {
    /// Takes a message apart, or says what is wrong with it.
    pub fn parse(message: &'l str) -> Result<Self, &'static str> {
        let (message, repeated) = without_repetition(message);
        let known = MEANINGS.iter().find_map(|(starts, meaning)| {
            let start = starts.iter().find(|start| message.starts_with(**start))?;
            Some((*start, *meaning))
        });
        let (start, (category, severity, action, outcome)) = known
            .filter(|_| !message.is_empty())
            .ok_or("the message is missing")?;
        let mut entry = Entry {
            message,
            repeated,
            category,
            severity,
            action,
            outcome,
            user: None,
            invalid_user: false,
            method: None,
            address: None,
            port: None,
        };
        let rest = &message[start.len()..];
        match start.trim_end() {
            "Accepted" | "Failed" => entry.login(rest).ok_or("a login without its client")?,
            "Invalid user" => entry.user_and_client(rest, true),
            "input_userauth_request: invalid user" => entry.user_alone(rest, true),
            start if start.ends_with(" for") => entry.user_and_client(rest, false),
            _ => entry.mentions(),
        }
        if entry.outcome == Failure && entry.action == LOGIN {
            // Nobody who belongs here tries these over the network.
            let guessed = entry.invalid_user || entry.user == Some("root");
            entry.severity = if guessed { Medium } else { Low };
        }
        Ok(entry)
    }

    /// `METHOD for [invalid user ]USER from ADDRESS port PORT ssh2…`
    fn login(&mut self, rest: &'l str) -> Option<()> {
        let (method, rest) = rest.split_once(" for ")?;
        self.method = Some(method);
        self.user_and_client(rest, false);
        self.address.map(|_| ())
    }

    /// `[invalid user ]USER from ADDRESS[ port PORT]…`
    ///
    /// The client chooses the name, and may have put ` from 198.51.100.1` into it: only the last one
    /// is the server's word.
    fn user_and_client(&mut self, rest: &'l str, invalid: bool) {
        let named = rest.strip_prefix("invalid user ");
        let (invalid, rest) = (invalid || named.is_some(), named.unwrap_or(rest));
        let client = rest.rsplit_once("from ");
        match client.filter(|(user, _)| user.is_empty() || user.ends_with(' ')) {
            Some((user, client)) => {
                self.client(client);
                self.user_alone(user, invalid);
            }
            None => self.user_alone(rest, invalid),
        }
    }

    /// `USER[ [preauth]]`
    fn user_alone(&mut self, rest: &'l str, invalid: bool) {
        let user = rest.strip_suffix("[preauth]").unwrap_or(rest);
        let user = user.strip_suffix(' ').unwrap_or(user);
        self.user = Some(user).filter(|user| !user.is_empty());
        self.invalid_user = invalid;
    }

    /// `ADDRESS[ port PORT]…`
    fn client(&mut self, text: &'l str) {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        // Some messages go on behind a colon; an IPv6 address has colons of its own.
        let word = word.strip_suffix(':').unwrap_or(word);
        self.address = Some(word).filter(|word| is_address(word));
        self.port = rest
            .strip_prefix("port ")
            .and_then(|rest| rest.split([' ', ':', '.']).next())
            .filter(|port| !port.is_empty());
    }

    /// What other messages name somewhere. Where a client can choose the words that follow (`Received
    /// disconnect from … port …:11: anything`), the first place counts, and where it chooses those
    /// before, the last.
    fn mentions(&mut self) {
        let message = self.message;
        let word_behind = |marker: &str| {
            let (_, rest) = message.split_once(marker)?;
            rest.split([' ', '('])
                .next()
                .filter(|word| !word.is_empty())
        };
        if message.starts_with("Server listening") {
            return;
        }
        let of_clients_words = message.starts_with("Received disconnect");
        if !of_clients_words {
            let users = [
                " user=",
                " for user ",
                " from user ",
                "authenticating user ",
            ];
            self.user = users.into_iter().find_map(word_behind);
        }
        // `Connection closed by invalid user ada 192.0.2.7 port 22`
        let names_user = [" from user ", " authenticating user ", " invalid user "];
        let names_user = names_user.iter().any(|marker| message.contains(marker));
        let first = |marker| message.split_once(marker);
        let client = if message.starts_with("Bad protocol") {
            message.rsplit_once(" from ")
        } else if names_user && !of_clients_words {
            None
        } else {
            [" from ", " by ", " with "].into_iter().find_map(first)
        };
        if let Some((_, client)) = client {
            self.client(client);
        }
        if self.address.is_none()
            && let Some((before, _)) = message.rsplit_once(" port ")
            && let Some(space) = before.rfind(' ')
        {
            self.client(&message[space + 1..]);
        }
        if self.address.is_none() {
            self.address = word_behind(" rhost=").filter(|word| is_address(word));
        }
    }
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// The system's logger writes a message that comes again and again once, and how often.
fn without_repetition(message: &str) -> (&str, u32) {
    let repeated = || {
        let rest = message.strip_prefix("message repeated ")?;
        let (times, rest) = rest.split_once(" times: [ ")?;
        Some((rest.strip_suffix(']')?, times.parse().ok()?))
    };
    repeated().unwrap_or((message, 1))
}

#[cfg(test)]
mod tests;
