//! Passes outcomes, results and notifications from other threads to JavaScript.
//!
//! ```text
//!  group(), answer(), ready(), capacity() ─▶ letters ─▶ drain(), on JavaScript's thread
//! ```
//!
//! The first letter wakes the event loop, and one call of `drain` takes all that are there by then.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use carbon_events::Error;
use carbon_events::sync::Mutex;
use napi::bindgen_prelude::{Env, Float64ArraySlice, Function};
use napi::{JsValue, sys};
use napi_derive::napi;
use serde_json::{Value, json};

use crate::errors;
use crate::group::{Group, Rows};

/// The mailbox of one JavaScript environment: the main thread's, or a worker's.
#[napi]
pub struct Mailbox {
    post: Arc<Post>,
}

/// The letters of other threads.
pub(crate) struct Post {
    /// `None` while the mailbox is not open, and once the environment is gone.
    wake: Mutex<Option<Wake>>,
    /// How many times it was opened.
    opened: AtomicU32,
    woken: AtomicBool,
    letters: Mutex<Letters>,
}

/// Node's thread-safe function that calls JavaScript's `wake`.
#[derive(Clone, Copy)]
struct Wake {
    function: sys::napi_threadsafe_function,
    opening: u32,
}

// SAFETY: Node-API allows calls of the function from any thread until it is released. The lock around
// it prevents later calls.
unsafe impl Send for Wake {}

/// The context that Node returns when it has released the function.
struct Context {
    post: Arc<Post>,
    opening: u32,
}

#[derive(Default)]
struct Letters {
    groups: Vec<Arc<Group>>,
    answers: Vec<Answer>,
    /// Consumers that have records.
    ready: Vec<u32>,
    /// Producers whose queue has capacity again.
    capacity: Vec<u32>,
}

impl Letters {
    fn is_empty(&self) -> bool {
        self.groups.is_empty()
            && self.answers.is_empty()
            && self.ready.is_empty()
            && self.capacity.is_empty()
    }
}

/// The result of an operation. A flush resolves after the promises of the flushed records.
struct Answer {
    /// The number of groups that must be reported first.
    after: usize,
    /// `{operation, error?, value?}`
    content: Value,
}

/// The result of [`Mailbox::drain`].
#[napi(object)]
pub struct Drained {
    /// The number of rows of five cells.
    pub rows: u32,
    /// `{errors, answers, ready, capacity}` as JSON, unless all are empty.
    pub news: Option<String>,
    /// Whether there are outcomes left for the next call.
    pub more: bool,
}

#[napi]
impl Mailbox {
    /// Creates a closed mailbox: `require` alone opens no handle of the event loop.
    #[napi(constructor, catch_unwind)]
    pub fn new() -> Self {
        Mailbox {
            post: Arc::new(Post {
                wake: Mutex::new(None),
                opened: AtomicU32::new(0),
                woken: AtomicBool::new(false),
                letters: Mutex::default(),
            }),
        }
    }

    /// Calls `wake` for new letters, and at once if there are some. Keeps the process alive until
    /// `keep_alive(false)`.
    #[napi(catch_unwind)]
    pub fn open(&self, env: Env, wake: Function<'_, (), ()>) -> napi::Result<()> {
        let post = &self.post;
        let name = env.create_string("carbon-events")?;
        let opening = post.opened.fetch_add(1, Ordering::SeqCst) + 1;
        let context = Box::into_raw(Box::new(Context {
            post: Arc::clone(post),
            opening,
        }));
        let mut function = ptr::null_mut();
        // SAFETY: the values live in this call's scope; Node passes `context` to `gone` once.
        let status = unsafe {
            sys::napi_create_threadsafe_function(
                env.raw(),
                wake.raw(),
                ptr::null_mut(),
                name.raw(),
                0,
                1,
                context.cast::<c_void>(),
                Some(gone),
                ptr::null_mut(),
                None,
                &mut function,
            )
        };
        if status != sys::Status::napi_ok {
            // SAFETY: Node did not take it.
            drop(unsafe { Box::from_raw(context) });
            return Err(napi::Error::from_reason(
                "cannot create a thread-safe function",
            ));
        }
        *post.wake.lock() = Some(Wake { function, opening });
        post.woken.store(false, Ordering::SeqCst);
        if !post.letters.lock().is_empty() {
            post.wake();
        }
        Ok(())
    }

