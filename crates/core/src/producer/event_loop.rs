//! The event thread of a session: completes records from their delivery reports, sends what has
//! gathered meanwhile, admits records from the line, and watches deadlines.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::reports;
use super::session::Session;
use crate::{Error, ErrorKind, Result};

/// How long the thread sleeps while nothing is in flight.
const IDLE: Duration = Duration::from_millis(500);
/// How often waiting records are checked for their deadline, and topics for new partitions.
const EXPIRY_EVERY: Duration = Duration::from_millis(100);
const REFRESH_EVERY: Duration = Duration::from_secs(300);

/// Starts the event thread.
pub(super) fn spawn(session: &Arc<Session>) -> Result<()> {
    let of_thread = Arc::clone(session);
    let thread = std::thread::Builder::new()
        .name("carbon-delivery".into())
        .spawn(move || run(&of_thread))
        .map_err(|error| {
            let message = "cannot spawn a thread for delivery reports";
            Error::new(ErrorKind::Internal, message).because(error)
        })?;
    *session.event_thread().lock() = Some(thread);
    Ok(())
}

/// Serves events until the session is stopping.
fn run(session: &Arc<Session>) {
    let (accumulator, sender) = (session.accumulator(), session.sender());
    // librdkafka's poll counts whole milliseconds.
    let linger = session.settings().linger;
    let linger = linger.clamp(Duration::from_millis(1), EXPIRY_EVERY);
    let is_buffered = || session.admission().limit().records() > 0;
    let mut expired = Instant::now();
    let mut refreshed = expired;
    while !session.ends() {
        let busy = sender.in_flight() > 0 || accumulator.has_gathered();
        let wait = match (busy, is_buffered()) {
            (true, _) => linger,
            (false, true) => EXPIRY_EVERY,
            (false, false) => IDLE,
        };
        let left = session.line_time_left();
        if let Some(event) = sender
            .events()
            .poll(left.map_or(wait, |left| wait.min(left)))
        {
            let mut reports = Vec::new();
            if event.delivery_reports(&mut reports) {
                if reports::complete(sender, &reports) > 0 {
                    session.note_delivered();
                }
            } else {
                event.serve(
                    sender.handle(),
                    sender.health(),
                    session.tokens(),
                    session.observer(),
                );
                session.end_if_fatal();
            }
        } else if !busy {
            accumulator.trim();
        }
        sender.send_again();
        session.admit_line();
        accumulator.send_gathered();
        let now = Instant::now();
        if now - expired >= EXPIRY_EVERY {
            expired = now;
            sender.expire_watched();
            for topic in session.topics().all() {
                if is_buffered() {
                    accumulator.expire(&topic);
                }
                topic.topic().note_late_limit();
            }
            session.resolve_waiting();
        }
        if now - refreshed >= REFRESH_EVERY {
            refreshed = now;
            for topic in session.topics().all() {
                session.resolve(&topic);
            }
        }
    }
}
