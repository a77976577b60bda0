//! The one way from other threads to JavaScript.
//!
//! What other threads have to tell gathers here; the first of it wakes the event loop, and one call
//! of JavaScript's takes all that has gathered by then.

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

/// Where other threads leave what they have to tell.
pub(crate) struct Post {
    /// `None` while nothing wakes the event loop, and once the environment is gone.
    wake: Mutex<Option<Wake>>,
    /// How often it was opened.
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

// SAFETY: Node-API allows the function to be called from any thread while it is not released, and
// it is kept from being called after by the lock around it.
unsafe impl Send for Wake {}

/// What Node gives back when it has released the function.
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
    /// Producers whose queue has room again.
    room: Vec<u32>,
}

impl Letters {
    fn is_empty(&self) -> bool {
        self.groups.is_empty()
            && self.answers.is_empty()
            && self.ready.is_empty()
            && self.room.is_empty()
    }
}

/// The answer to an operation. A flush ends after the promises of what it flushed.
struct Answer {
    /// How many of the groups must be told of before.
    after: usize,
    /// `{operation, error?, value?}`
    content: Value,
}

/// What [`Mailbox::drain`] took.
#[napi(object)]
pub struct Drained {
    /// How many rows of five it wrote.
    pub rows: u32,
    /// `{errors, answers, ready, room}` as JSON, where there is anything of it.
    pub news: Option<String>,
    /// Whether the rows were too few for all outcomes.
    pub more: bool,
}

#[napi]
impl Mailbox {
    /// A mailbox that wakes no event loop until it is opened: a bare `require` opens no handle.
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

    /// Calls `wake` from now on when something has come, and at once where something has. Keeps the
    /// process alive until `keep_alive(false)`.
    #[napi(catch_unwind)]
    pub fn open(&self, env: Env, wake: Function<'_, (), ()>) -> napi::Result<()> {
        let post = &self.post;
        let name = env.create_string("carbon-events")?;
        let opening = post.opened.fetch_add(1, Ordering::SeqCst) + 1;
        let context = Box::into_raw(Box::new(Context {
            post: Arc::clone(post),
            opening,
        }));
        let mut made = ptr::null_mut();
        // SAFETY: the values live in this call's scope; `context` is given back to `gone` once.
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
                &mut made,
            )
        };
        if status != sys::Status::napi_ok {
            // SAFETY: Node did not take it.
            drop(unsafe { Box::from_raw(context) });
            return Err(napi::Error::from_reason("Node gives no way to be woken"));
        }
        let function = made;
        *post.wake.lock() = Some(Wake { function, opening });
        post.woken.store(false, Ordering::SeqCst);
        if !post.letters.lock().is_empty() {
            post.wake();
        }
        Ok(())
    }

    /// Releases the event loop's handle; `open` makes another one.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        let open = self.post.wake.lock().take();
        if let Some(Wake { function, .. }) = open {
            // SAFETY: it was created by `open` and is released once, since it was taken.
            unsafe {
                sys::napi_release_threadsafe_function(
                    function,
                    sys::ThreadsafeFunctionReleaseMode::abort,
                );
            }
        }
    }

    /// Whether the process is to stay for what is still to come.
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

    /// Takes what has come. Outcomes of records go into `rows`, five numbers each:
    /// group, index in it, partition, offset, timestamp; a failed record has partition -1 and its
    /// error's number for an offset, and a group of which all is told has index -1.
    #[napi(catch_unwind)]
    pub fn drain(&self, mut rows: Float64ArraySlice<'_>) -> Drained {
        // SAFETY: the array is our JavaScript's own, and it does not run meanwhile.
        let rows = unsafe { rows.as_mut() };
        let post = &self.post;
        // Before the letters are taken: what comes from here on wakes again.
        post.woken.store(false, Ordering::SeqCst);
        let letters = std::mem::take(&mut *post.letters.lock());
        let mut rows = Rows::new(rows);
        let mut later = Vec::new();
        let taken = letters.groups.len();
        for group in letters.groups {
            if !later.is_empty() || !group.tell(&mut rows) {
                later.push(group);
            }
        }
        let more = !later.is_empty();
        let told = taken - later.len();
        let (answers, mut early): (Vec<_>, Vec<_>) = letters
            .answers
            .into_iter()
            .partition(|answer| answer.after <= told);
        if more {
            let mut letters = post.letters.lock();
            for answer in &mut letters.answers {
                answer.after += later.len();
            }
            for answer in &mut early {
                answer.after -= told;
            }
            letters.groups.splice(0..0, later);
            letters.answers.splice(0..0, early);
        }
        let errors = rows.errors();
        let quiet = errors.is_empty()
            && answers.is_empty()
            && letters.ready.is_empty()
            && letters.room.is_empty();
        let news = (!quiet).then(|| {
            let errors: Vec<_> = errors.iter().map(errors::to_json).collect();
            let answers: Vec<_> = answers.into_iter().map(|answer| answer.content).collect();
            json!({
                "errors": errors,
                "answers": answers,
                "ready": letters.ready,
                "room": letters.room,
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
    /// A group has something to tell.
    pub(crate) fn group(&self, group: Arc<Group>) {
        self.letters.lock().groups.push(group);
        self.wake();
    }

    /// An operation is done.
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

    /// A producer's queue has room again.
    pub(crate) fn room(&self, producer: u32) {
        self.letters.lock().room.push(producer);
        self.wake();
    }

    fn wake(&self) {
        if self.woken.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(Wake { function, .. }) = *self.wake.lock() {
            // SAFETY: under the lock the function is not released.
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

/// Node's call when the function is released, or the environment ends: it must not be called any
/// more. The mailbox may have been opened again since.
unsafe extern "C" fn gone(_: sys::napi_env, context: *mut c_void, _: *mut c_void) {
    // SAFETY: `context` came from `Box::into_raw` in `Mailbox::open`, and this is called once.
    let context = unsafe { Box::from_raw(context.cast::<Context>()) };
    let mut wake = context.post.wake.lock();
    if wake.is_some_and(|wake| wake.opening == context.opening) {
        *wake = None;
    }
}

/// Runs work that may block on a thread of its own, and answers with its outcome.
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
        let message = "the system gives no thread";
        let error = Error::new(carbon_events::ErrorKind::Internal, message).because(error);
        post.answer(operation, Err(error));
    }
}
