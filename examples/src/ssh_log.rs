//! What OpenSSH's server writes into the system's log, as far as it matters to security.

use std::net::IpAddr;

use carbon_events::events::SecurityCategory::{self, Authentication, Network};
use carbon_events::events::SecurityOutcome::{self, Blocked, Denied, Failure, Success};
use carbon_events::events::Severity::{self, High, Info, Low, Medium};

/// The action of an attempt to log in.
pub const LOGIN: &str = "login";

type Meaning = (SecurityCategory, Severity, &'static str, SecurityOutcome);

/// What a message means by how it begins; the first that fits.
const MEANINGS: &[(&str, Meaning)] = &[
    ("Accepted ", (Authentication, Info, LOGIN, Success)),
    ("Failed ", (Authentication, Low, LOGIN, Failure)),
    (
        "error: maximum authentication attempts",
        (Authentication, High, LOGIN, Blocked),
    ),
    (
        "Disconnecting: Too many authentication",
        (Authentication, High, LOGIN, Blocked),
    ),
    (
        "Invalid user ",
        (Authentication, Medium, "name-user", Denied),
    ),
    (
        "input_userauth_request: invalid user ",
        (Authentication, Medium, "name-user", Denied),
    ),
    (
        "pam_unix(sshd:session): session opened",
        (Authentication, Info, "open-session", Success),
    ),
    (
        "pam_unix(sshd:session): session closed",
        (Authentication, Info, "close-session", Success),
    ),
    (
        "pam_unix(sshd:auth): ",
        (Authentication, Low, "pam-authenticate", Failure),
    ),
    ("PAM ", (Authentication, Low, "pam-authenticate", Failure)),
    ("Bad protocol version", (Network, Low, "negotiate", Failure)),
    (
        "Did not receive identification",
        (Network, Low, "negotiate", Failure),
    ),
    ("Unable to negotiate", (Network, Low, "negotiate", Failure)),
    (
        "fatal: Unable to negotiate",
        (Network, Low, "negotiate", Failure),
    ),
    ("Connection from ", (Network, Info, "connect", Success)),
    ("Connection ", (Network, Info, "disconnect", Success)),
    ("Disconnect", (Network, Info, "disconnect", Success)),
    (
        "Received disconnect",
        (Network, Info, "disconnect", Success),
    ),
    ("", (Network, Info, "run", Success)),
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
        let known = MEANINGS
            .iter()
            .find(|(start, _)| message.starts_with(start));
        let (start, (category, severity, action, outcome)) = known
            .filter(|_| !message.is_empty())
            .ok_or("the message is missing")?;
        let mut entry = Entry {
            message,
            repeated,
            category: *category,
            severity: *severity,
            action,
            outcome: *outcome,
            user: None,
            invalid_user: false,
            method: None,
            address: None,
            port: None,
        };
        let rest = &message[start.len()..];
        match (*action, *outcome) {
            (LOGIN, Success | Failure) => entry.login(rest).ok_or("a login without its client")?,
            (LOGIN, Blocked) | ("name-user", _) => entry.user_and_client(rest),
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
        self.named_user_and_client(rest);
        self.address.map(|_| ())
    }

    /// As they stand after `for`, or the user alone.
    fn user_and_client(&mut self, rest: &'l str) {
        let rest = rest.strip_prefix(" exceeded").unwrap_or(rest);
        if self.action == LOGIN {
            if let Some(rest) = rest.strip_prefix(" for ") {
                self.named_user_and_client(rest);
            }
        } else {
            self.invalid_user = true;
            self.named_user_and_client(rest.strip_suffix(" [preauth]").unwrap_or(rest));
        }
    }

    fn named_user_and_client(&mut self, rest: &'l str) {
        let named = rest.strip_prefix("invalid user ");
        self.invalid_user |= named.is_some();
        let rest = named.unwrap_or(rest);
        // The client chooses the name, and may have put ` from 198.51.100.1` into it: only the last
        // one is the server's word.
        let user = match rest.rsplit_once("from ") {
            Some((user, client)) if user.is_empty() || user.ends_with(' ') => {
                self.client(client);
                user.strip_suffix(' ').unwrap_or(user)
            }
            _ => rest,
        };
        self.user = Some(user).filter(|user| !user.is_empty());
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

    /// What other messages name somewhere: `user=ada`, `for user ada`, `rhost=192.0.2.7`,
    /// `from 192.0.2.7 port 22`, `by 192.0.2.7 port 22`.
    fn mentions(&mut self) {
        let word_behind = |marker: &str| {
            let (_, rest) = self.message.split_once(marker)?;
            rest.split([' ', '('])
                .next()
                .filter(|word| !word.is_empty())
        };
        self.user = word_behind(" user=").or_else(|| word_behind(" for user "));
        if self.message.starts_with("Server listening") {
            return;
        }
        let rhost = word_behind(" rhost=").filter(|word| is_address(word));
        let behind = |marker: &str| Some(self.message.rsplit_once(marker)?.1);
        let client = behind(" from ").or_else(|| behind(" by "));
        // `… user ada 192.0.2.7 port 22`
        let by_port = || {
            let (before, _) = self.message.rsplit_once(" port ")?;
            let start = before.rfind(' ')? + 1;
            Some(&self.message[start..])
        };
        match client.or_else(by_port) {
            Some(client) => self.client(client),
            None => self.address = rhost,
        }
        if self.address.is_none()
            && let Some(client) = by_port()
        {
            self.client(client);
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
mod tests {
    use super::*;

    fn entry(message: &str) -> Entry<'_> {
        Entry::parse(message).unwrap()
    }

    #[track_caller]
    fn who(message: &str) -> (Option<&str>, Option<&str>, Option<&str>) {
        let entry = entry(message);
        (entry.user, entry.address, entry.port)
    }

    #[test]
    fn a_login_names_user_method_and_client() {
        let accepted = "Accepted publickey for ada from 192.0.2.7 port 54259 ssh2: RSA SHA256:Kl8k";
        let found = entry(accepted);
        let expected = Entry {
            message: accepted,
            repeated: 1,
            category: Authentication,
            severity: Info,
            action: LOGIN,
            outcome: Success,
            user: Some("ada"),
            invalid_user: false,
            method: Some("publickey"),
            address: Some("192.0.2.7"),
            port: Some("54259"),
        };
        assert_eq!(found, expected);
        let failed = entry("Failed password for ada from 2001:db8::7 port 22 ssh2");
        assert_eq!((failed.outcome, failed.severity), (Failure, Low));
        assert_eq!(failed.address, Some("2001:db8::7"));
        assert_eq!(failed.port, Some("22"));
    }

    #[test]
    fn a_guessed_name_weighs_more_than_a_mistyped_password() {
        for message in [
            "Failed password for root from 192.0.2.7 port 1 ssh2",
            "Failed none for invalid user guest from 192.0.2.7 port 1 ssh2",
        ] {
            assert_eq!(entry(message).severity, Medium, "{message}");
        }
        let invalid = entry("Failed none for invalid user guest from 192.0.2.7 port 1 ssh2");
        assert_eq!((invalid.user, invalid.invalid_user), (Some("guest"), true));
    }

    #[test]
    fn a_name_that_pretends_to_be_an_address_blames_nobody() {
        let forged = "Failed password for invalid user x from 198.51.100.1 port 7 ssh2 from \
                      203.0.113.9 port 22 ssh2";
        let expected = Some("x from 198.51.100.1 port 7 ssh2");
        assert_eq!(who(forged), (expected, Some("203.0.113.9"), Some("22")));
    }

    #[test]
    fn an_empty_name_is_none() {
        let failed = "Failed password for invalid user  from 192.0.2.7 port 1 ssh2";
        assert_eq!(who(failed), (None, Some("192.0.2.7"), Some("1")));
        assert_eq!(
            who("Invalid user  from 192.0.2.7"),
            (None, Some("192.0.2.7"), None)
        );
        assert_eq!(
            who("input_userauth_request: invalid user  [preauth]"),
            (None, None, None)
        );
    }

    #[test]
    fn a_repeated_message_counts_as_often_as_it_came() {
        let repeated = "message repeated 5 times: [ Failed password for root from 192.0.2.7 port 9 \
                        ssh2]";
        let found = entry(repeated);
        assert_eq!(
            (found.repeated, found.action, found.outcome),
            (5, LOGIN, Failure)
        );
        assert_eq!(
            found.message,
            "Failed password for root from 192.0.2.7 port 9 ssh2"
        );
    }

    #[test]
    fn other_messages_give_what_they_mention() {
        let ada = Some("ada");
        let client = Some("192.0.2.7");
        for (message, expected) in [
            (
                "Invalid user ada from 192.0.2.7 port 4",
                (ada, client, Some("4")),
            ),
            (
                "error: maximum authentication attempts exceeded for invalid user ada from \
                 192.0.2.7 port 4 ssh2 [preauth]",
                (ada, client, Some("4")),
            ),
            (
                "pam_unix(sshd:session): session opened for user ada by (uid=0)",
                (ada, None, None),
            ),
            (
                "pam_unix(sshd:session): session opened for user ada(uid=7) by x",
                (ada, None, None),
            ),
            (
                "pam_unix(sshd:auth): failure; rhost=192.0.2.7  user=ada",
                (ada, client, None),
            ),
            (
                "Connection closed by 192.0.2.7 port 4 [preauth]",
                (None, client, Some("4")),
            ),
            (
                "Connection from 192.0.2.7 port 4 on 198.51.100.2 port 22",
                (None, client, Some("4")),
            ),
            (
                "Received disconnect from 192.0.2.7 port 4:11: bye",
                (None, client, Some("4")),
            ),
            (
                "Received disconnect from 192.0.2.7: 11: bye [preauth]",
                (None, client, None),
            ),
            (
                "Disconnected from user ada 192.0.2.7 port 4",
                (None, client, Some("4")),
            ),
            ("Server listening on 0.0.0.0 port 22.", (None, None, None)),
            ("Received signal 15; terminating.", (None, None, None)),
        ] {
            assert_eq!(who(message), expected, "{message}");
        }
    }

    #[test]
    fn a_message_that_is_cut_off_says_so() {
        assert_eq!(Entry::parse("").unwrap_err(), "the message is missing");
        for cut in [
            "Failed password for",
            "Failed password for ada from",
            "Accepted x for a",
        ] {
            assert_eq!(
                Entry::parse(cut).unwrap_err(),
                "a login without its client",
                "{cut}"
            );
        }
    }
}