    /// Releases the event loop's handle. `open` creates another one.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        let open = self.post.wake.lock().take();
        if let Some(Wake { function, .. }) = open {
            // SAFETY: `open` created it, and `take` allows one release.
            unsafe {
                sys::napi_release_threadsafe_function(
                    function,
                    sys::ThreadsafeFunctionReleaseMode::abort,
                );
            }
        }
    }

    /// Sets whether the mailbox keeps the process alive.
    #[napi(catch_unwind)]
    pub fn keep_alive(&self, env: Env, alive: bool) {
        if let Some(Wake { function, .. }) = *self.post.wake.lock() {
            // SAFETY: on the environment's own thread, and the function is not released.
            unsafe {
                if alive {
                    sys::napi_ref_threadsafe_function(env.raw(), function);
                } else {
                    sys::napi_unref_threadsafe_function(env.raw(), function);
                }
            }
        }
    }

    /// Takes the letters. Writes outcomes of records into `rows`, five numbers each: group, index in
    /// it, partition, offset, timestamp. A failed record has partition -1 and its error's number
    /// instead of the offset. Index -1 ends a group.
    #[napi(catch_unwind)]
    pub fn drain(&self, mut rows: Float64ArraySlice<'_>) -> Drained {
        // SAFETY: only our JavaScript uses the array, and it does not run meanwhile.
        let rows = unsafe { rows.as_mut() };
        let post = &self.post;
        // Before the letters are taken: later ones wake the event loop again.
        post.woken.store(false, Ordering::SeqCst);
        let letters = std::mem::take(&mut *post.letters.lock());
        let mut rows = Rows::new(rows);
        let mut later = Vec::new();
        let taken = letters.groups.len();
        for group in letters.groups {
            if !later.is_empty() || !group.report(&mut rows) {
                later.push(group);
            }
        }
        let more = !later.is_empty();
        let reported = taken - later.len();
        let (answers, mut early): (Vec<_>, Vec<_>) = letters
            .answers
            .into_iter()
            .partition(|answer| answer.after <= reported);
        if more {
            let mut letters = post.letters.lock();
            for answer in &mut letters.answers {
                answer.after += later.len();
            }
            for answer in &mut early {
                answer.after -= reported;
            }
            letters.groups.splice(0..0, later);
            letters.answers.splice(0..0, early);
        }
        let errors = rows.errors();
        let quiet = errors.is_empty()
            && answers.is_empty()
            && letters.ready.is_empty()
            && letters.capacity.is_empty();
        let news = (!quiet).then(|| {
            let errors: Vec<_> = errors.iter().map(errors::to_json).collect();
            let answers: Vec<_> = answers.into_iter().map(|answer| answer.content).collect();
            json!({
                "errors": errors,
                "answers": answers,
                "ready": letters.ready,
                "capacity": letters.capacity,
            })
            .to_string()
        });
        Drained {
            rows: rows.count(),
            news,
            more,
        }
    }

    pub(crate) fn post(&self) -> &Arc<Post> {
        &self.post
    }
}

impl Post {
    /// A group has outcomes.
    pub(crate) fn group(&self, group: Arc<Group>) {
        self.letters.lock().groups.push(group);
        self.wake();
    }

    /// An operation has a result.
    pub(crate) fn answer(&self, operation: u32, outcome: Result<Value, Error>) {
        let content = match outcome {
            Ok(value) => json!({"operation": operation, "value": value}),
            Err(error) => json!({"operation": operation, "error": errors::to_json(&error)}),
        };
        let mut letters = self.letters.lock();
        let after = letters.groups.len();
        letters.answers.push(Answer { after, content });
        drop(letters);
        self.wake();
    }

    /// A consumer has records.
    pub(crate) fn ready(&self, consumer: u32) {
        self.letters.lock().ready.push(consumer);
        self.wake();
    }

    /// A producer's queue has capacity again.
    pub(crate) fn capacity(&self, producer: u32) {
        self.letters.lock().capacity.push(producer);
        self.wake();
    }

    fn wake(&self) {
        if self.woken.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(Wake { function, .. }) = *self.wake.lock() {
            // SAFETY: the lock prevents a release meanwhile.
            unsafe {
                sys::napi_call_threadsafe_function(
                    function,
                    ptr::null_mut(),
                    sys::ThreadsafeFunctionCallMode::nonblocking,
                );
            }
        }
    }
}

/// Called by Node when the function is released or the environment ends: it must not be called after
/// that. The mailbox may have been opened again since.
unsafe extern "C" fn gone(_: sys::napi_env, context: *mut c_void, _: *mut c_void) {
    // SAFETY: `context` came from `Box::into_raw` in `Mailbox::open`, and this is called once.
    let context = unsafe { Box::from_raw(context.cast::<Context>()) };
    let mut wake = context.post.wake.lock();
    if wake.is_some_and(|wake| wake.opening == context.opening) {
        *wake = None;
    }
}

/// Runs blocking work on a thread of its own, and posts its result.
pub(crate) fn in_background(
    post: &Arc<Post>,
    operation: u32,
    work: impl FnOnce() -> Result<Value, Error> + Send + 'static,
) {
    let for_thread = Arc::clone(post);
    let spawned = std::thread::Builder::new()
        .name("carbon-operation".to_owned())
        .spawn(move || {
            let work = std::panic::AssertUnwindSafe(work);
            let outcome = std::panic::catch_unwind(work).unwrap_or_else(|_| {
                let message = "the operation panicked";
                Err(Error::new(carbon_events::ErrorKind::Internal, message))
            });
            for_thread.answer(operation, outcome);
        });
    if let Err(error) = spawned {
        let message = "cannot spawn a thread";
        let error = Error::new(carbon_events::ErrorKind::Internal, message).because(error);
        post.answer(operation, Err(error));
    }
}
