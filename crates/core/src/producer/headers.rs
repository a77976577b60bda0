//! A record's headers: the caller's own, and those of the W3C trace context that is active on the
//! sending thread.

use std::fmt;
use std::sync::Arc;

/// A header of a record: a name and an optional value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The name; several headers may share one.
    pub name: String,
    /// The value; `None` is Kafka's null.
    pub value: Option<Vec<u8>>,
}

impl Header {
    /// The bytes of its name and value.
    pub(super) fn len(&self) -> usize {
        self.name.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// The context of the active span, as <https://www.w3.org/TR/trace-context/> writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// `00-<trace id>-<span id>-<flags>`.
    pub traceparent: String,
    /// Vendors' additions, if there are any.
    pub tracestate: Option<String>,
}

type Provide = dyn Fn() -> Option<TraceContext> + Send + Sync;

/// Asks the tracing library for the active span's context, on the sending thread.
#[derive(Clone)]
pub(super) struct TraceHook(Arc<Provide>);

impl TraceHook {
    pub(super) fn new(provide: impl Fn() -> Option<TraceContext> + Send + Sync + 'static) -> Self {
        TraceHook(Arc::new(provide))
    }

    /// The headers of the active span; none without a span.
    pub(super) fn headers(&self) -> impl Iterator<Item = Header> {
        let header = |name: &str, value: String| Header {
            name: name.to_owned(),
            value: Some(value.into_bytes()),
        };
        let context = (self.0)();
        let (parent, state) = context.map_or((None, None), |context| {
            (Some(context.traceparent), context.tracestate)
        });
        [
            parent.map(|value| header("traceparent", value)),
            state.map(|value| header("tracestate", value)),
        ]
        .into_iter()
        .flatten()
    }
}

impl fmt::Debug for TraceHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TraceHook")
    }
}
