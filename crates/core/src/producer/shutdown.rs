//! Flushing and closing a session: what was accepted is delivered, or counted and reported.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::failure::closed;
use super::session::Session;
use super::tally::Tally;
use crate::deadline::Deadline;
use crate::{Error, ErrorKind, Result};

/// How long librdkafka may take to report on what was purged.
const PURGE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the threads may take to end.
const THREAD_TIMEOUT: Duration = Duration::from_millis(50);

/// Blocks until all accepted records are complete, or those of one owner; those of a failed session
/// all together.
pub(super) fn flush(session: &Session, owner: Option<&Tally>, deadline: Instant) -> Result<()> {
    let flushed = || (pending(session, owner) == 0).then_some(());
    if owner.is_some() && flushed().is_some() {
        return Ok(());
    }
    if let Some(before) = session.before() {
        flush(&before, None, deadline)?;
    }
    let _flushing = Flushing::new(session);
    let done = session.admission().limit().wait(deadline, flushed);
    done.ok_or_else(|| not_flushed(session, owner))
}

/// As [`flush`], for a task.
pub(super) async fn flush_async(
    session: &Session,
    owner: Option<&Tally>,
    deadline: Instant,
) -> Result<()> {
    if let Some(before) = session.before() {
        Box::pin(flush_async(&before, None, deadline)).await?;
    }
    let _flushing = Flushing::new(session);
    let flushed = || (pending(session, owner) == 0).then_some(());
    let limit = session.admission().limit();
    let done = limit.wait_async(deadline, flushed).await;
    done.ok_or_else(|| not_flushed(session, owner))
}

/// Refuses new records, waits for the accepted ones, gives up those that are left after `timeout`,
/// and ends the threads. The error counts what was given up.
pub(super) fn close(session: &Session, timeout: Duration) -> Result<()> {
    let admission = session.admission();
    admission.close();
    // After that: a sender that joins the line later sees that the session closes.
    admission.line().refuse_all(&closed());
    admission.limit().notify_all();
    let flushed = flush(session, None, Deadline::after(timeout).instant());
    let left = session.incomplete();
    let mut before = session.before();
    while let Some(session) = before {
        end(&session, flushed.is_ok());
        before = session.before();
    }
    end(session, flushed.is_ok());
    flushed.map_err(|_| {
        let because = session.sender().health().trouble();
        let because = because.map(|failure| format!("; meanwhile: {}", failure.message()));
        let message = format!(
            "{} given up when the producer was closed{}",
            records(left),
            because.unwrap_or_default()
        );
        Error::new(ErrorKind::Aborted, message).with("records", left)
    })
}

/// Records that have not completed: those of one owner, or all.
fn pending(session: &Session, owner: Option<&Tally>) -> u64 {
    match owner {
        // Its later records are in the next session.
        Some(owner) if !session.has_failed() => owner.pending(),
        _ => {
            // The line first: a record is in the queue before it leaves the line.
            let waiting = session.waiting();
            waiting + session.admission().limit().records()
        }
    }
}

fn not_flushed(session: &Session, owner: Option<&Tally>) -> Error {
    let left = pending(session, owner);
    let message = format!("{} not acknowledged in time", records(left));
    let error = Error::new(ErrorKind::Timeout, message).with("records", left);
    session.sender().health().explain(error)
}

/// Ends the threads; if records are left, those are given up before.
fn end(session: &Session, is_flushed: bool) {
    if !is_flushed || session.sender().in_flight() > 0 {
        give_up_all(session);
    }
    session.stop().for_each(end_soon);
}

/// Fails every record that is not complete, wherever it is, and takes back those that librdkafka
/// still has although their time is up.
fn give_up_all(session: &Session) {
    let (sender, limit) = (session.sender(), session.admission().limit());
    let error = Error::new(
        ErrorKind::Aborted,
        "the producer was closed before the record was acknowledged",
    );
    let error = match sender.health().trouble() {
        Some(failure) => error.because(failure),
        None => error,
    };
    sender.give_up(error.clone());
    sender.handle().give_up_lookups();
    let deadline = Instant::now() + PURGE_TIMEOUT;
    let given_up = || (pending(session, None) == 0 && sender.in_flight() == 0).then_some(());
    while given_up().is_none() && Instant::now() < deadline {
        for topic in session.topics().all() {
            session.accumulator().give_up(&topic, &error);
        }
        session.accumulator().send_gathered();
        sender.purge(true);
        let soon = Instant::now() + Duration::from_millis(50);
        limit.wait(soon.min(deadline), given_up);
    }
}

/// While one of these lives, nothing lingers.
struct Flushing<'a>(&'a Session);

impl<'a> Flushing<'a> {
    fn new(session: &'a Session) -> Self {
        session.accumulator().begin_flush();
        session.accumulator().send_gathered();
        session.sender().events().wake();
        Flushing(session)
    }
}

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.0.accumulator().end_flush();
    }
}

/// Waits a moment for the end of a thread. One that asks a cluster or runs a caller's function is left
/// to end by itself.
fn end_soon(thread: JoinHandle<()>) {
    // A close from a callback on the event thread cannot wait for itself.
    if thread.thread().id() == std::thread::current().id() {
        return;
    }
    let deadline = Instant::now() + THREAD_TIMEOUT;
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    if thread.join().is_err() {
        tracing::error!(target: "carbon_events", "a producer thread panicked");
    }
}

/// How many records something happened to, as the subject of a sentence.
fn records(count: u64) -> String {
    if count == 1 {
        "1 record was".to_owned()
    } else {
        format!("{count} records were")
    }
}
